"""The problem: a 2-D convolution's sizes, read from and printed as a oneDNN benchdnn descriptor."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

_MAX_NUMBER = 2**31 - 1
_MAX_ELEMENTS = 2**31 - 1  # kernels count elements with 32 bits
_MAX_EXTENT = 2**30  # of a padded row or column, so that the sum of two positions fits 32 bits

_SIZES = ("g", "mb", "ic", "ih", "iw", "oc", "oh", "ow", "kh", "kw", "sh", "sw")  # at least 1
_OFFSETS = ("ph", "pw", "dh", "dw")  # at least 0
_DEPTH = ("id", "od", "kd", "sd", "pd", "dd")  # understood only to say that 3-D is not supported

# The axes of each layout of x and y, as indices into NHWC.
AXES = {"nhwc": (0, 1, 2, 3), "nchw": (0, 3, 1, 2)}

# What a descriptor may say about one axis: input, output, kernel, stride, padding, dilation.
_AXIS_KINDS = "iokspd"

_TOKEN = re.compile(f"({'|'.join((*_SIZES, *_OFFSETS, *_DEPTH))})(-?[0-9]+)")
_FORM = "a descriptor is numbers behind g mb ic ih iw oc oh ow kh kw sh sw ph pw dh dw, as in ic64ih56oc64kh3ph1"


@dataclass(frozen=True, kw_only=True)
class ConvShape:
    """A 2-D convolution; the names are benchdnn's, the defaults too, but for mb.

    `ic` and `oc` count the channels of all groups, `dh` and `dw` the rows and columns skipped between two taps. `ph`
    and `pw` are the top and left padding; bottom and right padding follow from `oh` and `ow`. `name` is a label: it
    takes no part in equality, hash and `str`.

    Raises ValueError, with one sentence, for sizes that make no convolution.
    """

    g: int = 1
    mb: int = 1
    ic: int
    ih: int
    iw: int
    oc: int
    oh: int
    ow: int
    kh: int
    kw: int
    sh: int = 1
    sw: int = 1
    ph: int = 0
    pw: int = 0
    dh: int = 0
    dw: int = 0
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for least, keys in ((1, _SIZES), (0, _OFFSETS)):
            for key in keys:
                value = getattr(self, key)
                if not least <= value <= _MAX_NUMBER:
                    raise ValueError(f"{key} is {value}, but must be from {least} to {_MAX_NUMBER}")
        for key in ("ic", "oc"):
            if getattr(self, key) % self.g:
                raise ValueError(f"{key} is {getattr(self, key)}, but must be a multiple of the {self.g} groups")
        for tensor, shape in (("input", self.x_shape), ("weights", self.w_shape), ("output", self.y_shape)):
            if math.prod(shape) > _MAX_ELEMENTS:
                sizes = "x".join(map(str, shape))
                raise ValueError(
                    f"the {tensor} would have {sizes} elements, but 2**31 - 1 are the most that kernels can count"
                )
        rows, columns = self._height.padded, self._width.padded
        if max(rows, columns) > _MAX_EXTENT or rows * columns * self.ic > _MAX_ELEMENTS:
            raise ValueError(
                f"the padded input would have {rows}x{columns} pixels of {self.ic} channels, but kernels can address"
                f" 2**31 - 1 elements of an image, and 2**30 rows or columns, at most; give smaller strides, dilations"
                f" or padding"
            )

    @classmethod
    def parse(cls, text: str) -> ConvShape:
        """The shape that benchdnn reads from `text`, except that a missing mb is 1 (2 there).

        - Tokens come in any order, `_` between them means nothing, `n` starts the name and ends the descriptor.
        - If iw, ow, kw are all missing, w copies h as a whole; if any of them is there, w stands on its own.
        - If oh is missing, it follows from ph on both sides, and a missing ph is 0; if oh is there and ph is not, ph is
          half the padding that oh needs. The same for w.

        Raises ValueError, with one sentence, for whatever is malformed, missing, contradictory, 1-D or 3-D, and for a
        kernel that does not fit its padded input.
        """
        numbers, name = _scan(text)
        if _mentions(numbers, "d"):
            raise ValueError(f"3-D convolutions are not supported, and {text!r} gives a depth: leave out id, od and kd")
        has_h, has_w = _mentions(numbers, "h"), _mentions(numbers, "w")
        if has_w and not has_h:
            raise ValueError(f"1-D convolutions are not supported, and {text!r} has no height: add ih1 and kh1")

        channels = {key: _required(numbers, key) for key in ("ic", "oc")}
        h = _axis(numbers, "h")
        w = _axis(numbers, "w") if has_w else h
        return cls(
            g=numbers.get("g", 1),
            mb=numbers.get("mb", 1),
            **channels,
            **{f"{kind}h": value for kind, value in h.items()},
            **{f"{kind}w": value for kind, value in w.items()},
            name=name,
        )

    def __str__(self) -> str:
        """The canonical descriptor, without the name: `ConvShape.parse(str(shape)) == shape`, in benchdnn too."""
        # benchdnn copies h to w as a whole or not at all: one difference brings out all of w.
        square = all(getattr(self, kind + "h") == getattr(self, kind + "w") for kind in _AXIS_KINDS)

        def both(kind: str) -> str:
            return "".join(f"{kind}{axis}{getattr(self, kind + axis)}" for axis in ("h" if square else "hw"))

        return "".join(
            (
                f"g{self.g}" if self.g > 1 else "",
                f"mb{self.mb}",
                f"ic{self.ic}{both('i')}",
                f"oc{self.oc}{both('o')}",
                both("k"),
                both("s") if (self.sh, self.sw) != (1, 1) else "",
                both("p"),
                both("d") if (self.dh, self.dw) != (0, 0) else "",
            )
        )

    @property
    def _height(self) -> _Axis:
        return _Axis(self.ih, self.oh, self.kh, self.sh, self.ph, self.dh).reduced

    @property
    def _width(self) -> _Axis:
        return _Axis(self.iw, self.ow, self.kw, self.sw, self.pw, self.dw).reduced

    @property
    def reduced(self) -> ConvShape:
        """The same convolution with strides, dilations and padding no larger than has an effect.

        What is 1 (a stride) or 0 and what is not stays so.
        """
        h, w = self._height, self._width
        return replace(self, sh=h.stride, sw=w.stride, ph=h.padding, pw=w.padding, dh=h.dilation, dw=w.dilation)

    @property
    def pb(self) -> int:
        """Bottom padding; negative if the last -pb rows of the input are not used."""
        return (self.oh - 1) * self.sh + _extent(self.kh, self.dh) - self.ih - self.ph

    @property
    def pr(self) -> int:
        """Right padding; negative if the last -pr columns of the input are not used."""
        return (self.ow - 1) * self.sw + _extent(self.kw, self.dw) - self.iw - self.pw

    @property
    def icg(self) -> int:
        """Input channels of one group."""
        return self.ic // self.g

    @property
    def ocg(self) -> int:
        """Output channels of one group."""
        return self.oc // self.g

    @property
    def taps(self) -> int:
        """Positions in the kernel."""
        return self.kh * self.kw

    @property
    def m(self) -> int:
        """GEMM's M: output pixels of one image."""
        return self.oh * self.ow

    @property
    def k(self) -> int:
        """GEMM's K: products summed into one output."""
        return self.taps * self.icg

    @property
    def flops(self) -> int:
        """Floating-point operations, two for a multiply-add, products with padding counted."""
        return 2 * self.mb * self.m * self.oc * self.k

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """The input, NHWC."""
        return (self.mb, self.ih, self.iw, self.ic)

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        """The weights, OIHW; I counts the channels of one group."""
        return (self.oc, self.icg, self.kh, self.kw)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """The output, NHWC."""
        return (self.mb, self.oh, self.ow, self.oc)

    def x_in(self, layout: str) -> tuple[int, ...]:
        """The input in a layout, nhwc or nchw."""
        return tuple(self.x_shape[axis] for axis in AXES[layout])

    def y_in(self, layout: str) -> tuple[int, ...]:
        """The output in a layout, nhwc or nchw."""
        return tuple(self.y_shape[axis] for axis in AXES[layout])

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself, into one channel."""
        return self.g == self.ic == self.oc and self.g > 1


@dataclass(frozen=True)
class _Axis:
    """The sizes of one axis, h or w, as ConvShape has them."""

    input: int
    output: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def _last(self) -> int:
        """Position of the last output's last tap, counted from the first output's first one."""
        return (self.output - 1) * self.stride + (self.kernel - 1) * (self.dilation + 1)

    @property
    def padded(self) -> int:
        """Positions from the first one of input or padding to the last one of input or taps."""
        return max(self.padding + self.input, self._last + 1)

    @property
    def reduced(self) -> _Axis:
        """The same axis with sizes that are no larger than has an effect.

        Taps and outputs that are padding + input apart cannot both reach the input, however much further apart they
        are; and of a padding that is larger than the last position nothing but padding is read.
        """
        most = max(self.padding + self.input, 2)
        near = replace(self, stride=min(self.stride, most), dilation=min(self.dilation, most - 1))
        return replace(near, padding=min(near.padding, near._last + 1))


def starts_descriptor(text: str) -> bool:
    """Whether `text` starts as a descriptor does: tells a mistake in one from a mistake in another kind of name."""
    return _TOKEN.match(text.lstrip("_ ")) is not None


def _scan(text: str) -> tuple[dict[str, int], str | None]:
    """The numbers of a descriptor by key, and its name."""
    text = text.strip()
    if not text:
        raise ValueError(f"the descriptor is empty; {_FORM}")
    numbers: dict[str, int] = {}
    name = None
    for key, value in _tokens(text):
        if key == "n":
            name = value.removeprefix('"').removesuffix('"') or None
        elif value.startswith("-") or (key in _SIZES and not value.strip("0")):
            raise ValueError(f"{text!r} gives {key}{value}, but {key} must be at least {int(key in _SIZES)}")
        elif len(value) > len(str(_MAX_NUMBER)):
            raise ValueError(f"{text!r} gives {key} a number of {len(value)} digits, but {_MAX_NUMBER} is the largest")
        elif numbers.setdefault(key, int(value)) != int(value):
            raise ValueError(f"{text!r} gives both {key}{numbers[key]} and {key}{int(value)}: give one of them")
    return numbers, name


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """The descriptor cut into (key, digits); a name, which runs to the end, comes last as ("n", name)."""
    position = 0
    while position < len(text):
        if text[position] == "_":
            position += 1
        elif text[position] == "n":
            yield "n", text[position + 1 :]
            return
        elif token := _TOKEN.match(text, position):
            yield token[1], token[2]
            position = token.end()
        else:
            raise ValueError(f"{text!r} is not understood from {text[position:]!r} on; {_FORM}")


def _mentions(numbers: Mapping[str, int], axis: str) -> bool:
    """Whether the descriptor speaks of the axis d, h or w; as in benchdnn, defaults such as sd1pd0dd0 do not."""
    defaults = dict.fromkeys(_AXIS_KINDS, 0) | {"s": 1}
    return any(numbers.get(kind + axis, default) != default for kind, default in defaults.items())


def _required(numbers: Mapping[str, int], key: str) -> int:
    if key in numbers:
        return numbers[key]
    if key in ("iw", "kw"):
        raise ValueError(f"{key} is missing: w copies h only as a whole, where nothing about w is given")
    raise ValueError(f"{key} is missing: a descriptor gives ic, ih, oc and kh at least")


def _axis(numbers: Mapping[str, int], axis: str) -> dict[str, int]:
    """One axis, h or w, by kind, with what is missing worked out."""
    size, kernel = _required(numbers, "i" + axis), _required(numbers, "k" + axis)
    stride, dilation = numbers.get("s" + axis, 1), numbers.get("d" + axis, 0)
    output, padding = numbers.get("o" + axis), numbers.get("p" + axis)
    extent = _extent(kernel, dilation)
    if output is None:
        padding = padding or 0
        output = (size + 2 * padding - extent) // stride + 1
        if output < 1:
            raise ValueError(
                f"o{axis} would be {output}: a kernel that spans {extent} does not fit an input of {size}"
                f" with {padding} of padding on both sides; give a larger p{axis} or i{axis}"
            )
    elif padding is None:
        both_sides = (output - 1) * stride + extent - size
        padding = (both_sides + (both_sides < 0)) // 2  # towards zero, as C divides
        if padding < 0:
            raise ValueError(
                f"p{axis} would be {padding}: o{axis}{output} needs only part of i{axis}{size};"
                f" give p{axis} or a larger o{axis}"
            )
    return {"i": size, "o": output, "k": kernel, "s": stride, "p": padding, "d": dilation}


def _extent(kernel: int, dilation: int) -> int:
    """Rows or columns of input between a kernel's first and last tap, both included."""
    return (kernel - 1) * (dilation + 1) + 1

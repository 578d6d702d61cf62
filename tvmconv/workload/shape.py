"""The problem: the sizes of a 2-D convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from tvmconv.workload import descriptor
from tvmconv.workload.descriptor import AXIS_KINDS, MAX_NUMBER, OFFSETS, SIZES

_MAX_ELEMENTS = 2**31 - 1  # kernels count elements with 32 bits
_MAX_EXTENT = 2**30  # of a padded row or column, so that the sum of two positions fits 32 bits


# The axes of each layout of x and y, as indices into NHWC.
AXES = {"nhwc": (0, 1, 2, 3), "nchw": (0, 3, 1, 2)}


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
        for least, keys in ((1, SIZES), (0, OFFSETS)):
            for key in keys:
                value = getattr(self, key)
                if not least <= value <= MAX_NUMBER:
                    raise ValueError(f"{key} is {value}, but must be from {least} to {MAX_NUMBER}")
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
        numbers, name = descriptor.scan(text)
        if descriptor.mentions(numbers, "d"):
            raise ValueError(f"3-D convolutions are not supported, and {text!r} gives a depth: leave out id, od and kd")
        has_h, has_w = descriptor.mentions(numbers, "h"), descriptor.mentions(numbers, "w")
        if has_w and not has_h:
            raise ValueError(f"1-D convolutions are not supported, and {text!r} has no height: add ih1 and kh1")

        channels = {key: descriptor.required(numbers, key) for key in ("ic", "oc")}
        h = descriptor.axis(numbers, "h")
        w = descriptor.axis(numbers, "w") if has_w else h
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
        square = all(getattr(self, kind + "h") == getattr(self, kind + "w") for kind in AXIS_KINDS)

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
        return (self.oh - 1) * self.sh + descriptor.extent(self.kh, self.dh) - self.ih - self.ph

    @property
    def pr(self) -> int:
        """Right padding; negative if the last -pr columns of the input are not used."""
        return (self.ow - 1) * self.sw + descriptor.extent(self.kw, self.dw) - self.iw - self.pw

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

"""Reads oneDNN benchdnn's problem descriptors, such as ic64ih56oc64kh3ph1."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

MAX_NUMBER = 2**31 - 1

SIZES = ("g", "mb", "ic", "ih", "iw", "oc", "oh", "ow", "kh", "kw", "sh", "sw")  # at least 1
OFFSETS = ("ph", "pw", "dh", "dw")  # at least 0
_DEPTH = ("id", "od", "kd", "sd", "pd", "dd")  # read only to say that 3-D is not supported

# What a descriptor may say about one axis: input, output, kernel, stride, padding, dilation.
AXIS_KINDS = "iokspd"

_TOKEN = re.compile(f"({'|'.join((*SIZES, *OFFSETS, *_DEPTH))})(-?[0-9]+)")
_FORM = "a descriptor is numbers behind g mb ic ih iw oc oh ow kh kw sh sw ph pw dh dw, as in ic64ih56oc64kh3ph1"


def starts_descriptor(text: str) -> bool:
    """Whether `text` starts as a descriptor does: tells a mistake in one from a mistake in another kind of name."""
    return _TOKEN.match(text.lstrip("_ ")) is not None


def scan(text: str) -> tuple[dict[str, int], str | None]:
    """The numbers of a descriptor by key, and its name."""
    text = text.strip()
    if not text:
        raise ValueError(f"the descriptor is empty; {_FORM}")
    numbers: dict[str, int] = {}
    name = None
    for key, value in _tokens(text):
        if key == "n":
            name = value.removeprefix('"').removesuffix('"') or None
        elif value.startswith("-") or (key in SIZES and not value.strip("0")):
            raise ValueError(f"{text!r} gives {key}{value}, but {key} must be at least {int(key in SIZES)}")
        elif len(value) > len(str(MAX_NUMBER)):
            raise ValueError(f"{text!r} gives {key} a number of {len(value)} digits, but {MAX_NUMBER} is the largest")
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


def mentions(numbers: Mapping[str, int], axis: str) -> bool:
    """Whether the descriptor speaks of the axis d, h or w; as in benchdnn, defaults such as sd1pd0dd0 do not."""
    defaults = dict.fromkeys(AXIS_KINDS, 0) | {"s": 1}
    return any(numbers.get(kind + axis, default) != default for kind, default in defaults.items())


def required(numbers: Mapping[str, int], key: str) -> int:
    if key in numbers:
        return numbers[key]
    if key in ("iw", "kw"):
        raise ValueError(f"{key} is missing: w copies h only as a whole, where nothing about w is given")
    raise ValueError(f"{key} is missing: a descriptor gives ic, ih, oc and kh at least")


def axis(numbers: Mapping[str, int], name: str) -> dict[str, int]:
    """One axis, h or w, by kind, with what is missing worked out."""
    size, kernel = required(numbers, "i" + name), required(numbers, "k" + name)
    stride, dilation = numbers.get("s" + name, 1), numbers.get("d" + name, 0)
    output, padding = numbers.get("o" + name), numbers.get("p" + name)
    spanned = extent(kernel, dilation)
    if output is None:
        padding = padding or 0
        output = (size + 2 * padding - spanned) // stride + 1
        if output < 1:
            raise ValueError(
                f"o{name} would be {output}: a kernel that spans {spanned} does not fit an input of {size}"
                f" with {padding} of padding on both sides; give a larger p{name} or i{name}"
            )
    elif padding is None:
        both_sides = (output - 1) * stride + spanned - size
        padding = (both_sides + (both_sides < 0)) // 2  # towards zero, as C divides
        if padding < 0:
            raise ValueError(
                f"p{name} would be {padding}: o{name}{output} needs only part of i{name}{size};"
                f" give p{name} or a larger o{name}"
            )
    return {"i": size, "o": output, "k": kernel, "s": stride, "p": padding, "d": dilation}


def extent(kernel: int, dilation: int) -> int:
    """Rows or columns of input between a kernel's first and last tap, both included."""
    return (kernel - 1) * (dilation + 1) + 1

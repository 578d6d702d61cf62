"""The rule by which `auto` chooses an algorithm where nothing was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tvmconv.algorithms import ALGORITHMS
from tvmconv.workload.shape import ConvShape

AUTO = "auto"  # stands for an algorithm's name
LAYOUT = "nhwc"  # in which auto chooses unless it is told


class Line(NamedTuple):
    """Problems of one kind, and what suits them: names by layout, best first.

    The names behind the first are for those who have less memory. direct closes every line: it rejects nothing and
    needs no extra memory.
    """

    applies: Callable[[ConvShape], bool]
    names: Mapping[str, tuple[str, ...]]


# Input channels of a group from which the inner product over channels is long enough for patches of several pixels.
_MATRIX_CHANNELS = 32

# The first line that applies counts. What a name here rejects, or what there is not in a layout, is passed over.
RULE: tuple[Line, ...] = (
    # Each group is a small problem of its own; depthwise has no matrix product at all.
    Line(lambda shape: shape.g > 1, {"nhwc": ("direct",), "nchw": ("direct",)}),
    # Few channels: patches and indices are more memory traffic than the input itself.
    Line(
        lambda shape: shape.taps > 1 and shape.ic < _MATRIX_CHANNELS,
        {"nhwc": ("direct",), "nchw": ("direct",)},
    ),
    # Strided rows: in NCHW patches make long vectors of pixels, which are a gather without them.
    Line(
        lambda shape: (shape.sh, shape.sw) != (1, 1),
        {"nhwc": ("direct",), "nchw": ("im2col", "direct")},
    ),
    # gemm reads the input where it lies (1x1, no padding); kn2row-aa is the matrix product that needs no memory. In
    # NHWC a pixel's channels lie together, so that direct needs no indices, and skips what lies in the padding.
    Line(
        lambda shape: True,
        {"nhwc": ("gemm", "direct"), "nchw": ("gemm", "im2col", "kn2row-aa", "direct")},
    ),
)


def preferred(shape: ConvShape, layout: str = LAYOUT) -> list[str]:
    """The names of the algorithms that suit a shape in a layout and take it, best first; none if none computes it."""
    suited = next(line for line in RULE if line.applies(shape)).names[layout]
    algorithms = {algorithm.name: algorithm for algorithm in ALGORITHMS if algorithm.layout == layout}
    return [name for name in suited if name in algorithms and algorithms[name].rejects(shape) is None]


def able(shape: ConvShape, layout: str = LAYOUT) -> list[str]:
    """The names of all algorithms that take a shape in a layout, those that suit it first."""
    suited = preferred(shape, layout)
    taking = [known.name for known in ALGORITHMS if known.layout == layout and known.rejects(shape) is None]
    return [*suited, *(name for name in taking if name not in suited)]


def by_rule(shape: ConvShape, layout: str = LAYOUT) -> str:
    """The name of the algorithm that the rule gives. Raises ValueError if none computes this shape in this layout."""
    names = preferred(shape, layout)
    if not names:
        raise ValueError(f"no algorithm computes {shape} in layout {layout}")
    return names[0]

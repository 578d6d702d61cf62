"""The algorithm that `auto` takes for a layer where nothing has been measured."""

from __future__ import annotations

from tvmconv.algorithms import ALGORITHMS
from tvmconv.shape import ConvShape


def by_rule(shape: ConvShape, layout: str = "nhwc") -> str:
    """The name of the algorithm that the rule gives: the first of the preferred ones that takes the shape.

    Raises ValueError if none of them computes this shape in this layout.
    """
    algorithms = {algorithm.name: algorithm for algorithm in ALGORITHMS if algorithm.layout == layout}
    for name in _preferred(shape):
        if name in algorithms and algorithms[name].rejects(shape) is None:
            return name
    raise ValueError(f"no algorithm computes {shape} in layout {layout}")


# Input channels of a group from which an indirection buffer pays for patches of more than one pixel.
_INDIRECT_CHANNELS = 32


def _preferred(shape: ConvShape) -> tuple[str, ...]:
    """Names, best first. direct closes every line, because it rejects nothing."""
    if shape.g > 1 or (shape.taps > 1 and shape.ic < _INDIRECT_CHANNELS):
        return ("direct",)
    return ("gemm", "indirect", "direct")

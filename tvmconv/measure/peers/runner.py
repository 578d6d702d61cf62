"""Runner: a convolution with its input, weights and output in place, ready to be timed."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Unable(ValueError):
    """A library cannot do what is asked of it; the text is one sentence that says why. No fault of anybody's."""


class Runner(Protocol):
    """A convolution whose preparations are done; `run` computes all of y from x, bias and clamp included.

    `version` is that of the library behind it, `layout` the one in which x and y lie.
    """

    version: str
    layout: str

    def run(self) -> None:
        """Compute y once."""

    def poison_output(self) -> None:
        """Make sure that y's present content cannot pass for a result."""

    def y(self) -> NDArray[np.float32]:
        """The output of the last run, as NHWC."""

    def memory(self) -> list[tuple[int, int]]:
        """Address and bytes of all arrays that a run reads or writes. Raises Unable if the library hides some."""


@runtime_checkable
class Profiled(Protocol):
    """A runner whose library tells what part of a call is the convolution.

    A model of one layer pays for reorders, and for being called, what a network pays once for all of its layers.
    """

    def own_seconds(self, least: float) -> float:
        """Seconds that the convolution alone takes, bias and clamp included, on average of calls for `least` seconds.

        The calls are other ones than those of `run`, since a profiler takes time itself. The time counts only where the
        process had its cores throughout: others may have had them between two convolutions.
        """


def weights_hidden(library: str) -> Unable:
    """The error of memory() where the packed weights lie inside the library."""
    return Unable(f"{library} keeps its packed weights to itself, so they cannot be made cold: leave out --cold")

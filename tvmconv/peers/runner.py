"""What a bench can time: a convolution with its input, weights and output in place."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Runner(Protocol):
    """A convolution whose preparations are done; `run` computes all of y from x, bias and clamp included.

    `version` is that of the library behind it, `layout` the one in which x and y lie.
    """

    version: str
    layout: str

    def run(self) -> None:
        """Compute y once."""

    def forget(self) -> None:
        """Make sure that y's present content cannot pass for a result."""

    def y(self) -> NDArray[np.float32]:
        """What the last run computed, as NHWC."""

    def memory(self) -> list[tuple[int, int]]:
        """Address and bytes of all arrays that a run reads or writes."""

"""DType: the element types of a kernel, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tvmconv.support.text import unknown


class Element(NamedTuple):
    """bytes: of one element, and the alignment that kernels ask for; in_c: the name of its type in C."""

    bytes: int
    in_c: str


ELEMENTS = {"float32": Element(4, "float")}  # by the names that NumPy, torch and TIR share


@dataclass(frozen=True)
class DType:
    """The element types of a kernel, by names of ELEMENTS.

    name: what requests, tuning logs and descriptions call it; storage: elements of x, w and y; accumulator: sums, and
    what is added to them or bounds them: bias, clamp, partial sums in the workspace.
    """

    name: str
    storage: str
    accumulator: str

    @property
    def bytes(self) -> int:
        """Bytes of one stored element."""
        return ELEMENTS[self.storage].bytes

    @property
    def accumulator_bytes(self) -> int:
        """Bytes of one sum."""
        return ELEMENTS[self.accumulator].bytes


FLOAT32 = DType("float32", storage="float32", accumulator="float32")
DTYPES = (FLOAT32,)


def dtype(name: str) -> DType:
    """The element types of that name. Raises ValueError, with the names that there are."""
    for known in DTYPES:
        if known.name == name:
            return known
    raise ValueError(unknown("element type", name, [known.name for known in DTYPES]))

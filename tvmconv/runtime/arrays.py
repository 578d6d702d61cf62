"""Memory of arrays: allocated, addressed, seen in another layout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvmconv.workload.shape import AXES

ALIGNMENT = 64  # of the memory that is allocated here
ELEMENT = 4  # bytes, and the alignment that kernels ask for

Array = np.ndarray[Any, Any]


def aligned(size: int) -> Array:
    """`size` bytes of new memory at an address that is a multiple of ALIGNMENT."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def aligned_floats(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A new float32 array that begins at such an address."""
    floats: NDArray[np.float32] = aligned(ELEMENT * math.prod(shape)).view(np.float32).reshape(shape)
    return floats


def span(array: Array) -> range:
    """The addresses of a contiguous array's bytes."""
    start: int = array.__array_interface__["data"][0]
    return range(start, start + array.nbytes)


def as_layout(array: Array, given: str, wanted: str) -> Array:
    """The same memory with the axes of another layout: not contiguous, unless that is the given one."""
    return array.transpose([AXES[given].index(axis) for axis in AXES[wanted]])

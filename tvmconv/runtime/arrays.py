"""Aligned memory for arrays, and views in another layout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tvmconv.target.dtype import FLOAT32
from tvmconv.workload.shape import AXES

ALIGNMENT = 64  # of the memory that is allocated here
WORKSPACE_ALIGNMENT = 4  # bytes: of an index or a sum, whatever the element types

Array = np.ndarray[Any, Any]


def aligned(size: int) -> Array:
    """`size` bytes of new memory at an address that is a multiple of ALIGNMENT."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def aligned_array(shape: tuple[int, ...], element: str = FLOAT32.storage) -> Array:
    """A new array of elements of that type that begins at such an address."""
    kind = np.dtype(element)
    return aligned(kind.itemsize * math.prod(shape)).view(kind).reshape(shape)


def span(array: Array) -> range:
    """The addresses of a contiguous array's bytes."""
    start: int = array.__array_interface__["data"][0]
    return range(start, start + array.nbytes)


def as_layout(array: Array, given: str, wanted: str) -> Array:
    """The same memory with the axes of another layout: not contiguous, unless that is the given one."""
    return array.transpose([AXES[given].index(axis) for axis in AXES[wanted]])

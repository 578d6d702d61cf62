"""Checks callers' arrays and tensors, and returns them as arrays of the same memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tvmconv.runtime import tensors
from tvmconv.runtime.arrays import Array, as_layout, span
from tvmconv.runtime.tensors import is_torch
from tvmconv.workload.shape import AXES


class Taken(NamedTuple):
    """An array as a kernel takes it. layout: the names of the axes of `shape`; element: NumPy's name of the type."""

    shape: tuple[int, ...]
    layout: str
    element: str


def checked_image(name: str, value: Any, kernel: Taken, written: bool = False) -> Array:
    """x or y as a kernel takes it; the axes of a tensor are torch's.

    Raises TypeError or ValueError.
    """
    shape, layout = kernel.shape, kernel.layout
    array = _as_numpy(name, value, kernel.element, differentiable=True)
    given = tensors.LAYOUT if is_torch(value) else layout
    if given != layout:
        in_order = [AXES[layout].index(axis) for axis in AXES[given]]
        _check_shape(name, array, tuple(shape[axis] for axis in in_order), given.upper())
        array = as_layout(array, given, layout)
    _check_shape(name, array, shape, layout.upper())
    if reason := _misplaced(array, written):
        raise ValueError(f"{name} is {reason}; pass {_instead(name, value, layout, written)}")
    return array


def checked_weights(name: str, value: Any, kernel: Taken) -> Array:
    """Weights or a bias, which are only read and have no gradient here. Raises TypeError or ValueError."""
    array = _as_numpy(name, value, kernel.element, differentiable=False)
    _check_shape(name, array, kernel.shape, kernel.layout)
    if reason := _misplaced(array, written=False):
        raise ValueError(f"{name} is {reason}; pass {_instead(name, value)}")
    return array


def _as_numpy(name: str, value: Any, element: str, differentiable: bool) -> Array:
    if is_torch(value):
        return tensors.as_numpy(name, value, element, differentiable)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}; pass a NumPy array or a torch tensor")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, and kernels know no masks; pass {name}.filled(0) or {name}.data")
    if value.dtype != np.dtype(element):
        is_swapped = value.dtype.newbyteorder() == np.dtype(element)
        order = " in this machine's byte order" if is_swapped else ""
        raise TypeError(f"{name} is {value.dtype}; pass {element}{order}")
    return value


def _check_shape(name: str, array: Array, expected: tuple[int, ...], axes: str) -> None:
    if array.shape != expected:
        raise ValueError(f"{name} has shape {array.shape}; this kernel takes {expected}, {axes}")


def _misplaced(array: Array, written: bool) -> str | None:
    """Why a kernel cannot take an array as it lies; None if it can."""
    flags = array.flags
    if not flags.c_contiguous:
        return "not contiguous"
    if not flags.aligned:
        return f"not aligned to its elements of {array.itemsize} bytes"
    return "read-only" if written and not flags.writeable else None


def _instead(name: str, value: Any, layout: str | None = None, written: bool = False) -> str:
    """The expression of an array that a kernel can take: a copy, or a new one if it is `written`."""
    order = "memory_format=torch.channels_last" if layout == "nhwc" else ""
    is_aligned = (value.data_ptr() if is_torch(value) else span(value).start) % (
        value.element_size() if is_torch(value) else value.itemsize
    ) == 0
    if is_torch(value):
        new = f"torch.empty({tuple(value.shape)}{order and f', {order}'})"
        copy = f"{name}.contiguous({order})" if is_aligned else f"{name}.clone()"
    else:
        new = f"numpy.empty({value.shape}, numpy.{value.dtype})"
        copy = f"numpy.ascontiguousarray({name})" if is_aligned else f"{name}.copy()"
    return new if written else copy

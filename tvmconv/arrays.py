"""Arrays as kernels take them: where they lie, checked, never copied."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvmconv.shape import AXES

ALIGNMENT = 64  # of the memory that is allocated here; a kernel asks only for its element's
_IMAGES = ("x", "out")  # torch's axes of an image are N, C, H, W however it lies in memory

Array = np.ndarray[Any, Any]


def aligned(size: int) -> Array:
    """`size` bytes of new memory at an address that is a multiple of ALIGNMENT."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def aligned_floats(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A new float32 array that begins at such an address."""
    floats: NDArray[np.float32] = aligned(4 * math.prod(shape)).view(np.float32).reshape(shape)
    return floats


def address(array: Array | None) -> ctypes.c_void_p | None:
    """The array's first byte as a C function takes it; NULL for None."""
    return None if array is None else ctypes.c_void_p(array.ctypes.data)


def is_torch(value: Any) -> bool:
    """Whether it is a torch tensor, told without importing torch."""
    return type(value).__module__.partition(".")[0] == "torch"


def to_torch(array: Array, layout: str) -> Any:
    """The array's memory as a torch tensor of shape (N, C, H, W): nhwc is channels_last."""
    import torch

    return torch.from_numpy(as_layout(array, layout, "nchw"))


def as_layout(array: Array, given: str, wanted: str) -> Array:
    """The same memory with the axes of another layout: not contiguous, unless that is the given one."""
    return array.transpose([AXES[given].index(axis) for axis in AXES[wanted]])


def _as_numpy(name: str, value: Any, layout: str) -> Array:
    if isinstance(value, np.ndarray):
        return value
    if is_torch(value):
        if value.device.type != "cpu":
            raise TypeError(f"{name} is on {value.device}; kernels run on the CPU: pass {name}.cpu()")
        array: Array = np.from_dlpack(value.detach())
        return as_layout(array, "nchw", layout) if name in _IMAGES else array
    raise TypeError(f"{name} is a {type(value).__name__}; pass a NumPy array or a torch tensor")


def checked(name: str, value: Any, shape: tuple[int, ...], layout: str = "nhwc", writable: bool = False) -> Array:
    """The value as an array that a kernel of that layout can take as it lies. Raises TypeError or ValueError."""
    array = _as_numpy(name, value, layout)
    if array.dtype != np.float32:
        raise TypeError(f"{name} is {array.dtype}; pass float32")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; this kernel takes {shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} is not contiguous; pass numpy.ascontiguousarray({name})")
    if not array.flags.aligned:
        raise ValueError(f"{name} is not aligned to its elements of {array.itemsize} bytes; pass {name}.copy()")
    if writable and not array.flags.writeable:
        raise ValueError(f"{name} is read-only")
    return array


def checked_workspace(memory: Array, needed: int) -> Array:
    """Memory that a kernel may use as its workspace. Raises TypeError or ValueError."""
    if not isinstance(memory, np.ndarray) or not memory.flags.c_contiguous or not memory.flags.writeable:
        raise TypeError("workspace must be a contiguous, writable NumPy array, such as conv.new_workspace() makes")
    if memory.nbytes < needed:
        raise ValueError(f"workspace has {memory.nbytes} bytes; this kernel needs {needed}")
    return memory

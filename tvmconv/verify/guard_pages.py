"""Arrays between inaccessible pages: any access beside them ends the process with SIGSEGV."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

# Where an array lies in its pages. Flush with the last byte, it has no alignment but its element's.
Place = Literal["first byte", "fifth byte", "last byte"]

_PROT_NONE, _PROT_READ = 0, 1  # POSIX, <sys/mman.h>; Python's mmap has no name for the first
_PAGE = mmap.PAGESIZE

_mprotect = ctypes.CDLL(None, use_errno=True).mprotect
_mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def guarded(shape: tuple[int, ...], place: Place, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """An array of zeros with a forbidden page before the page it starts in and behind the page it ends in.

    The pages are given back when the array and its views are gone. Raises OSError if there is no memory for them.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    offset = 4 if place == "fifth byte" else 0
    pages = max(1, -(-(size + offset) // _PAGE))
    if place == "last byte":
        offset = pages * _PAGE - size
    memory = np.frombuffer(mmap.mmap(-1, (pages + 2) * _PAGE), np.uint8)
    for guard in (0, pages + 1):
        _protect(memory.ctypes.data + guard * _PAGE, _PAGE, _PROT_NONE)
    start = _PAGE + offset
    return memory[start : start + size].view(dtype).reshape(shape)


def forbid_writing(array: NDArray[Any]) -> None:
    """Make the pages of a guarded array read-only, for everybody and not just for NumPy."""
    start = array.ctypes.data // _PAGE * _PAGE
    _protect(start, array.ctypes.data + array.nbytes - start, _PROT_READ)
    array.flags.writeable = False


def _protect(address: int, size: int, protection: int) -> None:
    if _mprotect(address, size, protection):
        error = ctypes.get_errno()
        raise OSError(error, f"mprotect: {os.strerror(error)}")

"""Kernel: a compiled file, whose functions are called through ctypes. NumPy and ctypes, no TVM."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tvmconv.runtime.array_checks import Taken, checked_weights
from tvmconv.runtime.arrays import Array, aligned, span
from tvmconv.runtime.conv import Conv
from tvmconv.runtime.kernel_file.description import BadDescription, descriptions, parse
from tvmconv.runtime.kernel_file.header import header
from tvmconv.runtime.kernel_file.shared_object import loaded
from tvmconv.runtime.kernel_file.soname import named
from tvmconv.runtime.thread_pool import Workers, shared
from tvmconv.support.filesystem.files import write_whole
from tvmconv.support.filesystem.user_folders import CACHE
from tvmconv.support.text import unknown
from tvmconv.target.dtype import dtype
from tvmconv.target.targets import host_features
from tvmconv.workload.shape import ConvShape

__all__ = ["Conv", "Kernel", "load", "read"]

# The texts of the flags in tvmconv.h.
_STATUS = {
    1: "a pointer is NULL that must not be",
    2: "a pointer is not aligned to 4 bytes",
    4: "the lower bound of the clamp is above the upper one",
    8: "the thread pool failed",
}
# Axes of each weight layout, transposed to OIHW.
_WEIGHT_LAYOUTS = {"OIHW": (0, 1, 2, 3), "OHWI": (0, 3, 1, 2), "HWIO": (3, 2, 0, 1)}


def load(path: str | os.PathLike[str], prefix: str | None = None) -> Kernel:
    """Opens a kernel file to run it here; prefix picks one kernel of a file that holds several.

    Raises FileNotFoundError or another OSError, or ValueError for a file that is not a kernel, is truncated or damaged,
    or was made for another machine.
    """
    kernel = read(path, prefix)
    kernel.open()
    return kernel


def read(path: str | os.PathLike[str], prefix: str | None = None) -> Kernel:
    """Reads a kernel file, whatever machine it was made for; arguments and errors as for load."""
    path = Path(path)
    described = descriptions(path)
    if prefix is None and len(described) > 1:
        raise ValueError(f"{path} holds {len(described)} kernels, name one by its prefix: {', '.join(described)}")
    prefix = next(iter(described)) if prefix is None else prefix
    if prefix not in described:
        raise ValueError(f"{path} holds no kernel {prefix!r} (it holds: {', '.join(described)})")
    return Kernel(path, described[prefix])


class Kernel:
    """One compiled problem: a file that says what it is, and the C functions in it, loaded when the first is called.

    copy and pickle make another one from the file's content, which is written to the cache where it is unpickled.
    """

    def __init__(self, path: Path, description: Mapping[str, Any], threads: int = 1) -> None:
        self.path = path
        self.threads = threads  # what prepare's are unless it is told: the file is the same for any number
        self.description = dict(description)
        self.shape = ConvShape.parse(description["workload"])
        self.dtype = dtype(description["dtype"])
        self.x_shape = self.shape.x_in(self.layout)  # the input and the output, in the kernel's layout
        self.y_shape = self.shape.y_in(self.layout)
        self._loaded: ctypes.CDLL | None = None

    def __repr__(self) -> str:
        what = f"{self.shape} by {self.algorithm}, {self.layout}, for {self.description['target']}"
        return f"<tvmconv.{type(self).__name__} of {what}: {self.path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.path.read_bytes(), self.description["prefix"], self.threads)

    @property
    def algorithm(self) -> str:
        return str(self.description["algorithm"])

    @property
    def layout(self) -> str:
        return str(self.description["layout"])

    @property
    def phases(self) -> list[str]:
        """The phases of run, in order."""
        return list(self.description["phases"])

    @property
    def packed_bytes(self) -> int:
        """Bytes of packed weights, bias and clamp bounds."""
        return int(self.description["packed_bytes"])

    @property
    def indirection_bytes(self) -> int:
        """Bytes of the workspace that are an indirection buffer."""
        return int(self.description["workspace"].get("indirection", 0))

    def workspace_bytes(self, threads: int = 1) -> int:
        """Bytes of extra memory that run needs with so many threads, which share all of it."""
        return sum(self.description["workspace"].values())

    def open(self) -> None:
        """Loads the functions, as the first call would. Raises ValueError where this machine cannot run them."""
        self.function("run")

    def prepare(
        self,
        w: Any,
        bias: Any = None,
        clamp: tuple[float, float] | None = None,
        weights: str = "OIHW",
        threads: int | None = None,
        cpus: Sequence[int] | None = None,
    ) -> Conv:
        """Packs weights, bias and clamp bounds for many calls.

        w: float32 of (OC, IC/G, KH, KW), or as `weights` (OIHW, OHWI, HWIO) says; bias: float32 of (OC,) or None; NumPy
        arrays or torch tensors on the CPU, contiguous; of a parameter that requires a gradient the values are taken.
        clamp: (lowest, highest) output or None; threads: how many compute, the caller among them (None: as build was
        told, else 1), and cpus: one for each, if they are to be pinned, the first where the caller itself will be.
        Raises ValueError or TypeError for anything else, and ValueError where this machine cannot run the kernel.
        """
        pool = self._workers(self.threads if threads is None else threads, cpus)
        if weights not in _WEIGHT_LAYOUTS:
            raise ValueError(unknown("weight layout", weights, tuple(_WEIGHT_LAYOUTS)))
        axes = _WEIGHT_LAYOUTS[weights]
        expected = tuple(self.shape.w_shape[axes.index(axis)] for axis in range(4))
        w = np.ascontiguousarray(checked_weights("w", w, Taken(expected, weights, self.dtype.storage)).transpose(axes))
        b = (
            None
            if bias is None
            else checked_weights("bias", bias, Taken((self.shape.oc,), "OC", self.dtype.accumulator))
        )
        bounds = None if clamp is None else _bounds(clamp)
        packed = aligned(self.packed_bytes).view(self.dtype.storage)
        self.call("pack", _address(w), _address(b), _address(packed))
        if bounds:
            self.call("clamp", *map(ctypes.c_float, bounds), _address(packed))
        return Conv(self, packed, pool)

    def with_packed(self, packed: Array, threads: int) -> Conv:
        """A Conv of weights that this kernel, or another one of the same file, has packed before."""
        return Conv(self, packed, self._workers(threads, None))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the kernel's file, with all kernels that it holds, to path, by rename: never half of it.

        Its SONAME is the name of `path`, for programs that are linked with it.
        """
        path = Path(path)
        write_whole(path, named(self.path.read_bytes(), path.name))

    def header(self) -> str:
        """A C header that declares the kernel's functions, complete in itself."""
        return header([self.description])

    @property
    def _library(self) -> ctypes.CDLL:
        if self._loaded is None:  # no cached_property, whose lock a forked child may find held (Python < 3.12)
            self._check_machine()
            library = loaded(self.path)
            self._check_functions(library)
            self._loaded = library
        return self._loaded

    def _check_machine(self) -> None:
        made_for = self.description["triple"].partition("-")[0]
        if made_for != platform.machine():
            raise ValueError(f"{self.path} was made for {made_for}; this machine is {platform.machine()}")
        missing = [feature for feature in self.description["features"] if feature not in host_features()]
        if missing:
            raise ValueError(
                f"{self.path} was made for {self.description['target']}, and this machine lacks {', '.join(missing)}; "
                'build it with target="native"'
            )

    def _check_functions(self, library: ctypes.CDLL) -> None:
        """Raises ValueError where the functions of the loaded file contradict the description that was read from it."""
        expected = (
            ("describe", (), ctypes.c_char_p, self.description),
            ("packed_bytes", (), ctypes.c_size_t, self.packed_bytes),
            ("workspace_bytes", (1,), ctypes.c_size_t, self.workspace_bytes()),
        )
        for name, arguments, kind, value in expected:
            try:
                function = library[f"{self.description['prefix']}_{name}"]  # by index: not the object of other callers
            except AttributeError:
                raise self._damaged(f"no function {name}") from None
            function.restype = kind
            found = function(*arguments)
            if (_parsed(found) if name == "describe" else found) != value:
                raise self._damaged(f"its {name} does not fit its description")

    def _damaged(self, what: str) -> ValueError:
        return ValueError(f"{self.path} is a damaged kernel file: {what}; build it again")

    def _workers(self, threads: int, cpus: Sequence[int] | None) -> Workers | None:
        """The pool of threads where the kernel runs; None for the calling thread alone."""
        return shared(threads, cpus)

    def _find(self, symbol: str) -> Callable[..., int]:
        """A function of the file; arrays are passed by their addresses. Raises AttributeError where it has none."""
        function: Callable[..., int] = getattr(self._library, symbol)
        return function

    def function(self, name: str) -> Callable[..., int]:
        """A function of the C interface, by its name without the prefix. Raises ValueError where the file has none."""
        try:
            return self._find(f"{self.description['prefix']}_{name}")
        except AttributeError:
            raise self._damaged(f"no function {name}") from None

    def call(self, name: str, *arguments: Any) -> None:
        """Calls one that returns a status. Raises ValueError, which says what a status other than 0 means."""
        if status := self.function(name)(*arguments):
            reasons = [text for flag, text in _STATUS.items() if status & flag]
            raise ValueError(f"{self.description['prefix']}_{name}: {' and '.join(reasons) or f'status {status}'}")


def _bounds(clamp: Any) -> tuple[float, float]:
    """The clamp as two floats. Raises ValueError."""
    try:
        lower, upper = map(float, clamp)
    except (TypeError, ValueError):
        raise ValueError(f"clamp={clamp!r} is not a pair of numbers, such as (0, 6)") from None
    if not lower <= upper:
        raise ValueError(f"clamp={clamp!r}: the lower bound is above the upper one, or one is no number")
    return lower, upper


def _parsed(description: bytes) -> dict[str, Any] | None:
    try:
        return parse(description)
    except BadDescription:
        return None


def _address(array: Array | None) -> ctypes.c_void_p | None:
    """The array's first byte as a C function takes it; NULL for None."""
    return None if array is None else ctypes.c_void_p(span(array).start)


def _unpickled(content: bytes, prefix: str, threads: int) -> Kernel:
    CACHE.check_private()
    path = CACHE.made("pickled") / f"{hashlib.sha256(content).hexdigest()[:32]}.so"
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, content)
    kernel = read(path, prefix)
    kernel.threads = threads
    return kernel

"""Kernel: a compiled file. Conv: a kernel prepared with weights. NumPy and ctypes, no TVM."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from tvmconv.arrays import Array, address, aligned, checked, checked_workspace, is_torch, to_torch
from tvmconv.description import descriptions, header
from tvmconv.files import write_whole
from tvmconv.names import unknown
from tvmconv.pool import Workers, shared
from tvmconv.shape import ConvShape
from tvmconv.soname import named
from tvmconv.target import host_features

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

    Raises FileNotFoundError, or ValueError for a file that is not a kernel, is truncated, or was made for another
    machine.
    """
    kernel = read(path, prefix)
    kernel.open()
    return kernel


def read(path: str | os.PathLike[str], prefix: str | None = None) -> Kernel:
    """What a kernel file holds, whatever machine it was made for; arguments and errors as for load."""
    path = Path(path)
    described = descriptions(path)
    if prefix is None and len(described) > 1:
        raise ValueError(f"{path} holds {len(described)} kernels, name one by its prefix: {', '.join(described)}")
    prefix = prefix or next(iter(described))
    if prefix not in described:
        raise ValueError(f"{path} holds no kernel {prefix!r} (it holds: {', '.join(described)})")
    try:
        return Kernel(path, described[prefix])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is a damaged kernel file ({error}); build it again") from error


class Kernel:
    """One compiled problem: a file that says what it is, and the C functions in it, loaded when the first is called."""

    def __init__(self, path: Path, description: Mapping[str, Any], threads: int = 1) -> None:
        self.path = path
        self.threads = threads  # what prepare's are unless it is told: the file is the same for any number
        self.description = dict(description)
        self.shape = ConvShape.parse(description["workload"])

    @property
    def algorithm(self) -> str:
        return str(self.description["algorithm"])

    @property
    def layout(self) -> str:
        return str(self.description["layout"])

    @property
    def x_shape(self) -> tuple[int, ...]:
        """The input, in the kernel's layout."""
        return self.shape.x_in(self.layout)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """The output, in the kernel's layout."""
        return self.shape.y_in(self.layout)

    @property
    def phases(self) -> list[str]:
        """What run does, in order."""
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
        self._function("run")

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

        w: float32 of (OC, IC/G, KH, KW), or as `weights` (OIHW, OHWI, HWIO) says; bias: float32 of (OC,) or None;
        clamp: (lowest, highest) output or None; threads: how many compute, the caller among them (None: as build was
        told, else 1), and cpus: one for each, if they are to be pinned, the first where the caller itself will be.
        Raises ValueError or TypeError for anything else, and ValueError where this machine cannot run the kernel.
        """
        pool = self._workers(self.threads if threads is None else threads, cpus)
        if weights not in _WEIGHT_LAYOUTS:
            raise ValueError(unknown("weight layout", weights, tuple(_WEIGHT_LAYOUTS)))
        axes = _WEIGHT_LAYOUTS[weights]
        expected = tuple(self.shape.w_shape[axes.index(axis)] for axis in range(4))
        w = np.ascontiguousarray(checked("w", w, expected).transpose(axes))
        b = None if bias is None else checked("bias", bias, (self.shape.oc,))
        bounds = None if clamp is None else _bounds(clamp)
        packed = aligned(self.packed_bytes).view(np.float32)
        self._call("pack", address(w), address(b), address(packed))
        if bounds:
            self._call("clamp", *map(ctypes.c_float, bounds), address(packed))
        return Conv(self, packed, pool)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the kernel's file, with all kernels that it holds, to path, by rename: never half of it.

        Its SONAME is the name of `path`, for programs that are linked with it.
        """
        path = Path(path)
        write_whole(path, named(self.path.read_bytes(), path.name))

    def header(self) -> str:
        """A C header that declares the kernel's functions, complete in itself."""
        return header([self.description])

    @functools.cached_property
    def _library(self) -> ctypes.CDLL:
        self._check_machine()
        return _loaded(str(self.path.resolve()), self.path.stat().st_mtime_ns)

    def _check_machine(self) -> None:
        made_for = self.description["triple"].partition("-")[0]
        if made_for != platform.machine():
            raise ValueError(f"{self.path} was made for {made_for}; this machine is {platform.machine()}")
        missing = [feature for feature in self.description["features"] if feature not in host_features()]
        if missing:
            raise ValueError(
                f"{self.path} was made for {self.description['target']}, and this machine lacks {', '.join(missing)}; "
                "build it with --target native"
            )

    def _workers(self, threads: int, cpus: Sequence[int] | None) -> Workers | None:
        """Who computes, where the kernel runs; None for the calling thread alone."""
        return shared(threads, cpus)

    def _find(self, symbol: str) -> Callable[..., int]:
        """A function of the file; arrays are passed by their addresses. Raises AttributeError where it has none."""
        function: Callable[..., int] = getattr(self._library, symbol)
        return function

    def _function(self, name: str) -> Callable[..., int]:
        try:
            function = self._find(f"{self.description['prefix']}_{name}")
        except AttributeError:
            raise ValueError(f"{self.path} is a damaged kernel file: no function {name}; build it again") from None
        return function

    def _call(self, name: str, *arguments: Any) -> None:
        if status := self._function(name)(*arguments):
            reasons = [text for flag, text in _STATUS.items() if status & flag]
            raise ValueError(f"{self.description['prefix']}_{name}: {' and '.join(reasons) or f'status {status}'}")


class Conv:
    """A kernel with its packed weights, and the pool that computes, None for the calling thread alone.

    Calls may run at the same time if each has a workspace of its own; those of one pool wait for each other.
    """

    def __init__(self, kernel: Kernel, packed: Array, pool: Workers | None = None) -> None:
        self.kernel = kernel
        self.packed = packed
        self.pool = pool
        self._workspace = self.new_workspace()
        self._own_workspace = threading.Lock()  # held by the call that uses it

    @property
    def algorithm(self) -> str:
        return self.kernel.algorithm

    @property
    def layout(self) -> str:
        return self.kernel.layout

    @property
    def threads(self) -> int:
        return self.pool.threads if self.pool else 1

    @property
    def workspace_bytes(self) -> int:
        return self.kernel.workspace_bytes(self.threads)

    def new_workspace(self, memory: Array | None = None) -> Array:
        """A prepared workspace: at least workspace_bytes of `memory` if given, else newly allocated."""
        array = aligned(self.workspace_bytes) if memory is None else checked_workspace(memory, self.workspace_bytes)
        if self.workspace_bytes:
            self.kernel._call("prepare", address(array))
        if isinstance(memory, Workspace):
            memory.prepared_for = None
        workspace = array.view(Workspace)
        workspace.prepared_for = self.kernel
        return workspace

    def __call__(self, x: Any, out: Any = None, workspace: Array | None = None) -> Any:
        """y = clamp(conv(x) + bias). x: float32 of (N, H, W, IC); y: float32 of (N, OH, OW, OC);
        with layout nchw of (N, IC, H, W) and (N, OC, OH, OW).

        Without `out` a new array is made; without `workspace` the one made at prepare is used, for one call after the
        other: calls on several threads run at once if each has one of its own, what new_workspace returns, which is
        prepared once, or any memory of workspace_bytes, which is prepared in each call. torch in gives torch out.
        Raises ValueError or TypeError for arrays of another shape, type or layout; nothing is copied.
        """
        tensor = is_torch(x)
        y = np.empty(self.kernel.y_shape, np.float32) if out is None else out
        with self._own_workspace if workspace is None else nullcontext():
            self.bind(x, y, workspace)()
        return to_torch(y, self.kernel.layout) if tensor and out is None else y

    def bind(self, x: Any, y: Any, workspace: Array | None = None, phase: str | None = None) -> Callable[[], None]:
        """The call with its arguments checked and converted once, for loops: each call of it computes y from x.

        phase names one of kernel.phases to run alone, for measuring: of the first image, on one thread, on what the
        phases before it have left in the workspace. Raises as a call does, and ValueError for an unknown phase.
        """
        kernel = self.kernel
        x = checked("x", x, kernel.x_shape, kernel.layout)
        y = checked("out", y, kernel.y_shape, kernel.layout, writable=True)
        if workspace is None:
            workspace = self._workspace
        for name, array, other in (("out", y, x), ("workspace", workspace, x), ("workspace", workspace, y)):
            if isinstance(array, np.ndarray) and np.may_share_memory(array, other):
                raise ValueError(f"{name} overlaps {'x' if other is x else 'out'}; give it memory of its own")
        if not isinstance(workspace, Workspace) or workspace.prepared_for is not self.kernel:
            workspace = self.new_workspace(workspace)
        if phase is not None and phase not in self.kernel.phases:
            raise ValueError(unknown("phase", phase, self.kernel.phases))
        if self.pool:
            self.pool.start()
        pool = self.pool.address if self.pool else None
        function, last = ("run", pool) if phase is None else ("run_phase", self.kernel.phases.index(phase))
        arguments = (address(x), address(self.packed), address(y), address(workspace), last)
        keep_alive, run = (x, y, workspace, self), kernel._function(function)

        def call() -> None:
            if run(*arguments):
                kernel._call(function, *arguments)

        call.keep_alive = keep_alive  # type: ignore[attr-defined]
        return call


class Workspace(np.ndarray[Any, Any]):
    """Memory that knows for which kernel it has been prepared; a view of it knows nothing."""

    prepared_for: Kernel | None = None


def _bounds(clamp: Any) -> tuple[float, float]:
    """The clamp as two floats. Raises ValueError."""
    try:
        lower, upper = map(float, clamp)
    except (TypeError, ValueError):
        raise ValueError(f"clamp={clamp!r} is not a pair of numbers, such as (0, 6)") from None
    if not lower <= upper:
        raise ValueError(f"clamp={clamp!r}: the lower bound is above the upper one, or one is no number")
    return lower, upper


_paths_loaded: set[str] = set()


@functools.cache
def _loaded(path: str, changed: int) -> ctypes.CDLL:
    """The loaded file; a file that was replaced since is loaded anew under its new time stamp.

    The dynamic linker would take a path that it has loaded before for the same file, so that a replaced one is loaded
    by the path of an open descriptor, which stays open.
    """
    replaced = path in _paths_loaded
    try:
        library = ctypes.CDLL(f"/proc/self/fd/{os.open(path, os.O_RDONLY)}" if replaced else path)
    except OSError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from None
    _paths_loaded.add(path)
    return library

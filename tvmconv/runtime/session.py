"""Kernels that run in this process, in the emulator, or on a device: all are Kernels."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tvmconv.runtime import emulator
from tvmconv.runtime.arrays import aligned_array
from tvmconv.runtime.emulator import Machine, Memory
from tvmconv.runtime.kernel import Kernel, read
from tvmconv.runtime.thread_pool import Workers
from tvmconv.target.devices import EMULATOR

# What a kernel's functions take that is an array, by the order of their arguments, and which of these they write.
_ARRAYS = {
    "pack": ("w", "bias", "packed"),
    "clamp": (None, None, "packed"),
    "prepare": ("workspace",),
    "run": ("x", "packed", "y", "workspace"),
    "run_phase": ("x", "packed", "y", "workspace"),
}
_WRITTEN = {"pack": ("packed",), "clamp": ("packed",)}
_WRITTEN_ELSE = ("y", "workspace")


def load_on(device: str, path: Path) -> Kernel:
    """Opens a kernel's file to run it on a device. Raises as tvmconv.load does, and for what the device lacks."""
    kernel = EmulatedKernel(read(path)) if device == EMULATOR else read(path)
    kernel.open()
    return kernel


def instructions(path: Path, seconds: float) -> int:
    """Instructions of one run on one thread, counted in the emulator.

    Raises as load_on does, emulator.Fault for a kernel that strays, TimeoutError for one of more than `seconds`.
    """
    kernel = EmulatedKernel(read(path), counting=True, seconds=seconds)
    conv = kernel.prepare(aligned_array(kernel.shape.w_shape, kernel.dtype.storage))
    x, y = (aligned_array(shape, kernel.dtype.storage) for shape in (kernel.x_shape, kernel.y_shape))
    x.fill(0)
    run = conv.bind(x, y)
    before = kernel.machine.instructions
    run()
    return kernel.machine.instructions - before


class DistantKernel(Kernel):
    """A kernel that runs where this process's arrays are not: each call has them copied there, and back."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"{self!r} belongs to this process: pass on its file, {self.path}, and load it there")

    def _find(self, symbol: str) -> Callable[..., int]:
        if not self._has(symbol):
            raise AttributeError(symbol)
        return functools.partial(self._pass_on, symbol.removeprefix(f"{self.description['prefix']}_"))

    def _has(self, symbol: str) -> bool:
        """Whether the file has that function."""
        raise NotImplementedError

    def _call_there(self, function: str, arguments: Sequence[Memory | int | float | None]) -> int:
        """Calls a function, named without the kernel's prefix; its status."""
        raise NotImplementedError

    def _pass_on(self, function: str, *arguments: Any) -> int:
        names = _ARRAYS[function] + (None,) * (len(arguments) - len(_ARRAYS[function]))
        return self._call_there(
            function, [self._argument(function, *each) for each in zip(names, arguments, strict=True)]
        )

    def _argument(self, function: str, array: str | None, argument: Any) -> Memory | int | float | None:
        value: Any = argument.value if isinstance(argument, (ctypes.c_void_p, ctypes.c_float)) else argument
        if array is None or value is None:
            return cast(int | float | None, value)
        return Memory(array, value, self._sizes[array], array in _WRITTEN.get(function, _WRITTEN_ELSE))

    @property
    def _sizes(self) -> Mapping[str, int]:
        """Bytes of each array."""
        stored = {"w": self.shape.w_shape, "x": self.x_shape, "y": self.y_shape}
        return {
            **{name: self.dtype.bytes * math.prod(sizes) for name, sizes in stored.items()},
            "bias": self.dtype.accumulator_bytes * self.shape.oc,
            "packed": self.packed_bytes,
            "workspace": self.workspace_bytes(),
        }


class EmulatedKernel(DistantKernel):
    """A kernel for aarch64 that runs in the emulator, at a thousandth of a core's speed.

    Its arrays are copied into memory where everything beside them is forbidden, what it only reads included. Threads
    are a pool that runs the tasks backwards, one after the other.
    """

    def __init__(self, kernel: Kernel, counting: bool = False, seconds: float = 0) -> None:
        super().__init__(kernel.path, kernel.description, kernel.threads)
        self._counting, self._seconds = counting, seconds
        self._machine: Machine | None = None

    @property
    def machine(self) -> Machine:
        if self._machine is None:
            self._machine = self._new_machine()
        return self._machine

    def _new_machine(self) -> Machine:
        made_for = self.description["triple"].partition("-")[0]
        if made_for != "aarch64":
            raise ValueError(f"{self.path} was made for {made_for}; the emulator is an aarch64")
        return Machine(self.path, self.description["features"], self._counting)

    def _workers(self, threads: int, cpus: Sequence[int] | None) -> Workers | None:
        return _Backwards(threads) if threads > 1 else None

    def _has(self, symbol: str) -> bool:
        return self.machine.has(symbol)

    def _call_there(self, function: str, arguments: Sequence[Memory | int | float | None]) -> int:
        return self.machine.call(f"{self.description['prefix']}_{function}", *arguments, seconds=self._seconds)


class _Backwards:
    """The pool of the emulated machine, for any number of threads."""

    address = ctypes.c_void_p(emulator.POOL)

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def start(self) -> None:
        """There is nothing to start."""

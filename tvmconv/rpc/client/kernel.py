"""A kernel on a device: a Kernel whose arrays are copied there and back."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvmconv.compiler.ffi_entries import FFI_FUNCTIONS
from tvmconv.rpc.client.session import DeviceSession
from tvmconv.rpc.device_info import Described
from tvmconv.rpc.errors import DeviceError
from tvmconv.runtime.emulator import Fault, Memory
from tvmconv.runtime.kernel import Kernel
from tvmconv.runtime.session import DistantKernel
from tvmconv.runtime.thread_pool import Workers

# Words on each side of an array that nobody may write to: a signalling pattern of NaN, so that sums which read them
# are wrong too. A page, so that whoever strays by a row of a small image is caught.
_CANARIES = 1024
_CANARY = 0x7FC0C0DE
_WORD = 4  # bytes of a canary: arrays are copied in such words
_ALIGNMENT = 64  # of memory that TVM allocates


class RemoteKernel(DistantKernel):
    """A kernel in a session on a device. Its functions are the FFI entries; arrays keep their alignment up to 64 bytes.

    A call raises emulator.Fault where it has written beside an array, or into one that it must only read.
    """

    def __init__(self, kernel: Kernel, session: DeviceSession, device: Described) -> None:
        super().__init__(kernel.path, kernel.description, kernel.threads)
        self._session, self._device = session, device

    def open(self) -> None:
        """Uploads and loads the file. Raises DeviceError where the device cannot run it, or could not load it."""
        if reason := self._device.refuses(self.description):
            raise DeviceError("architecture", reason)
        self._session.module(self.path)

    def entry(self, function: str) -> str:
        """The name of an FFI entry in the module."""
        return f"{self.description['prefix']}_{function}"

    def elements(self, array: str) -> tuple[int, ...]:
        """The shape of an array as the FFI entries take it."""
        shapes = {"w": self.shape.w_shape, "bias": (self.shape.oc,), "x": self.x_shape, "y": self.y_shape}
        return shapes.get(array) or (max(1, self._sizes[array] // self.dtype.bytes),)

    def element(self, array: str) -> str:
        """The type of its elements."""
        return self.dtype.accumulator if array == "bias" else self.dtype.storage

    def _workers(self, threads: int, cpus: Sequence[int] | None) -> Workers | None:
        return _PoolThere(threads, self._session.pool(threads)) if threads > 1 else None

    def _has(self, symbol: str) -> bool:
        return symbol in map(self.entry, FFI_FUNCTIONS)

    def _call_there(self, function: str, arguments: Sequence[Memory | int | float | None]) -> int:
        arrays = [each for each in arguments if isinstance(each, Memory)]
        placed = {each: self._placed(each) for each in arrays}
        passed: list[Any] = [placed[each].view if isinstance(each, Memory) else each for each in arguments]
        if function == "pack" and arguments[1] is None:
            passed[1] = self._no_bias()
        if function == "run":
            *passed, pool = passed
            function, passed = ("run_on", [*passed, pool]) if pool else ("run", passed)
        self._session.module(self.path)[self.entry(function)](*passed)
        for each in placed.values():
            each.copy_back()
        return 0  # an entry raises an error for any other status

    def _placed(self, array: Memory) -> GuardedArray:
        return GuardedArray(self._session, array, self.elements(array.name), self.element(array.name))

    def _no_bias(self) -> Any:
        bias = self._session.tensor(self.shape.oc, self.dtype.accumulator)
        bias.copyfrom(np.zeros(self.shape.oc, self.dtype.accumulator))
        return bias


class GuardedArray:
    """A copy of an array on the device, in a bigger allocation that begins and ends with canaries.

    `view` is what kernels take.
    """

    def __init__(self, session: DeviceSession, memory: Memory, shape: tuple[int, ...], element: str) -> None:
        self._memory = memory
        self._start = _CANARIES + memory.address % _ALIGNMENT // _WORD
        self._sent = np.full(self._start + memory.size // _WORD + _CANARIES, _CANARY, np.uint32)
        self._sent[self._own] = np.frombuffer(ctypes.string_at(memory.address, memory.size), np.uint32)
        self._base = session.tensor(self._sent.size, "uint32")
        self._base.copyfrom(self._sent)
        self.view = self._base._create_view(shape, element, _WORD * self._start)

    def copy_back(self) -> None:
        """Copies a writable array back into its original. Raises emulator.Fault."""
        found: NDArray[np.uint32] = self._base.numpy().view(np.uint32)
        changed = np.flatnonzero(found != self._sent) - self._start
        elements = self._memory.size // _WORD
        stray = changed[(changed < 0) | (changed >= elements)]
        if stray.size:
            raise Fault(
                f"writes at byte {_WORD * stray[0]} of {self._memory.name}, which has {self._memory.size} bytes"
            )
        if not self._memory.writable:
            if changed.size:
                raise Fault(f"writes at byte {_WORD * changed[0]} of {self._memory.name}, which is read-only")
            return
        ctypes.memmove(self._memory.address, found[self._own].tobytes(), self._memory.size)

    @property
    def _own(self) -> slice:
        return slice(self._start, self._start + self._memory.size // _WORD)


class _PoolThere:
    """A pool of the device's, by its address there."""

    def __init__(self, threads: int, address: int) -> None:
        self.threads, self.address = threads, ctypes.c_void_p(address)

    def start(self) -> None:
        """The server has started it."""

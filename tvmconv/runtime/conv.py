"""Conv: a kernel with its weights packed, called on arrays."""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from tvmconv.runtime.array_checks import Taken, checked_image
from tvmconv.runtime.arrays import Array, aligned, span
from tvmconv.runtime.tensors import is_torch, to_torch
from tvmconv.runtime.thread_pool import Workers
from tvmconv.runtime.workspace import Workspace, checked_workspace, keeper, prepared
from tvmconv.support.text import unknown

if TYPE_CHECKING:
    from tvmconv.runtime.kernel import Kernel


class Conv:
    """A kernel with its packed weights, which are read-only, and the pool that computes, None for the calling thread.

    Calls may run at the same time if each has a workspace of its own; those of one pool wait for each other. A forked
    child may call it whatever the parent's threads were doing. copy and pickle make another one, for the same number of
    threads, from the kernel's file and the packed weights.
    """

    def __init__(self, kernel: Kernel, packed: Array, pool: Workers | None = None) -> None:
        self.kernel = kernel
        self.packed = packed.view()
        self.packed.flags.writeable = False
        self._packed_span = span(packed)
        self.pool = pool
        self._own_workspace = self.new_workspace()
        self._own_workspace_free = threading.Lock()  # held by the call that uses it
        _CONVS.add(self)

    def __repr__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"<tvmconv.Conv on {threads} of {self.kernel!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.kernel, self.packed.tobytes(), self.threads)

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

    def new_workspace(self, memory: Array | None = None) -> Workspace:
        """A prepared workspace: at least workspace_bytes of `memory` if given, else newly allocated.

        It is prepared again when a call of any Conv has used its memory since, as workspace or output. To overwrite it
        otherwise is to make it a new workspace again. Memory that NumPy has not allocated (of a mmap, a bytearray,
        torch) is prepared in each call. Raises TypeError or ValueError for memory that is not suitable.
        """
        size = self.workspace_bytes
        if memory is None:
            return prepared(aligned(size), size, self.kernel, self._prepare)
        self._check_apart({"workspace": span(checked_workspace(memory, size))})
        return prepared(memory, size, self.kernel, self._prepare)

    def __call__(self, x: Any, out: Any = None, workspace: Array | None = None) -> Any:
        """y = clamp(conv(x) + bias).

        x and out are float32, dense, and aligned to their elements: NumPy arrays (N, H, W, IC) and (N, OH, OW, OC),
        with layout nchw (N, IC, H, W) and (N, OC, OH, OW); or torch tensors on the CPU, whose axes are always N, C, H,
        W: with layout nhwc they are in memory format channels_last, with nchw contiguous. Nothing is copied, so that
        everything else is refused, with what to pass instead: other dtypes and byte orders (bfloat16, float64), masked,
        sparse, quantized and nested ones, views with a pending sign (x.resolve_neg()), and, unless under
        torch.no_grad(), tensors that require a gradient, which kernels do not give.

        Without `out` a new array is made, for a tensor x a tensor. Without `workspace` the one made at prepare is used,
        for one call after the other. Calls on several threads run at once if each has one of its own: what
        new_workspace returns, which is prepared only when something else has used its memory, or any other array of
        workspace_bytes, which is prepared in each call. Returns the output. Raises ValueError or TypeError.
        """
        y = np.empty(self.kernel.y_shape, self.kernel.dtype.storage) if out is None else out
        with self._own_workspace_free if workspace is None else nullcontext():
            self.bind(x, y, workspace)()
        return to_torch(y, self.kernel.layout) if is_torch(x) and out is None else y

    def bind(self, x: Any, y: Any, workspace: Array | None = None, phase: str | None = None) -> Callable[[], None]:
        """The call with its arguments checked and converted once, for loops: each call of it computes y from x.

        Without `workspace` it uses the one made at prepare: no other call of this Conv may run at the same time.
        phase names one of kernel.phases to run alone, for measuring: of the first image, on one thread, on what the
        phases before it have left in the workspace. Raises as a call does, and ValueError for an unknown phase.
        """
        kernel, size = self.kernel, self.workspace_bytes
        if phase is not None and phase not in kernel.phases:
            raise ValueError(unknown("phase", phase, kernel.phases))
        x = checked_image("x", x, Taken(kernel.x_shape, kernel.layout, kernel.dtype.storage))
        y = checked_image("out", y, Taken(kernel.y_shape, kernel.layout, kernel.dtype.storage), written=True)
        workspace = self._own_workspace if workspace is None else checked_workspace(workspace, size)
        spans = {"x": span(x), "out": span(y), "workspace": span(workspace)}
        self._check_apart(spans)
        start = spans["workspace"].start
        keep = keeper(workspace, range(start, start + size), kernel, self._prepare, spans["out"])
        if self.pool:
            self.pool.start()
        pool = self.pool.address if self.pool else None
        function, last = ("run", pool) if phase is None else ("run_phase", kernel.phases.index(phase))
        starts = (spans["x"].start, self._packed_span.start, spans["out"].start, start)
        arguments, run = (*map(ctypes.c_void_p, starts), last), kernel.function(function)

        def call() -> None:
            keep()
            if run(*arguments):
                kernel.call(function, *arguments)

        call.keep_alive = (x, y, workspace, self)  # type: ignore[attr-defined]
        return call

    def _check_apart(self, memories: dict[str, range]) -> None:
        """Raises ValueError where two of the memories of a call overlap, the packed weights among them."""
        named = {"the packed weights": self._packed_span, **memories}
        for (other, there), (name, here) in itertools.combinations(named.items(), 2):
            if here.start < there.stop and there.start < here.stop:
                raise ValueError(f"{name} overlaps {other}; give it memory of its own")

    def _prepare(self, start: ctypes.c_void_p) -> None:
        self.kernel.call("prepare", start)


def _unpickled(kernel: Kernel, content: bytes, threads: int) -> Conv:
    packed = aligned(len(content))
    packed[:] = np.frombuffer(content, np.uint8)
    return kernel.with_packed(packed.view(kernel.dtype.storage), threads)


_CONVS: weakref.WeakSet[Conv] = weakref.WeakSet()


def _after_fork() -> None:
    """In a forked child no other thread uses the workspaces: their locks are new."""
    for conv in list(_CONVS):
        conv._own_workspace_free = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)

"""The entries of a measurement (kernel files, peers) as data, and their runners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tvmconv.measure import peers
from tvmconv.measure.peers.runner import Runner
from tvmconv.runtime.arrays import aligned_array, as_layout
from tvmconv.runtime.kernel import Kernel, load
from tvmconv.verify.reference import Case
from tvmconv.workload.shape import ConvShape


class Entry(Protocol):
    """An entry: plain data that can be sent to another process and started there.

    `tolerance` is the largest error it may have, as a share of the largest expected output; 0 means exact.
    """

    @property
    def tolerance(self) -> float: ...

    def start(self, shape: ConvShape, case: Case, threads: int) -> Runner: ...


@dataclass(frozen=True)
class KernelEntry:
    """A kernel of ours, by its file, or one of its phases alone."""

    path: Path
    tolerance: float = 0.0
    phase: str | None = None

    def start(self, shape: ConvShape, case: Case, threads: int) -> Runner:
        kernel = load(self.path)
        if self.phase is None:
            return _KernelRunner(kernel, case, threads)
        return _PhaseRunner(kernel, case, threads, self.phase)


@dataclass(frozen=True)
class PeerEntry:
    """A library of others, by its name in peers.PEERS."""

    name: str
    tolerance: float = peers.TOLERANCE

    def start(self, shape: ConvShape, case: Case, threads: int) -> Runner:
        return peers.find(self.name).start(shape, case, threads)


class _KernelRunner:
    """A kernel with its weights packed and its workspace prepared; x and y lie in its layout."""

    def __init__(self, kernel: Kernel, case: Case, threads: int) -> None:
        conv = kernel.prepare(case.w, case.bias, clamp=case.clamp, weights="OIHW", threads=threads)
        self.version, self.layout = str(kernel.description["versions"]["tvmconv"]), kernel.layout
        x, self._y = (aligned_array(shape, kernel.dtype.storage) for shape in (kernel.x_shape, kernel.y_shape))
        x[...] = as_layout(case.x, "nhwc", kernel.layout)
        self._x, self._conv, self._workspace = x, conv, conv.new_workspace()
        self._arrays = (x, conv.packed, self._workspace, self._y)
        self.run: Callable[[], None] = conv.bind(x, self._y, self._workspace)

    def poison_output(self) -> None:
        self._y.fill(np.nan)

    def y(self) -> NDArray[np.float32]:
        return as_layout(self._y, self.layout, "nhwc")

    def memory(self) -> list[tuple[int, int]]:
        return [(array.ctypes.data, array.nbytes) for array in self._arrays]


class _PhaseRunner(_KernelRunner):
    """One phase of a kernel: those before it run when the workspace is forgotten, those behind it before y is read."""

    def __init__(self, kernel: Kernel, case: Case, threads: int, phase: str) -> None:
        if kernel.shape.mb != 1 or threads != 1:
            raise ValueError(f"{kernel.shape}: a phase alone is run for one image on one thread; leave out mb")
        super().__init__(kernel, case, threads)
        phases = [self._conv.bind(self._x, self._y, self._workspace, name) for name in kernel.phases]
        place = kernel.phases.index(phase)
        self._before, self.run, self._behind = phases[:place], phases[place], phases[place + 1 :]

    def poison_output(self) -> None:
        super().poison_output()
        self._workspace.fill(0xFF)  # every float in it NaN
        self._conv.new_workspace(self._workspace)
        for phase in self._before:
            phase()

    def y(self) -> NDArray[np.float32]:
        for phase in self._behind:
            phase()
        return super().y()

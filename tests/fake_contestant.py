"""Contestants that take a known time and misbehave on demand. Their processes import this file by its name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvmconv.measure.peers.runner import Unable
from tvmconv.verify.reference import Case
from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class Fake:
    """Keeps its core busy for `seconds` a call, or is `asleep` so long, as if others had the core. The fault happens in
    the call of that number, counted from 1.

    `fault`: crash, hang, raise, unable, wrong (y from then on), silent (y is not written any more). `log` is
    written at the start: the number of the process. `own` is what its profiler claims the convolution takes.
    The version names the CPUs that it may use.
    """

    seconds: float = 0.0005
    fault: str | None = None
    at_call: int = 1
    tolerance: float = 0.0
    log: Path | None = None
    own: float | None = None
    asleep: bool = False

    def start(self, shape: ConvShape, case: Case, threads: int) -> _Runner:
        if self.log:
            self.log.write_text(str(os.getpid()))
        return _Runner(self, case) if self.own is None else _ProfiledRunner(self, case)


class _Runner:
    layout = "nhwc"

    def __init__(self, fake: Fake, case: Case) -> None:
        self.version = f"1.2.3 on CPUs {sorted(os.sched_getaffinity(0))}"
        self._fake, self._case, self._calls = fake, case, 0
        self._y = np.empty_like(case.fused)

    def run(self) -> None:
        end = time.perf_counter() + self._fake.seconds
        while time.perf_counter() < end:
            if self._fake.asleep:
                time.sleep(self._fake.seconds)
        self._calls += 1
        fault = self._fake.fault if self._calls >= self._fake.at_call else None
        if fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif fault == "hang":
            time.sleep(3600)
        elif fault == "raise":
            raise ValueError("the fake was told to fail")
        elif fault == "unable":
            raise Unable("the fake cannot do that")
        elif fault != "silent":
            self._y[...] = self._case.fused + (fault == "wrong")

    def poison_output(self) -> None:
        self._y.fill(np.nan)

    def y(self) -> NDArray[np.float32]:
        return self._y

    def memory(self) -> list[tuple[int, int]]:
        return [(self._y.ctypes.data, self._y.nbytes)]


class _ProfiledRunner(_Runner):
    def own_seconds(self, least: float) -> float:
        assert self._fake.own is not None
        return self._fake.own

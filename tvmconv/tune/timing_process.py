"""The process that times trials; it keeps the layer's data between kernels, and may crash or hang.

A kernel is proved exact first, in memory that catches every stray access, since one that wrote where it should not
would harm those measured after it; and its result is compared again behind the last turn.

Trials are minutes apart, and a core that others share offers three quarters of its speed for seconds or for hours. So
times are those of a core at full speed: each turn counts as much of its time as the core had to offer meanwhile, by the
probe of contestant.Turn. On such a machine the median of four turns varied by 3 % in the place of 10.
"""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvmconv.measure import probe
from tvmconv.measure.contestant import Contestant, Failure, Mismatch, Play
from tvmconv.measure.entries import KernelEntry
from tvmconv.measure.interleaved import Seconds
from tvmconv.support.worker import answer_all
from tvmconv.target.isa import Isa
from tvmconv.verify.check import Check, cached_case, check_kernel
from tvmconv.workload.shape import ConvShape

_SPREAD = 1.1  # slowest to fastest turn, from which on their middle says little
_PROBED = 0.25  # seconds of probes, the best of which is a core's full speed


@dataclass(frozen=True)
class Try:
    """A kernel to be proved and timed: `samples` turns of `min_time` seconds each. best: seconds of a call of the
    fastest kernel so far; one whose turns take `hopeless` times as long gets no other, one that seems to be faster
    still gets twice as many, since the luckiest of many is rarely the best. full_speed: the answer to FullSpeed."""

    kernel: Path
    shape: ConvShape
    threads: int
    cpus: tuple[int, ...]
    isa: Isa
    samples: int
    min_time: float
    best: float
    hopeless: float
    full_speed: float

    def wanted(self, times: Sequence[float]) -> int:
        """Number of turns that are enough, as far as these show."""
        if times and statistics.median(times) > self.best * self.hopeless:
            return len(times)
        if len(times) < self.samples:
            return self.samples
        doubtful = max(times) > min(times) * _SPREAD or statistics.median(times) < self.best
        return self.samples * (2 if doubtful else 1)


@dataclass(frozen=True)
class FullSpeed:
    """The question what these cores can offer: GFLOP/s of the tile probe, the best of a quarter of a second."""

    cpus: tuple[int, ...]
    isa: Isa


def serve(descriptor: int) -> None:
    """This process's whole life: answer each Try with Seconds, each FullSpeed with its number, and either with the
    Failure that kept it from having them."""

    def answer(question: Try | FullSpeed) -> Seconds | float:
        os.sched_setaffinity(0, question.cpus)
        return _timed(question) if isinstance(question, Try) else _full_speed(question)

    answer_all(descriptor, answer, _failure)


def _timed(attempt: Try) -> Seconds:
    _prove(attempt)
    contestant = Contestant(
        KernelEntry(attempt.kernel),
        attempt.shape,
        cached_case(attempt.shape),
        attempt.threads,
        attempt.isa,
        _cores(attempt.cpus),
    )
    times: list[float] = []
    while len(times) < attempt.wanted(times):
        times.append(contestant.play(Play(attempt.min_time)).at_full_speed(attempt.full_speed))
    contestant.check()
    p20, median, p80 = np.percentile(times, (20, 50, 80))
    return Seconds(float(median), float(p20), float(p80), len(times))


def _prove(attempt: Try) -> None:
    """Raises Mismatch where y is wrong; a stray access ends the process."""
    verdict, _ = check_kernel(Check(attempt.kernel, attempt.shape, attempt.threads))
    if not verdict.exact:
        raise Mismatch(verdict.reason)


@functools.cache
def _cores(cpus: tuple[int, ...]) -> probe.Cores:
    return probe.Cores(cpus)


def _full_speed(question: FullSpeed) -> float:
    cores, end, best = _cores(question.cpus), time.monotonic() + _PROBED, 0.0
    while time.monotonic() < end:
        best = max(best, cores.tile_speed(question.isa))
    return best


def _failure(error: Exception) -> Failure:
    if isinstance(error, Mismatch):
        return Failure("mismatch", str(error))
    return Failure("error", f"{type(error).__name__}: {error}")

"""The process that measures trials: it keeps the layer's data from one kernel to the next, and may crash or hang.

A kernel is proved exact first, in memory that catches every stray access, since one that wrote where it should not
would harm those measured after it; and its result is compared again behind the last turn.
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

from tvmconv import probe
from tvmconv.contestant import Contestant, Failure, KernelEntry, Mismatch, Play, Turn
from tvmconv.measure import FULL_SPEED, Seconds
from tvmconv.shape import ConvShape
from tvmconv.target import Isa
from tvmconv.verify import Check, cached_case, check_kernel
from tvmconv.worker import answer_all

_SPREAD = 1.1  # slowest to fastest turn, from which on their middle says little
_MOST = 3  # turns for each that is wanted, where the core is slow
_PAUSE = 0.03  # seconds after a turn in which it was


@dataclass(frozen=True)
class Try:
    """A kernel to be proved and timed: `samples` turns of `min_time` seconds each, turns in which the core was slow
    repeated. best: seconds of a call of the fastest kernel so far; one whose turns take `hopeless` times as long gets
    no other, one that seems to be faster still gets twice as many, since the luckiest of many is rarely the best."""

    kernel: Path
    shape: ConvShape
    threads: int
    cpus: tuple[int, ...]
    isa: Isa
    samples: int
    min_time: float
    best: float
    hopeless: float

    def wanted(self, times: Sequence[float]) -> int:
        """How many turns are enough, as far as these show."""
        if times and statistics.median(times) > self.best * self.hopeless:
            return len(times)
        if len(times) < self.samples:
            return self.samples
        doubtful = max(times) > min(times) * _SPREAD or statistics.median(times) < self.best
        return self.samples * (2 if doubtful else 1)


def serve(descriptor: int) -> None:
    """This process's whole life: answer each Try with Seconds, or with the Failure that kept it from having them."""
    tile_gflops = 0.0  # the best that the probe has seen

    def answer(attempt: Try) -> Seconds:
        nonlocal tile_gflops
        os.sched_setaffinity(0, attempt.cpus)
        _prove(attempt)
        contestant = _contestant(attempt)
        turns: list[Turn] = []
        while _wants_more(turns, attempt, tile_gflops):
            turns.append(contestant.play(Play(attempt.min_time)))
            tile_gflops = max(tile_gflops, turns[-1].tile)
            if turns[-1].offered < FULL_SPEED * tile_gflops:
                time.sleep(_PAUSE)
        contestant.check()
        return _seconds(turns, attempt, tile_gflops)

    answer_all(descriptor, answer, _failure)


def _prove(attempt: Try) -> None:
    """Raises Mismatch where y is wrong; a stray access ends the process."""
    verdict, _ = check_kernel(Check(attempt.kernel, attempt.shape, attempt.threads))
    if not verdict.exact:
        raise Mismatch(verdict.reason)


def _contestant(attempt: Try) -> Contestant:
    entry, cores = KernelEntry(attempt.kernel), _cores(attempt.cpus)
    return Contestant(entry, attempt.shape, cached_case(attempt.shape), attempt.threads, attempt.isa, cores)


def _wants_more(turns: Sequence[Turn], attempt: Try, best: float) -> bool:
    fast = _fast(turns, best)
    wanted = attempt.wanted(fast)
    return not turns or (len(fast) < wanted and len(turns) < wanted * _MOST)


def _fast(turns: Sequence[Turn], best: float) -> list[float]:
    """The times of the turns in which the core offered nearly its best."""
    return [turn.seconds for turn in turns if turn.offered >= FULL_SPEED * best]


def _seconds(turns: Sequence[Turn], attempt: Try, best: float) -> Seconds:
    """Of turns at full speed alone, where there are some; else less what other processes had of the core, as good as
    that can be known: a trial need not be exact to be worth more than none, and the final measures the best again."""
    fast = _fast(turns, best)
    counted = fast if len(fast) >= attempt.samples / 2 else [turn.seconds * turn.share for turn in turns]
    p20, median, p80 = np.percentile(counted, (20, 50, 80))
    return Seconds(float(median), float(p20), float(p80), len(counted))


@functools.cache
def _cores(cpus: tuple[int, ...]) -> probe.Cores:
    return probe.Cores(cpus)


def _failure(error: Exception) -> Failure:
    if isinstance(error, Mismatch):
        return Failure("mismatch", str(error))
    return Failure("error", f"{type(error).__name__}: {error}")

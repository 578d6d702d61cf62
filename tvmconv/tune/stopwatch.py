"""The process that measures trials: it keeps the layer's data from one kernel to the next, and may crash or hang.

A kernel's result is compared before its time counts, and again behind it.
"""

from __future__ import annotations

import functools
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvmconv import probe
from tvmconv.contestant import Contestant, Failure, KernelEntry, Mismatch, Play, Turn
from tvmconv.measure import FULL_SPEED, MOST_REPEATS, Seconds, chosen
from tvmconv.reference import Case, integer_case
from tvmconv.shape import ConvShape
from tvmconv.target import Isa
from tvmconv.worker import answer_all


@dataclass(frozen=True)
class Try:
    """A kernel to be proved and timed: `samples` turns of `min_time` seconds each, turns in which the core was slow
    repeated. One whose first turn takes more than `hopeless` seconds a call gets no other."""

    kernel: Path
    shape: ConvShape
    threads: int
    cpus: tuple[int, ...]
    isa: Isa
    samples: int
    min_time: float
    hopeless: float = float("inf")


def serve(descriptor: int) -> None:
    """This process's whole life: answer each Try with Seconds, or with the Failure that kept it from having them."""
    best_tile_gflops = [0.0]

    def answer(attempt: Try) -> Seconds:
        os.sched_setaffinity(0, attempt.cpus)
        contestant = Contestant(
            KernelEntry(attempt.kernel),
            attempt.shape,
            _case(attempt.shape),
            attempt.threads,
            attempt.isa,
            _cores(attempt.cpus),
        )
        turns: list[Turn] = []
        while _wants_more(turns, attempt, best_tile_gflops[0]):
            turns.append(contestant.play(Play(attempt.min_time)))
            best_tile_gflops[0] = max(best_tile_gflops[0], turns[-1].tile)
        contestant.check()
        return _seconds(turns, attempt.samples, best_tile_gflops[0])

    answer_all(descriptor, answer, _failure)


def _wants_more(turns: list[Turn], attempt: Try, best: float) -> bool:
    choice = chosen(turns, attempt.samples, best)
    if choice.fast and statistics.median(turn.seconds for turn in choice.fast) > attempt.hopeless:
        return False
    return len(choice.fast) < attempt.samples and len(turns) < attempt.samples * (1 + MOST_REPEATS)


def _seconds(turns: list[Turn], samples: int, best: float) -> Seconds:
    choice = chosen(turns, samples, best)
    counted = [turn.seconds for turn in (choice.fast or choice.slow)]
    p20, median, p80 = np.percentile(counted, (20, 50, 80))
    return Seconds(float(median), float(p20), float(p80), len(counted))


@functools.lru_cache(maxsize=1)
def _case(shape: ConvShape) -> Case:
    return integer_case(shape)


@functools.cache
def _cores(cpus: tuple[int, ...]) -> probe.Cores:
    return probe.Cores(cpus)


def _failure(error: Exception) -> Failure:
    if isinstance(error, Mismatch):
        return Failure("mismatch", str(error))
    return Failure("error", f"{type(error).__name__}: {error}")

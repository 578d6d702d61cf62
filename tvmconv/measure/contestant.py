"""The process of one contestant: set up once, then timed in turns, asleep in between."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tvmconv.measure import probe
from tvmconv.measure.comparable import FULL_SPEED
from tvmconv.measure.entries import Entry
from tvmconv.measure.peers.runner import Profiled, Unable
from tvmconv.support.worker import answer_all
from tvmconv.target.isa import Isa
from tvmconv.verify.reference import Case, integer_case
from tvmconv.workload.shape import ConvShape

# The problem whose time is nearly all overhead.
SMALLEST = ConvShape.parse("ic1ih1oc1kh1")
_OVERHEAD_TURNS, _OVERHEAD_SECONDS = 5, 0.001
_LEAST_SHARE = 0.01  # of its cores that a process is taken to have had, whatever the clocks say


@dataclass(frozen=True)
class Setup:
    """The first message. `cpus` are the only ones that the process may use, `isa` is what the probe measures.

    `smallest` is the same contestant for the problem SMALLEST, if its overhead is to be known.
    """

    entry: Entry
    shape: ConvShape
    case: Case
    threads: int
    cpus: tuple[int, ...]
    isa: Isa
    smallest: Entry | None = None


@dataclass(frozen=True)
class Ready:
    """The answer to Setup: the contestant has computed y once, and right. `overhead`: seconds of a call on SMALLEST;
    `sensors`: clocks and temperatures of a device that tells them."""

    version: str
    layout: str
    overhead: float | None = None
    sensors: Any = None


@dataclass(frozen=True)
class Play:
    """The message that gives a contestant its turn: calls for `seconds`, back to back, or each with cold caches."""

    seconds: float
    cold: bool = False


@dataclass(frozen=True)
class Turn:
    """The answer to Play: seconds of a call on average, and what the core offered meanwhile.

    Where a library's profiler says that the convolution alone took less, `whole_call` is what a call took; `seconds` is
    what the profiler says, or the whole call as well if others had the core meanwhile. `peak` and `tile` are the probes
    of that name on all CPUs at once, GFLOP/s, the latter the slower of those before and after. `share` is the part of
    the time in which the process had its cores: 1, unless others were given them; `profile_share` is the same for the
    calls that the profiler saw.
    """

    seconds: float
    peak: float
    tile: float
    share: float = 1.0
    whole_call: float | None = None
    profile_share: float = 1.0

    @property
    def offered(self) -> float:
        """GFLOP/s that the cores had for this process, by the tile probe."""
        return self.tile * min(self.share, self.profile_share)

    def at_full_speed(self, best: float) -> float:
        """Seconds of a call on cores that offer `best`, if the kernel is as fast or as slow as the probe is."""
        return self.seconds * self.offered / best


@dataclass(frozen=True)
class Check:
    """The message that asks whether y is still right."""


@dataclass(frozen=True)
class Right:
    """The answer to Check: y is within the tolerance; `max_error` is its largest difference from what is expected.
    `sensors` as in Ready."""

    max_error: float
    sensors: Any = None


@dataclass(frozen=True)
class Failure:
    """The answer to any message that could not be answered otherwise: a wrong y, or an error, in a sentence."""

    status: Literal["rejected", "mismatch", "error"]
    reason: str


class Mismatch(Exception):
    """y is wrong; the text says how."""


class Contestant:
    """A runner with the result that is expected of it."""

    def __init__(self, entry: Entry, shape: ConvShape, case: Case, threads: int, isa: Isa, cores: probe.Cores) -> None:
        self._isa, self._cores = isa, cores
        self._threads: int = getattr(entry, "threads", threads)  # some run on fewer than the others do
        self._expected, self._tolerance = case.fused, entry.tolerance
        self._runner = entry.start(shape, case, threads)
        self._runner.poison_output()
        self._call = probe.seconds_of(self._runner.run)  # of one call, as far as is known: the first one is slow
        self.check()
        self.version, self.layout = self._runner.version, self._runner.layout

    def overhead(self) -> float:
        """Seconds of a call of this contestant, which is one for SMALLEST: the best, as nothing else is to be seen."""
        times = [measure(_OVERHEAD_SECONDS) for measure in (self._warm_call, self._own_seconds) * _OVERHEAD_TURNS]
        return min(times)

    def play(self, turn: Play) -> Turn:
        """Everything that others left in the caches is gone after one call, which is not timed."""
        self._runner.poison_output()
        peak, before = self._cores.fma_peak(self._isa), self._cores.tile_speed(self._isa)
        self._runner.run()
        self._call, share = self._watched(self._cold_call if turn.cold else self._warm_call, turn.seconds)
        own, profile_share = (math.inf, 1.0) if turn.cold else self._watched(self._own_seconds, turn.seconds)
        after = self._cores.tile_speed(self._isa)
        # The profiler sees the convolution alone: where others had the core, they may have had it between two of these,
        # so that its time is no measure beside that of whole calls, ours or others'.
        is_less, is_believed = own < self._call, min(share, profile_share) >= FULL_SPEED
        seconds = own if is_less and is_believed else self._call
        return Turn(seconds, peak, min(before, after), share, self._call if is_less else None, profile_share)

    def _watched(self, measure: Callable[[float], float], least: float) -> tuple[float, float]:
        """Times of measuring for `least` seconds or more, and the share of them in which the process had its cores."""
        began, had = time.perf_counter(), core_time(self._threads)
        measured = measure(least)
        missed = (time.perf_counter() - began) - (core_time(self._threads) - had)
        elapsed = max(least, time.perf_counter() - began)
        return measured, min(1.0, max(_LEAST_SHARE, 1 - missed / elapsed))

    def check(self) -> float:
        """The largest error of y. Raises Mismatch if it is larger than allowed, or NaN."""
        error = float(np.max(np.abs(self._runner.y() - self._expected)))
        allowed = self._tolerance * float(np.max(np.abs(self._expected)))
        if not error <= allowed:
            raise Mismatch(f"y is wrong: its largest error is {error:g}, and {allowed:g} is allowed")
        return error

    def _own_seconds(self, least: float) -> float:
        """The library's own time of the convolution; infinite if it reports none."""
        return self._runner.own_seconds(least) if isinstance(self._runner, Profiled) else math.inf

    def _warm_call(self, least: float) -> float:
        calls, elapsed, run = 0, 0.0, self._runner.run
        while elapsed < least:
            more = max(1, math.ceil((least - elapsed) / self._call))
            start = time.perf_counter()
            for _ in range(more):
                run()
            elapsed += time.perf_counter() - start
            calls += more
            self._call = elapsed / calls
        return elapsed / calls

    def _cold_call(self, least: float) -> float:
        times: list[float] = []
        end = time.perf_counter() + least
        while not times or time.perf_counter() < end:
            for address, size in self._runner.memory():
                probe.evict(self._isa, address, size)
            times.append(probe.seconds_of(self._runner.run))
        return sum(times) / len(times)


def core_time(threads: int) -> float:
    """A clock that runs while this process has the cores it wants, in seconds.

    On one thread that is the time it has computed. Several may sleep, so there it is all time but that in which a
    thread, on average, was ready to run and another process ran in its place (the kernel's
    Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat); where the kernel does not count that, all time.
    """
    if threads == 1:
        return time.process_time()
    waited = 0.0
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended, or a kernel that does not count
            waited += int((thread / "schedstat").read_text().split()[1]) / 1e9
    return time.perf_counter() - waited / threads


def serve(descriptor: int) -> None:
    """This process's whole life: Setup, then any number of Play and Check."""
    contestants: list[Contestant] = []

    def answer(message: Setup | Play | Check) -> Ready | Turn | Right:
        match message:
            case Setup():
                ready, contestant = _set_up(message)
                contestants.append(contestant)
                return ready
            case Play():
                return contestants[-1].play(message)
            case Check():
                return Right(contestants[-1].check())

    answer_all(descriptor, answer, _failure)


def _set_up(setup: Setup) -> tuple[Ready, Contestant]:
    os.sched_setaffinity(0, setup.cpus)  # before any library is loaded, and its threads with it
    overhead, common = None, (setup.threads, setup.isa, probe.Cores(setup.cpus))
    if setup.smallest:
        overhead = Contestant(setup.smallest, SMALLEST, integer_case(SMALLEST), *common).overhead()
    contestant = Contestant(setup.entry, setup.shape, setup.case, *common)
    return Ready(contestant.version, contestant.layout, overhead), contestant


def _failure(error: Exception) -> Failure:
    if isinstance(error, Unable):
        return Failure("rejected", str(error))
    if isinstance(error, Mismatch):
        return Failure("mismatch", str(error))
    expected = isinstance(error, (ValueError, TypeError))  # whose text is a sentence for people
    return Failure("error", str(error) if expected else f"{type(error).__name__}: {error}")

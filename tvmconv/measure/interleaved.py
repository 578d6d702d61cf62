"""Interleaved measurement: one process a contestant, rounds in random order.

Rented machines drop to half speed for seconds, and other processes want the same core. So each turn has short probes
before and behind it, and says how much of the time it had the core. Turns in which the core offered well under the best
seen are repeated, up to a limit.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from tvmconv.measure.comparable import FULL_SPEED
from tvmconv.measure.contestant import Check, Failure, Play, Ready, Right, Setup, Turn
from tvmconv.measure.entries import Entry
from tvmconv.support.worker import Worker, WorkerLost, patience
from tvmconv.target.isa import Isa
from tvmconv.verify.reference import Case
from tvmconv.workload.shape import ConvShape

# A turn counts if the core offered it FULL_SPEED. For each sample wanted, so many turns may be played again; what was
# measured is then accepted as it is, and the result says so.
MOST_REPEATS = 3
_PAUSE = 0.1  # seconds after a round in which nobody ran at full speed

_Answer = TypeVar("_Answer")


class Process(Protocol):
    """A contestant, wherever it is: it answers the messages of tvmconv.measure.contestant. Raises WorkerLost."""

    def ask(self, message: Any, patience: float) -> Any: ...

    def kill(self) -> None: ...


@dataclass(frozen=True)
class Rules:
    """The duration of a measurement: `samples` turns of each contestant, each of at least `min_time` seconds of calls.

    After `max_time` seconds no other round begins. `cold`: caches are emptied before each call. `patience`: seconds
    that a contestant may be silent before it counts as hanging, on top of those that its layer's size is worth.
    `own_time`: the time in which others had the core is left out.
    """

    samples: int = 11
    min_time: float = 0.02
    max_time: float = 30.0
    cold: bool = False
    patience: float = 60.0
    own_time: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Seconds:
    """The time of one call, over n turns: median, 20th and 80th percentile, in seconds."""

    median: float
    p20: float
    p80: float
    n: int


@dataclass(frozen=True)
class Measurement:
    """The result of one contestant. `seconds` is None unless the status is ok.

    `repeated` turns were thrown away since the machine was slow in them; `slow` were as bad, but had to be accepted:
    then `reason` says so. `offered`: the share of the best speed that the cores offered in the median turn; None where
    no probe tells. `max_error` is that of y after the last turn. `overhead`: seconds of a call on the smallest problem.
    `whole_call`: seconds of a call, median, where `seconds` is the convolution within it alone, or would be, had any
    round been fit for the library's profiler. `sensors`:
    a device's clocks and temperatures, "before" the first turn and "after" the last.
    """

    status: Literal["ok", "rejected", "mismatch", "error"]
    reason: str | None = None
    seconds: Seconds | None = None
    repeated: int = 0
    slow: int = 0
    offered: float | None = None
    version: str | None = None
    layout: str | None = None
    max_error: float | None = None
    overhead: float | None = None
    whole_call: float | None = None
    sensors: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Best:
    """The best that the probes have seen of the cores used: fma_peak and tile_speed of probe.Cores, in GFLOP/s."""

    peak_gflops: float = 0.0
    tile_gflops: float = 0.0

    def after(self, turns: Sequence[Turn]) -> Best:
        """The best of this and of the turns' probes."""
        return Best(
            max([self.peak_gflops, *(turn.peak for turn in turns)]),
            max([self.tile_gflops, *(turn.tile for turn in turns)]),
        )


@dataclass(frozen=True)
class Outcome:
    """One measurement for each entry, in order, and the best that the probes have seen so far."""

    measurements: tuple[Measurement, ...]
    best: Best


_NOTHING_SEEN = Best()


def _here() -> Worker:
    return Worker("tvmconv.measure.contestant")


@dataclass(frozen=True)
class Conditions:
    """How to measure. isa: of the probes; cpus, threads: of each contestant; start: gives a contestant its process,
    here or on a device."""

    isa: Isa
    cpus: Sequence[int]
    threads: int = 1
    rules: Rules = field(default_factory=Rules)
    start: Callable[[], Process] = _here


def measure(
    entries: Sequence[Entry],
    shape: ConvShape,
    case: Case,
    conditions: Conditions,
    *,
    best: Best = _NOTHING_SEEN,
    smallest: Sequence[Entry | None] = (),
    progress: Callable[[int, int], None] = lambda done, wanted: None,
) -> Outcome:
    """Time all entries on one layer: x to y = case.fused, bias and clamp included.

    `best` is what the probes have seen in earlier layers. `smallest` gives each entry's counterpart for
    contestant.SMALLEST, None where there is none; left out, no overheads are measured. `progress` is called with the
    turns that count so far (fewer again, if the core has turned out to be faster) and the number wanted. A contestant
    that fails, crashes or hangs has that as its result; the others go on. No process is left behind.
    """
    isa, cpus, threads, rules = conditions.isa, tuple(conditions.cpus), conditions.threads, conditions.rules
    contestants = [_Contestant(rules, shape, conditions.start()) for _ in entries]
    try:
        for contestant, entry, small in zip(contestants, entries, smallest or [None] * len(entries), strict=True):
            contestant.set_up(Setup(entry, shape, case, threads, cpus, isa, small))
        best = _play(contestants, rules, best, progress)
        for contestant in contestants:
            contestant.check()
        return Outcome(tuple(contestant.result(best) for contestant in contestants), best)
    finally:
        for contestant in contestants:
            contestant.kill()


def _play(contestants: Sequence[_Contestant], rules: Rules, best: Best, progress: Callable[[int, int], None]) -> Best:
    """Rounds in random order until all have enough turns, or the time is over."""
    order, end = random.Random(rules.seed), time.monotonic() + rules.max_time
    while playing := [contestant for contestant in contestants if contestant.wants_turn(best)]:
        order.shuffle(playing)
        for contestant in playing:
            contestant.play()
        alive = [contestant for contestant in contestants if not contestant.failure]
        best = best.after([turn for contestant in alive for turn in contestant.turns])
        progress(sum(contestant.full_speed(best) for contestant in alive), rules.samples * len(alive))
        if time.monotonic() > end:
            break
        if all(contestant.was_slow(best) for contestant in playing):
            time.sleep(_PAUSE)
    return best


@dataclass
class _Contestant:
    """A contestant's process, seen from here, and what it has done."""

    rules: Rules
    shape: ConvShape
    process: Process
    turns: list[Turn] = field(default_factory=list)
    failure: Failure | None = None
    ready: Ready | None = None
    right: Right | None = None

    def set_up(self, setup: Setup) -> None:
        self.ready = self._ask(setup, Ready)

    def play(self) -> None:
        if turn := self._ask(Play(self.rules.min_time, self.rules.cold), Turn):
            self.turns.append(turn)

    def check(self) -> None:
        if not self.failure:
            self.right = self._ask(Check(), Right)

    def kill(self) -> None:
        self.process.kill()

    def full_speed(self, best: Best) -> int:
        """Number of turns at full speed, which count."""
        return len(chosen(self.turns, self.rules.samples, best.tile_gflops).fast)

    def was_slow(self, best: Best) -> bool:
        """Whether the last turn does not count."""
        return bool(self.turns) and self.turns[-1].offered < FULL_SPEED * best.tile_gflops

    def wants_turn(self, best: Best) -> bool:
        most = self.rules.samples * (1 + MOST_REPEATS)
        return not self.failure and self.full_speed(best) < self.rules.samples and len(self.turns) < most

    def result(self, best: Best) -> Measurement:
        version, layout = (self.ready.version, self.ready.layout) if self.ready else (None, None)
        if self.failure:
            return Measurement(self.failure.status, self.failure.reason, version=version, layout=layout)
        choice = chosen(self.turns, self.rules.samples, best.tile_gflops)
        counted = [*choice.fast, *choice.slow]
        whole_calls = [turn.whole_call or turn.seconds for turn in counted]
        part = _part(self.turns)
        p20, median, p80 = np.percentile([self._counted(turn, part) for turn in counted], (20, 50, 80))
        slow = len(choice.slow)
        return Measurement(
            status="ok",
            reason=f"in {slow} of {len(counted)} rounds the core had less than {FULL_SPEED:.0%} to offer"
            if slow
            else None,
            seconds=Seconds(float(median), float(p20), float(p80), len(counted)),
            repeated=len(self.turns) - len(counted),
            slow=slow,
            offered=_offered(counted, best.tile_gflops),
            version=version,
            layout=layout,
            max_error=self.right.max_error if self.right else None,
            overhead=self.ready.overhead if self.ready else None,
            whole_call=float(np.median(whole_calls)) if any(turn.whole_call for turn in counted) else None,
            sensors=self._sensors(),
        )

    def _counted(self, turn: Turn, part: float) -> float:
        """Seconds of a call; so large a part of it where a profiler was not believed."""
        seconds = turn.seconds * part if turn.seconds == turn.whole_call else turn.seconds
        return seconds * turn.share if self.rules.own_time else seconds

    def _sensors(self) -> Mapping[str, Any] | None:
        if not (self.ready and self.right and (self.ready.sensors or self.right.sensors)):
            return None
        return {"before": self.ready.sensors, "after": self.right.sensors}

    def _ask(self, message: Setup | Play | Check, kind: type[_Answer]) -> _Answer | None:
        """The answer of the kind that is expected, or None, and the failure noted."""
        try:
            answer = self.process.ask(message, patience(self.rules.patience, self.shape.flops))
        except WorkerLost as lost:
            answer = Failure("error", f"its process {lost}")
        if isinstance(answer, kind):
            return answer
        assert isinstance(answer, Failure)
        self.failure = answer
        return None


def _part(turns: Sequence[Turn]) -> float:
    """The convolution's share of a call, from the turns in which a profiler was believed; from all if there are
    none."""
    believed = [turn.seconds / turn.whole_call for turn in turns if turn.whole_call and turn.seconds < turn.whole_call]
    return float(np.median(believed)) if believed else 1.0


def _offered(turns: Sequence[Turn], best: float) -> float | None:
    """The share of `best` that the cores offered in the median turn; None where there is no probe."""
    return min(1.0, float(np.median([turn.offered for turn in turns])) / best) if best else None


@dataclass(frozen=True)
class Choice:
    """The turns that count: at full speed, and, where there are not enough of them, the best of the others."""

    fast: tuple[Turn, ...]
    slow: tuple[Turn, ...]


def chosen(turns: Sequence[Turn], samples: int, best: float) -> Choice:
    """The first `samples` turns that were offered nearly the best, filled up with those that came nearest to it."""
    fast = [turn for turn in turns if turn.offered >= FULL_SPEED * best][:samples]
    others = [turn for turn in turns if turn.offered < FULL_SPEED * best]
    slow = sorted(others, key=lambda turn: turn.offered, reverse=True)[: samples - len(fast)]
    return Choice(tuple(fast), tuple(slow))

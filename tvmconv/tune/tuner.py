"""Tuning one layer: a budget of trials, dealt out among its algorithms, and a final of the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tvmconv.builder import Request
from tvmconv.log import Log
from tvmconv.log.best import handicapped
from tvmconv.tile import Tile
from tvmconv.tune.lab import Lab, Outcome
from tvmconv.tune.run import Plan, Run
from tvmconv.tune.search import BATCH

_FINALISTS = 5
_CONTENDERS = 3


@dataclass(frozen=True)
class State:
    """Where tuning a layer stands: trials made, measured now (the others were known), failed; the best kernel and its
    seconds, those of the kernel by hand, both infinite as long as there are none. trouble: what went wrong in the trial
    just made."""

    done: int
    measured: int
    failed: int
    best: Request
    seconds: float
    default_seconds: float
    trouble: str | None = None

    @property
    def gain(self) -> float:
        """How many times as fast as the one by hand the best kernel is."""
        return self.default_seconds / self.seconds if self.seconds < math.inf else 1.0


@dataclass(frozen=True)
class Winner:
    """The outcome: the kernel to use, and its time beside that of the kernel by hand, both from the final."""

    request: Request
    outcome: Outcome
    default: Outcome
    state: State


def tune(plans: Sequence[Plan], trials: int, lab: Lab, log: Log, progress: Callable[[State], None]) -> Winner:
    """Searches, measures and decides; `progress` hears of each trial, and first of those that the log has.

    plans: one for each algorithm that may compute the layer; the first is what is taken by hand. trials: how many all
    of them have together, those that the log has included. Raises OSError where the log cannot be written, or there is
    no room for kernels.
    """
    records = log.records()
    race = _Race([Run(plan, lab, log, records) for plan in plans[:trials]], trials, lab)
    for state in race.trials():
        progress(state)
    return race.final()


class _Race:
    def __init__(self, runs: Sequence[Run], trials: int, lab: Lab) -> None:
        self._runs, self._trials, self._lab = runs, trials, lab
        self._by_hand = runs[0]

    def trials(self) -> Iterator[State]:
        """One each time that a trial has been made, and one before."""
        yield self._state()
        for run, budget in self._deal():
            for trouble in run.trials(budget):
                yield self._state(trouble)

    def _deal(self) -> Iterator[tuple[Run, int]]:
        """How many trials each algorithm has, all told: one to begin with; a first share for the fastest and the one by
        hand; what is left for the fastest of these. Successive halving (Jamieson and Talwalkar, AISTATS 2016, section
        3) in two steps, since tiles seldom change the order of algorithms that are far apart."""
        if len(self._runs) == 1:
            yield self._by_hand, self._trials
            return
        yield from ((run, 1) for run in self._runs)
        contenders = list(dict.fromkeys([*self._by_speed(self._runs)[:_CONTENDERS], self._by_hand]))
        others = len(self._runs) - len(contenders)
        share = min(BATCH, 1 + (self._trials - len(self._runs)) // (2 * len(contenders)))
        yield from ((run, share) for run in contenders)
        yield self._by_speed(contenders)[0], self._trials - others - share * (len(contenders) - 1)

    def final(self) -> Winner:
        """The fastest algorithm's best tiles side by side with its default, and with the kernel by hand."""
        finalists = self._finalists()
        outcomes = self._last_final(finalists)
        if outcomes is None:
            requests = [_request(run, tile) for run, tile in finalists]
            outcomes = dict(zip(finalists, self._lab.finals(requests), strict=True))
            for (run, tile), outcome in outcomes.items():
                run.write_final(tile, outcome)
        best = min(finalists, key=lambda pair: handicapped(outcomes[pair].median, pair[1] == pair[0].default))
        by_hand = outcomes[self._by_hand, self._by_hand.default]
        return Winner(_request(*best), outcomes[best], by_hand, self._state())

    def _finalists(self) -> list[tuple[Run, Tile]]:
        """For each run that has some its default and its fastest: one of the algorithm by hand, if that is slower."""
        fastest = self._by_speed(self._runs)[0]
        counts = {self._by_hand: 1} | {fastest: _FINALISTS}
        return [
            (run, tile) for run, count in counts.items() for tile in dict.fromkeys([run.default, *run.fastest(count)])
        ]

    def _last_final(self, finalists: Sequence[tuple[Run, Tile]]) -> dict[tuple[Run, Tile], Outcome] | None:
        """What an earlier final of the same found, if nothing has been measured since."""
        found: dict[tuple[Run, Tile], Outcome] = {}
        for run in dict.fromkeys(run for run, _ in finalists):
            tiles = [tile for other, tile in finalists if other is run]
            outcomes = run.last_final(tiles)
            if outcomes is None or any(other.measured for other in self._runs):
                return None
            found |= {(run, tile): outcome for tile, outcome in zip(tiles, outcomes, strict=True)}
        return found

    def _by_speed(self, runs: Sequence[Run]) -> list[Run]:
        return sorted(runs, key=_seconds)

    def _state(self, trouble: str | None = None) -> State:
        best = self._by_speed(self._runs)[0]
        return State(
            done=sum(run.done for run in self._runs),
            measured=sum(run.measured for run in self._runs),
            failed=sum(run.failed for run in self._runs),
            best=_request(best, next(iter(best.fastest(1)), best.default)),
            seconds=_seconds(best),
            default_seconds=self._by_hand.seconds(self._by_hand.default),
            trouble=trouble,
        )


def _seconds(run: Run) -> float:
    """Of its fastest tile."""
    return min(map(run.seconds, run.fastest(1)), default=math.inf)


def _request(run: Run, tile: Tile) -> Request:
    return replace(run.plan.request, tile=tile)

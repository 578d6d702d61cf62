"""Tunes one layer: distributes a budget of trials among algorithms, then measures a final of the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import groupby

from tvmconv.compiler.builder import Request
from tvmconv.database.log import Key, Log, Record
from tvmconv.database.log.best import Times, fastest
from tvmconv.database.log.format.record import now
from tvmconv.target.tile import Tile
from tvmconv.tune.outcome import Outcome
from tvmconv.tune.run import Plan, Run, made_here, remembered
from tvmconv.tune.runner import TrialRunner, try_all
from tvmconv.tune.search import BATCH

_FINALISTS = 5
_CONTENDERS = 3
_NEAR = 1.4  # times the fastest algorithm's best trial: a slower default has seldom a tile that wins a final

Finalist = tuple[Run, Tile]


@dataclass(frozen=True)
class State:
    """Where tuning a layer stands: trials of the budget that are made, measured now (the others were known), failed;
    the best kernel and its seconds, those of the default kernel, both infinite as long as there are none. failure: why
    the latest trial failed, or None."""

    done: int
    measured: int
    failed: int
    best: Request
    seconds: float
    default_seconds: float
    failure: str | None = None

    @property
    def gain(self) -> float | None:
        """The speed of the best kernel over the default's; None as long as one of them has no time."""
        known = max(self.seconds, self.default_seconds) < math.inf
        return self.default_seconds / self.seconds if known else None


@dataclass(frozen=True)
class Winner:
    """The outcome: the kernel to use, whether by the schedule by hand, and its time beside that of the kernel that is
    taken by hand, both from the final."""

    request: Request
    by_hand: bool
    outcome: Outcome
    default: Outcome
    state: State


def tune(
    plans: Sequence[Plan], trials: int, runner: TrialRunner, log: Log, progress: Callable[[State], None]
) -> Winner:
    """Searches, measures and decides; `progress` is called with each trial, and first of those that the log has.

    plans: one for each algorithm that may compute the layer, the first of what is taken by hand; those behind the first
    `trials` have no turn. trials: how many all of them have together, those that the log has included, but for what it
    has of an algorithm beyond its share. Raises OSError where the log cannot be written, or there is no room for
    kernels.
    """
    records, key = log.records(), Key.of(plans[0].request, plans[0].threads)
    own = [record for record in records if made_here(record, key, runner) and record.key.threads == key.threads]
    own.sort(key=lambda record: record.key.workload == key.workload)  # this layer's last, as they count most
    runner.go_on([record.protocol for record in own])
    race = _Race([Run(plan, runner, log, records) for plan in plans[:trials]], trials, runner, log, records)
    for state in race.trials():
        progress(state)
    return race.final()


class _Race:
    def __init__(
        self, runs: Sequence[Run], trials: int, runner: TrialRunner, log: Log, records: Sequence[Record]
    ) -> None:
        self._runs, self._trials, self._runner, self._log, self._records = runs, trials, runner, log, records
        self._by_hand = runs[0]
        self._shares: dict[Run, int] = {}

    def trials(self) -> Iterator[State]:
        """One each time that a trial has been made, and one before."""
        yield self._state()
        for shares in self._deal():
            self._shares |= shares
            while batch := [(run, tile) for run, share in shares.items() for tile in run.proposed(share)]:
                yield from self._made(batch)

    def _deal(self) -> Iterator[dict[Run, int]]:
        """Number of trials of each algorithm, in all: one to begin with; a first share for the fastest and the default;
        what is left for the fastest of these, and for the next where there are no other tiles. Successive halving
        (Jamieson and Talwalkar, AISTATS 2016, section 3) in two steps, since tiles seldom change the order of
        algorithms that are far apart. Each step looks at the trials of the one before alone, so that a run which goes
        on from its log deals as it did. What stands together may be tried together."""
        if len(self._runs) == 1:
            yield {self._by_hand: self._trials}
            return
        yield dict.fromkeys(self._runs, 1)
        ranked = sorted(self._runs, key=lambda run: run.best(1))
        contenders = list(dict.fromkeys([*ranked[:_CONTENDERS], self._by_hand]))
        share = min(BATCH, 1 + (self._trials - len(self._runs)) // (2 * len(contenders)))
        yield from ({run: share} for run in contenders)
        contenders.sort(key=lambda run: run.best(share))
        for run in dict.fromkeys([*contenders, *ranked]):
            if left := self._trials - self._dealt:
                yield {run: self._shares[run] + left}

    def _made(self, batch: Sequence[tuple[Run, Tile]]) -> Iterator[State]:
        """Each trial is in the log as soon as the runner tells of it."""
        requests = [run.request(tile) for run, tile in batch]
        best = {run.key.algorithm: run.best() for run, _ in batch}
        with closing(try_all(self._runner, requests, best)) as outcomes:
            for number, outcome in outcomes:
                run, tile = batch[number]
                run.add(tile, outcome)
                yield self._state(f"{run.key.algorithm}, tile {tile}: {outcome.reason}" if outcome.reason else None)

    @property
    def _dealt(self) -> int:
        """Trials that count: what a log has of an algorithm beyond its share is a present."""
        return sum(min(run.done, share) for run, share in self._shares.items())

    def final(self) -> Winner:
        """The fastest algorithm's best tiles side by side with its default and with the kernel by hand, which keeps its
        place unless another is clearly faster."""
        finalists = self._finalists()
        outcomes = self._last_final(finalists)
        if outcomes is None:
            requests = [run.request(tile) for run, tile in finalists]
            outcomes = dict(zip(finalists, self._runner.finals(requests), strict=True))
            time = now()
            self._log.append(*(run.final(tile, outcome, time) for (run, tile), outcome in outcomes.items()))

        def times(finalist: Finalist) -> Times:
            seconds = outcomes[finalist].seconds
            return asdict(seconds) if seconds else None

        by_run = [list(own) for _, own in groupby(finalists, key=lambda finalist: finalist[0])]
        best_of_each = [fastest(own, times, lambda one: one[1] == one[0].default) for own in by_run]
        best = fastest(best_of_each, times, lambda one: one[0] is self._by_hand)
        by_hand = outcomes[self._by_hand, self._by_hand.default]
        return Winner(best[0].request(best[1]), best[1] == best[0].default, outcomes[best], by_hand, self._state())

    def _finalists(self) -> list[Finalist]:
        """The default and the fastest tiles of the default algorithm and of the fastest algorithm; a single one for a
        default algorithm that is slower. Of these and of all that are near what won the last final in the logs: one
        that went without it would take its place."""
        leader = min(self._runs, key=Run.best)
        counts = {self._by_hand: 1} | {leader: _FINALISTS}
        near = [run for run in self._runs if run.best() <= leader.best() * _NEAR]

        def tiles(run: Run) -> list[Tile]:
            tried = [run.default, *run.fastest(counts[run])] if run in counts else []
            return list(dict.fromkeys([*tried, *run.incumbents()]))

        return [(run, tile) for run in dict.fromkeys([*counts, *near]) for tile in tiles(run)]

    def _last_final(self, finalists: Sequence[Finalist]) -> dict[Finalist, Outcome] | None:
        """The results of the log's last final of the layer, if it had all these finalists and nothing was measured
        since."""
        if any(run.measured or not run.plan.resume for run in self._runs):
            return None
        runs = {run.key: run for run in self._runs}
        own = [record for record in self._records if self._is_of_this_layer(record)]
        if not own or own[-1].stage != "final":
            return None
        last = [record for record in own if record.time == own[-1].time]
        found = {(runs[one.key], Tile.parse(one.tile)): remembered(one) for one in last if one.key in runs}
        usable = all(one in found for one in finalists) and any(found[one].seconds for one in finalists)
        return found if usable and found[self._by_hand, self._by_hand.default].status != "error" else None

    def _is_of_this_layer(self, record: Record) -> bool:
        own, other = self._by_hand.key, record.key
        same = (own.workload, own.threads) == (other.workload, other.threads)
        return same and self._by_hand.comparable(record)

    def _state(self, failure: str | None = None) -> State:
        best = min(self._runs, key=Run.best)
        return State(
            done=self._dealt if self._shares else min(self._trials, sum(run.done for run in self._runs)),
            measured=sum(run.measured for run in self._runs),
            failed=sum(run.failed for run in self._runs),
            best=best.request(next(iter(best.fastest(1)), best.default)),
            seconds=best.best(),
            default_seconds=self._by_hand.seconds(self._by_hand.default),
            failure=failure,
        )

"""Tuning one problem: a budget of trials, each written down as soon as it is made, and a final of the best.

A run goes on from its log: the trials made with the same seed are told to the search again, in their order, so that
what was interrupted ends as it would have, and a larger budget continues it. What the log knows of other problems
teaches the model, and what other seeds have found of this one takes part in the final and is not measured again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

from tvmconv.builder import Request
from tvmconv.log import Key, Log, Record, Versions
from tvmconv.log.best import GAIN
from tvmconv.log.record import Stage
from tvmconv.measure import Seconds
from tvmconv.shape import ConvShape
from tvmconv.tile import Tile
from tvmconv.tune.lab import Lab, Outcome
from tvmconv.tune.model import Model
from tvmconv.tune.search import BATCH, Search
from tvmconv.tune.space import Space

_FINALISTS = 5


@dataclass(frozen=True)
class Plan:
    """What is to be done for one problem: the checked request (by hand), the threads, the trials with this seed and
    model, those that the log has included; the model, which knows nothing yet. Without `resume` what the log has of
    this problem does not count."""

    request: Request
    threads: int
    trials: int
    seed: int
    model: Model
    resume: bool = True


@dataclass(frozen=True)
class State:
    """Where a run stands: trials made, measured now (the others were known), failed; the best tile and its seconds,
    those of the default, both infinite as long as there are none. trouble: what went wrong in the trial just made."""

    done: int
    measured: int
    failed: int
    best: Tile
    seconds: float
    default_seconds: float
    trouble: str | None = None

    @property
    def gain(self) -> float:
        """How many times as fast as the default the best tile is."""
        return self.default_seconds / self.seconds if self.seconds < math.inf else 1.0


@dataclass(frozen=True)
class Winner:
    """The outcome of a run: the tile to use, and its time beside the default's, both from the final."""

    tile: Tile
    outcome: Outcome
    default: Outcome
    state: State


def tune(plan: Plan, lab: Lab, log: Log, progress: Callable[[State], None]) -> Winner:
    """Searches, measures and decides; `progress` hears of each trial, and first of those that the log has.

    Raises OSError where the log cannot be written, or there is no room for kernels.
    """
    run = _Run(plan, lab, log)
    for state in run.trials():
        progress(state)
    return run.final()


class _Run:
    def __init__(self, plan: Plan, lab: Lab, log: Log) -> None:
        self._plan, self._lab, self._log = plan, lab, log
        self._key = Key.of(plan.request, plan.threads)
        self._space = Space(plan.request)
        self._search = Search(self._space, plan.model, plan.seed)
        self._protocol = dict(lab.protocol)
        self._records = [record for record in log.records() if self._comparable(record)]
        self._outcomes: dict[Tile, Outcome] = {}  # of this run
        self._elsewhere: dict[Tile, Outcome] = {}  # of others of this key
        self._measured = 0

    def trials(self) -> Iterator[State]:
        """Remember what is known, and make what the budget has left."""
        self._remember()
        told = len(self._outcomes) - len(self._outcomes) % BATCH  # a batch that was interrupted is proposed again
        self._tell(0, told)
        yield self._state()
        while len(self._outcomes) < self._plan.trials:
            missing = min(BATCH, self._plan.trials - told) - (len(self._outcomes) - told)
            batch = self._search.batch(told // BATCH)
            new = [tile for tile in batch if tile not in self._outcomes][:missing]
            if not new:
                return
            yield from self._made(new)
            self._tell(told, len(self._outcomes))
            told = len(self._outcomes)

    def final(self) -> Winner:
        """The best side by side with the default, which keeps its place unless another is clearly faster."""
        default = self._space.default
        known = {tile: outcome.median for tile, outcome in self._known.items() if outcome.seconds}
        fastest = sorted(known, key=lambda tile: known[tile])[:_FINALISTS]
        finalists = list(dict.fromkeys([default, *fastest]))
        outcomes = self._remembered_final(finalists)
        if outcomes is None:
            outcomes = dict(zip(finalists, self._lab.finals(self._plan.request, finalists), strict=True))
            for tile, outcome in outcomes.items():
                self._log.append(self._record(tile, outcome, "final"))
        best = min(finalists, key=lambda tile: outcomes[tile].median)
        keeps = outcomes[default].median < outcomes[best].median * GAIN
        tile = default if keeps else best
        return Winner(tile, outcomes[tile], outcomes[default], self._state())

    @property
    def _known(self) -> dict[Tile, Outcome]:
        return self._elsewhere | self._outcomes

    def _remember(self) -> None:
        """Sort the log's trials: of this run, of this problem, of others."""
        for record in self._records:
            if record.stage != "trial" or record.key.threads != self._plan.threads:
                continue
            tile = Tile.parse(record.tile)
            if record.key != self._key:
                self._search.learn(_request(record), tile, record.median)
            elif self._plan.resume:
                own = (record.seed, record.searcher) == (self._plan.seed, self._plan.model.name)
                (self._outcomes if own else self._elsewhere).setdefault(tile, _outcome(record))
        for tile, outcome in self._elsewhere.items():
            self._search.tell(tile, outcome.median)

    def _tell(self, first: int, end: int) -> None:
        """Tell the search what came out in these trials."""
        for tile, outcome in list(self._outcomes.items())[first:end]:
            self._search.tell(tile, outcome.median)

    def _made(self, tiles: Sequence[Tile]) -> Iterator[State]:
        """Each trial is in the log before the next one begins."""
        with closing(self._lab.trials(self._plan.request, tiles, self._state().seconds)) as made:
            for tile, outcome in zip(tiles, made, strict=True):
                self._log.append(self._record(tile, outcome, "trial"))
                self._outcomes[tile] = outcome
                self._measured += 1
                yield self._state(f"tile {tile}: {outcome.reason}" if outcome.reason else None)

    def _remembered_final(self, finalists: Sequence[Tile]) -> dict[Tile, Outcome] | None:
        """What an earlier final of just these tiles found, if nothing has been measured since."""
        if self._measured or not self._plan.resume:
            return None
        last = {Tile.parse(record.tile): record for record in self._records if self._is_final(record)}
        if not all(tile in last for tile in finalists):
            return None
        return {tile: _outcome(last[tile]) for tile in finalists}

    def _record(self, tile: Tile, outcome: Outcome, stage: Stage) -> Record:
        number = {known: number for number, known in enumerate(self._outcomes)}
        return Record(
            key=self._key,
            tile=str(tile),
            status=outcome.status,
            reason=outcome.reason,
            seconds=asdict(outcome.seconds) if outcome.seconds else None,
            gflops=self._plan.request.shape.flops / outcome.median / 1e9 if outcome.seconds else None,
            stage=stage,
            trial=number.get(tile, len(number)),
            seed=self._plan.seed,
            default=tile == self._space.default,
            searcher=self._plan.model.name,
            protocol=self._protocol,
            device=self._lab.device,
            cpu=self._lab.cpu,
        )

    def _state(self, trouble: str | None = None) -> State:
        times = {tile: outcome.median for tile, outcome in self._known.items() if outcome.seconds}
        best = min(times, key=lambda tile: times[tile], default=self._space.default)
        return State(
            done=len(self._outcomes),
            measured=self._measured,
            failed=sum(outcome.seconds is None for outcome in self._outcomes.values()),
            best=best,
            seconds=times.get(best, math.inf),
            default_seconds=times.get(self._space.default, math.inf),
            trouble=trouble,
        )

    def _comparable(self, record: Record) -> bool:
        """Whether a record was measured as this run measures."""
        return (
            not record.versions.foreign_to(Versions.here())
            and (record.key.target, record.key.mcpu, record.key.features)
            == (self._key.target, self._key.mcpu, self._key.features)
            and (record.device, record.cpu) == (self._lab.device, self._lab.cpu)
            and dict(record.protocol) == self._protocol
        )

    def _is_final(self, record: Record) -> bool:
        return record.key == self._key and record.stage == "final"


def _outcome(record: Record) -> Outcome:
    seconds = None
    if record.seconds:
        times = record.seconds
        seconds = Seconds(times["median"], times["p20"], times["p80"], int(times["n"]))
    return Outcome(record.status, record.reason, seconds)


def _request(record: Record) -> Request:
    key = record.key
    return Request(ConvShape.parse(key.workload), key.algorithm, key.target, layout=key.layout)

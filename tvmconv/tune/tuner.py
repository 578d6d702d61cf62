"""Tuning one problem: a budget of trials, each written down as soon as it is made, and a final of the best.

A run is replayed from its log before anything new is measured: what the search proposes and the log knows is not
measured again. So a run that was interrupted goes on exactly as it would have, and a larger budget continues it.
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
from tvmconv.tune.search import Search
from tvmconv.tune.space import Space

BATCH = 8  # trials between two questions to the model
_FINALISTS = 5


@dataclass(frozen=True)
class Plan:
    """What is to be done for one problem: the checked request (by hand), the threads, trials in all, the search's seed
    and model. With `resume` what the log knows counts as measured."""

    request: Request
    threads: int
    trials: int
    seed: int
    model: Model
    resume: bool = True


@dataclass(frozen=True)
class State:
    """Where a run stands: trials made, measured now (the others were known), failed; the best tile and its seconds,
    those of the default, both infinite as long as there are none."""

    done: int
    measured: int
    failed: int
    best: Tile
    seconds: float
    default_seconds: float

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
    """Searches, measures and decides; `progress` hears of each trial. Raises OSError where the log cannot be written.

    The model also learns what the log has of other problems above this one's first record.
    """
    run = _Run(plan, lab, log)
    run.warm_up()
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
        self._known = {record.tile: record for record in self._records if self._is_trial(record)} if plan.resume else {}
        self._outcomes: dict[Tile, Outcome] = {}
        self._measured = 0

    def warm_up(self) -> None:
        """Teach the model what was known when this run began."""
        for record in self._records:
            if record.key == self._key:
                break
            if record.stage == "trial" and record.key.threads == self._plan.threads:
                self._search.learn(_request(record), Tile.parse(record.tile), record.median)

    def trials(self) -> Iterator[State]:
        """Make, or remember, the budget's trials."""
        while len(self._outcomes) < self._plan.trials:
            batch = self._search.batch(min(BATCH, self._plan.trials - len(self._outcomes)))
            if not batch:
                return
            unknown = [tile for tile in batch if str(tile) not in self._known]
            with closing(self._lab.trials(self._plan.request, unknown, self._state().seconds)) as made:
                for tile in batch:
                    self._outcomes[tile] = self._remembered(tile) or self._new(tile, next(made))
                    yield self._state()
            for tile in batch:
                self._search.tell(tile, self._outcomes[tile].median)

    def final(self) -> Winner:
        """The best tiles and the default, side by side; the default keeps its place unless another is clearly faster."""
        default = self._space.default
        finalists = [default, *(tile for tile in self._search.best(_FINALISTS) if tile != default)]
        outcomes = self._remembered_final(finalists)
        if outcomes is None:
            outcomes = dict(zip(finalists, self._lab.finals(self._plan.request, finalists), strict=True))
            for tile, outcome in outcomes.items():
                self._log.append(self._record(tile, outcome, "final"))
        fastest = min(finalists, key=lambda tile: outcomes[tile].median)
        keeps = outcomes[default].median < outcomes[fastest].median * GAIN
        tile = default if keeps else fastest
        return Winner(tile, outcomes[tile], outcomes[default], self._state())

    def _remembered(self, tile: Tile) -> Outcome | None:
        record = self._known.get(str(tile))
        return _outcome(record) if record else None

    def _new(self, tile: Tile, outcome: Outcome) -> Outcome:
        self._log.append(self._record(tile, outcome, "trial"))
        self._measured += 1
        return outcome

    def _remembered_final(self, finalists: Sequence[Tile]) -> dict[Tile, Outcome] | None:
        """What an earlier final of just these tiles found, if nothing has been measured since."""
        if self._measured or not self._plan.resume:
            return None
        last = {Tile.parse(record.tile): record for record in self._records if self._is_final(record)}
        if not all(tile in last for tile in finalists):
            return None
        return {tile: _outcome(last[tile]) for tile in finalists}

    def _record(self, tile: Tile, outcome: Outcome, stage: Stage) -> Record:
        flops, default = self._plan.request.shape.flops, tile == self._space.default
        searcher = "default" if default else self._plan.model.name
        return Record(
            key=self._key,
            tile=str(tile),
            status=outcome.status,
            reason=outcome.reason,
            seconds=asdict(outcome.seconds) if outcome.seconds else None,
            gflops=flops / outcome.median / 1e9 if outcome.seconds else None,
            stage=stage,
            trial=list(self._outcomes).index(tile) if tile in self._outcomes else len(self._outcomes),
            seed=self._plan.seed,
            default=default,
            searcher=searcher,
            protocol=self._protocol,
            device=self._lab.device,
        )

    def _state(self) -> State:
        ok = {tile: outcome.median for tile, outcome in self._outcomes.items() if outcome.seconds}
        best = min(ok, key=lambda tile: ok[tile], default=self._space.default)
        return State(
            done=len(self._outcomes),
            measured=self._measured,
            failed=len(self._outcomes) - len(ok),
            best=best,
            seconds=ok.get(best, math.inf),
            default_seconds=ok.get(self._space.default, math.inf),
        )

    def _comparable(self, record: Record) -> bool:
        """Whether a record was measured as this run measures."""
        return (
            not record.versions.foreign_to(Versions.here())
            and (record.key.target, record.key.mcpu, record.key.features)
            == (self._key.target, self._key.mcpu, self._key.features)
            and record.device == self._lab.device
            and dict(record.protocol) == self._protocol
        )

    def _is_trial(self, record: Record) -> bool:
        return record.key == self._key and record.stage == "trial"

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

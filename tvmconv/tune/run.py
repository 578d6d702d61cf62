"""The trials of one problem by one algorithm, each logged when it is made.

A run goes on from its log: the trials made with the same seed are told to the search again, in their order, so that
what was interrupted ends as it would have, and a larger budget continues it. What the log knows of other layers
teaches the model, and what other seeds have found of this one is not measured again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

from tvmconv.compiler.builder import Request
from tvmconv.database.log import Key, Log, Record, Versions
from tvmconv.database.log.format.record import Stage
from tvmconv.measure.interleaved import Seconds
from tvmconv.target.tile import Tile
from tvmconv.tune.outcome import Outcome
from tvmconv.tune.runner import TrialRunner
from tvmconv.tune.search import BATCH, Search
from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class Plan:
    """The plan of a search: a search that knows nothing yet, and a number of threads. Without `resume` what the log has
    of this problem does not count. known: the tile that won the final that counts among all logs there are, None if
    they have none."""

    search: Search
    threads: int
    resume: bool = True
    known: Tile | None = None

    @property
    def request(self) -> Request:
        """The kernel by hand."""
        return self.search.space.request


class Run:
    """The search of one plan. `records` of the log are not measured again, and new ones are added to it. key: of its
    records; measured: how many trials were made now."""

    def __init__(self, plan: Plan, runner: TrialRunner, log: Log, records: Sequence[Record]) -> None:
        self.plan, self._runner, self._log = plan, runner, log
        self.measured = 0
        self.key = Key.of(plan.request, plan.threads)
        self._protocol = dict(runner.protocol)
        self._records = [record for record in records if self.comparable(record)]
        self._outcomes: dict[Tile, Outcome] = {}  # of this run
        self._elsewhere: dict[Tile, Outcome] = {}  # of others of this key
        self._told = 0  # of its outcomes
        self._remember()
        self._say_what_is_left_out(records)

    @property
    def default(self) -> Tile:
        """The hand-written schedule's tile."""
        return self.plan.search.space.default

    @property
    def done(self) -> int:
        """Trials of this run, those that the log had included."""
        return len(self._outcomes)

    @property
    def failed(self) -> int:
        return sum(outcome.seconds is None for outcome in self._outcomes.values())

    def request(self, tile: Tile) -> Request:
        """The request of a kernel of this problem."""
        return replace(self.plan.request, tile=tile)

    def fastest(self, count: int) -> list[Tile]:
        """Tiles by their trials, the fastest first; none that failed."""
        times = _times(self._elsewhere | self._outcomes)
        return sorted(times, key=lambda tile: times[tile])[:count]

    def incumbents(self) -> list[Tile]:
        """The winner of the logs' last final, if there was one."""
        return [self.plan.known] if self.plan.resume and self.plan.known else []

    def seconds(self, tile: Tile) -> float:
        """Seconds of a call, by the trial; infinite if there was none or it failed."""
        return _times(self._elsewhere | self._outcomes).get(tile, math.inf)

    def best(self, count: int | None = None) -> float:
        """The least seconds of this run's first trials, so many or all, and of what other runs know."""
        outcomes = dict(list(self._outcomes.items())[:count])
        return min(_times(self._elsewhere | outcomes).values(), default=math.inf)

    def proposed(self, budget: int) -> list[Tile]:
        """The next tiles to try, out of `budget` trials in all: the rest of a batch; none where no tiles are left."""
        missing = min(BATCH, budget - self._told) - (self.done - self._told)
        if missing <= 0:
            return []
        # A batch that was interrupted is proposed again.
        return [tile for tile in self.plan.search.batch(self._told // BATCH) if tile not in self._outcomes][:missing]

    def add(self, tile: Tile, outcome: Outcome) -> None:
        """Logs the outcome of a trial. Raises OSError where the log cannot be written."""
        self._log.append(self._record(tile, outcome, "trial"))
        self._outcomes[tile] = outcome
        self.measured += 1
        self._tell_whole_batches()

    def final(self, tile: Tile, outcome: Outcome, time: str) -> Record:
        """The log's record of a finalist of the final of that time."""
        return replace(self._record(tile, outcome, "final"), time=time)

    def comparable(self, record: Record) -> bool:
        """Whether a record was measured as this run measures."""
        return made_here(record, self.key, self._runner) and record.protocol == self._protocol

    def _remember(self) -> None:
        """Sort the log's trials: of this run, of this problem, of other layers. Those of this layer by other algorithms
        teach nothing, as they may be made while this run is."""
        for record in self._records:
            if record.stage != "trial" or record.key.threads != self.plan.threads:
                continue
            tile = Tile.parse(record.tile)
            if record.key.workload != self.key.workload:
                self._learn(record, tile)
            elif record.key == self.key and self.plan.resume and self.plan.search.space.contains(tile):
                own = (record.seed, record.searcher) == (self.plan.search.seed, self.plan.search.name)
                (self._outcomes if own else self._elsewhere)[tile] = remembered(record)
        for tile, outcome in self._elsewhere.items():
            self.plan.search.tell(tile, outcome.median)
        self._tell_whole_batches()

    def _learn(self, record: Record, tile: Tile) -> None:
        """Teaches the model what is known of another layer; a tile that it cannot have teaches nothing."""
        with suppress(ArithmeticError, ValueError):
            self.plan.search.learn(_request(record.key), tile, record.median)

    def _say_what_is_left_out(self, records: Sequence[Record]) -> None:
        """Trials of this very problem that cannot be gone on with."""
        own = [record for record in records if record.key == self.key and record.stage == "trial"]
        if left_out := len(own) - sum(map(self.comparable, own)):
            self._log.note(
                f"{self._log.path}: {left_out} of {len(own)} trials of {self.key} do not count here: they were "
                "measured in another way, by other versions or on another CPU"
            )

    def _tell_whole_batches(self) -> None:
        """Tell the search what came out in those that it has not heard of."""
        end = self.done - self.done % BATCH
        for tile, outcome in list(self._outcomes.items())[self._told : end]:
            self.plan.search.tell(tile, outcome.median)
        self._told = end

    def _record(self, tile: Tile, outcome: Outcome, stage: Stage) -> Record:
        number = {known: number for number, known in enumerate(self._outcomes)}
        return Record(
            key=self.key,
            tile=str(tile),
            status=outcome.status,
            reason=outcome.reason,
            seconds=asdict(outcome.seconds) if outcome.seconds else None,
            gflops=self.plan.request.shape.flops / outcome.median / 1e9 if outcome.seconds else None,
            stage=stage,
            trial=number.get(tile, len(number)),
            seed=self.plan.search.seed,
            default=tile == self.default,
            searcher=self.plan.search.name,
            protocol=self._protocol,
            device=self._runner.device,
            cpu=self._runner.cpu,
        )


def _times(outcomes: Mapping[Tile, Outcome]) -> dict[Tile, float]:
    """Seconds of those that have some."""
    return {tile: outcome.median for tile, outcome in outcomes.items() if outcome.seconds}


def made_here(record: Record, key: Key, runner: TrialRunner) -> bool:
    """Whether a record was made in such a runner, on the target of that key, by these versions."""
    return (
        not record.versions.foreign_to(Versions.here())
        and (record.key.target, record.key.mcpu, record.key.features) == (key.target, key.mcpu, key.features)
        and (record.device, record.cpu) == (runner.device, runner.cpu)
    )


def remembered(record: Record) -> Outcome:
    """The outcome that a record says."""
    seconds = None
    if record.seconds:
        times = record.seconds
        seconds = Seconds(times["median"], times["p20"], times["p80"], int(times["n"]))
    return Outcome(record.status, record.reason, seconds)


@lru_cache(maxsize=1 << 12)
def _request(key: Key) -> Request:
    return Request(ConvShape.parse(key.workload), key.algorithm, key.target, layout=key.layout)

"""Compares searchers: each spends the same number of trials on a problem, then the kernels they found are measured in
one interleaved run with the default kernel.

tune_tasks is MetaSchedule's own driver, with its task scheduler; the others are what `tune --searcher` knows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from tvmconv.bench.plan import finished
from tvmconv.compiler.builder import Request
from tvmconv.database.rows import Row
from tvmconv.target.tile import Tile
from tvmconv.tune import TUNE_TASKS
from tvmconv.tune.outcome import Outcome, Tell
from tvmconv.tune.runner import TrialRunner, try_all
from tvmconv.tune.search import BATCH, Search
from tvmconv.tune.searchers import searcher
from tvmconv.tune.space import Space


def ready(searchers: Sequence[str]) -> None:
    """Imports what they need, so that no search pays for it. Raises ImportError."""
    for name in searchers:
        if name == TUNE_TASKS:
            import tvmconv.tune.metaschedule.driver  # noqa: F401
        else:
            searcher(name)


@dataclass(frozen=True)
class Comparison:
    """Compares searchers, each with `trials` trials in each of the seeds. trial: called after each."""

    searchers: Sequence[str]
    seeds: Sequence[int]
    trials: int
    runner: TrialRunner
    trial: Callable[[], None]

    @property
    def total(self) -> int:
        """Trials of one problem."""
        return self.trials * len(self.searchers) * len(self.seeds)

    def row(self, row: Row, request: Request) -> Row:
        """The row of a checked request with what came out: `found` has a line for each searcher and seed.

        `alike` is False in a line if slow rounds had to be accepted of one of its kernel and the one by hand alone.
        """
        found = [self._found(request, name, seed) for seed in self.seeds for name in self.searchers]
        tiles = list(dict.fromkeys([request.tile, *(each["tile"] for each in found)]))
        finalists = [replace(request, tile=tile) for tile in tiles if tile]
        outcomes = dict(zip(tiles, self.runner.finals(finalists), strict=True))
        hand = outcomes[request.tile]
        if not hand.seconds:
            return finished(row, "error", f"the kernel by hand: {hand.reason}")
        for each in found:
            outcome = outcomes[each["tile"]]
            each |= {"seconds": vars(outcome.seconds) if outcome.seconds else None}
            gain = hand.median / outcome.median if outcome.seconds else None
            alike = (outcome.reason is None) == (hand.reason is None)  # of a final that came out: slow rounds
            each |= {"gain": gain, "alike": alike if outcome.seconds else None, "tile": str(each["tile"])}
        return finished(row, "ok", tile=str(request.tile), seconds=vars(hand.seconds), found=found)

    def _found(self, request: Request, name: str, seed: int) -> dict[str, Any]:
        """The result of one searcher: its fastest tile, or the default if none was correct."""
        outcomes: dict[Tile, Outcome] = {}

        def tell(tile: Tile, outcome: Outcome) -> None:
            outcomes[tile] = outcome
            self.trial()

        begin = time.monotonic()
        if name == TUNE_TASKS:
            from tvmconv.tune.metaschedule.driver import tune_by_metaschedule

            tune_by_metaschedule(request, self.trials, seed, self.runner, tell)
        else:
            _spend(searcher(name)(Space(request), seed), self.trials, self.runner, outcomes, tell)
        seconds = time.monotonic() - begin
        failed = sum(outcome.seconds is None for outcome in outcomes.values())
        best = min(outcomes, key=lambda tile: outcomes[tile].median, default=request.tile)
        return {
            "searcher": name,
            "seed": seed,
            "trials": len(outcomes),
            "failed": failed,
            "search_seconds": seconds,
            "tile": best if failed < len(outcomes) else request.tile,
        }


def _spend(search: Search, trials: int, runner: TrialRunner, outcomes: Mapping[Tile, Outcome], tell: Tell) -> None:
    """Makes so many trials of a search, fewer where its space has no more; `tell` puts them among the outcomes."""
    request = search.space.request
    for batch in range(-(-trials // BATCH)):
        tiles = search.batch(batch)[: trials - len(outcomes)]
        best = min((outcome.median for outcome in outcomes.values()), default=float("inf"))
        requests = [replace(request, tile=tile) for tile in tiles]
        with closing(try_all(runner, requests, {request.algorithm: best})) as made:
            for number, outcome in made:
                tell(tiles[number], outcome)
                search.tell(tiles[number], outcome.median)
        if len(tiles) < BATCH:
            return

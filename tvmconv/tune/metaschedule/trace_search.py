"""Search by MetaSchedule: evolution of traces, ranked by its cost model."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from tvm.ir.utils import derived_object
from tvm.s_tir.meta_schedule import _ffi_api
from tvm.s_tir.meta_schedule.database import MemoryDatabase, TuningRecord
from tvm.s_tir.meta_schedule.mutator import PyMutator
from tvm.s_tir.meta_schedule.postproc import PyPostproc
from tvm.s_tir.meta_schedule.runner import RunnerResult
from tvm.s_tir.meta_schedule.search_strategy import EvolutionarySearch, MeasureCandidate
from tvm.s_tir.meta_schedule.space_generator import ScheduleFn

from tvmconv.compiler.builder import Request
from tvmconv.compiler.lower import tvm_target
from tvmconv.target.tile import Tile
from tvmconv.tune import METASCHEDULE
from tvmconv.tune.metaschedule.cost_model import CostModel
from tvmconv.tune.metaschedule.crossing import Crossing
from tvmconv.tune.metaschedule.sketch import design_spaces, module, sketched, tile_of
from tvmconv.tune.search import BATCH, DRAWS, UNGUIDED
from tvmconv.tune.space import Space

# Traces of a generation, generations of a batch, random traces that the first one has at least: so a batch takes half a
# second. MetaSchedule's own are 512, 4 and 50.
_POPULATION, _GENERATIONS, _SAMPLED = 128, 3, 32
_TRIALS = 2**31 - 1  # how many there are to be is for others to say


def task(space: Space, seed: int) -> Any:
    """A problem as one of MetaSchedule's tasks: a TuneContext that searches its space."""
    generator = ScheduleFn(
        partial(design_spaces, space),
        sch_rules=[],
        postprocs=[Contained(space)],
        mutator_probs={Redraw(): 1.0},
    )
    strategy = EvolutionarySearch(
        population_size=_POPULATION,
        init_min_unmeasured=_SAMPLED,
        genetic_num_iters=_GENERATIONS,
        eps_greedy=UNGUIDED,
    )
    context = _context(space.request, generator, strategy, seed + 1)
    _ffi_api.TuneContextInitialize(context)
    return context


def _context(request: Request, generator: Any = None, strategy: Any = None, state: int = 1) -> Any:
    """Not by TuneContext's own constructor, which imports every tensor intrinsic that TVM knows: half a minute or more.
    On one thread, since what several draw comes in no order."""
    target = tvm_target(request.made_for)
    return _ffi_api.TuneContext(module(request), target, generator, strategy, request.prefix, 1, state, _silent)


class TraceSearch:
    """A search.Search.

    MetaSchedule's state cannot be kept in a log, but it follows from the seed and from what was told: a search that
    goes on proposes its earlier batches again, each with what came before it. Ctrl-C waits for the end of a batch.
    """

    name = METASCHEDULE

    def __init__(self, space: Space, seed: int = 0) -> None:
        self.space, self.seed = space, seed
        self._told: dict[Tile, float] = {}
        self._heard: set[Tile] = set()  # of what was told, by MetaSchedule
        self._lessons: dict[str, tuple[Request, dict[Tile, float]]] = {}
        self._batches: list[list[Tile]] = []
        self._model = CostModel(seed)
        self._context: Any = None

    def batch(self, number: int) -> list[Tile]:
        while len(self._batches) <= number:
            # What was told last are the outcomes of whole batches.
            later = (number - len(self._batches)) * BATCH
            with Crossing():
                if self._context is None:
                    self._begin()
                self._hear(dict(list(self._told.items())[: len(self._told) - later]))
                proposed = self._proposed()
            self._batches.append(proposed)
        return self._batches[number]

    def tell(self, tile: Tile, seconds: float) -> None:
        self._told[tile] = seconds

    def learn(self, request: Request, tile: Tile, seconds: float) -> None:
        lesson = replace(request, tile=tile)
        lesson.check()
        self._lessons.setdefault(request.prefix, (lesson, {}))[1][tile] = seconds

    def _begin(self) -> None:
        lessons = [lesson for lesson in self._lessons.values() if min(lesson[1].values()) < math.inf]
        for request, outcomes in lessons[:-1]:
            self._model.learn(request, outcomes)
        for request, outcomes in lessons[-1:]:  # the model is trained by an update alone
            self._model.update(_context(request), *_measured(request, outcomes))
        context = task(self.space, self.seed)
        self._database = MemoryDatabase()
        self._workload = self._database.commit_workload(context.mod)
        spaces = context.generate_design_space()
        context.pre_tuning(_TRIALS, BATCH, spaces, self._database, self._model)
        self._context = context

    def _hear(self, told: Mapping[Tile, float]) -> None:
        """Has MetaSchedule know these outcomes, too."""
        new = {tile: seconds for tile, seconds in told.items() if tile not in self._heard}
        if not new:
            return
        candidates, results = _measured(self.space.request, new)
        for candidate, result in zip(candidates, results, strict=True):
            if result.run_secs:
                trace = candidate.sch.trace
                self._database.commit_tuning_record(TuningRecord(trace, self._workload, result.run_secs))
        self._model.update(self._context, candidates, results)
        self._context.notify_runner_results(candidates, results)
        self._heard |= new.keys()

    def _proposed(self) -> list[Tile]:
        """A new batch; what MetaSchedule leaves open is drawn at random."""
        chosen = {} if self.space.default in self._heard else {self.space.default: None}
        candidates = self._context.generate_measure_candidates() or []
        state = random.Random(f"{self.seed} {len(self._batches)}")
        drawn = (self.space.draw(state) for _ in range(DRAWS))
        for tile in chain((tile_of(candidate.sch) for candidate in candidates), drawn):
            if len(chosen) == BATCH:
                break
            if tile and tile not in self._heard and self.space.contains(tile):
                chosen[tile] = None
        return list(chosen)


@derived_object
class Contained(PyPostproc):
    """Refuses traces whose sizes do not go together."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self._space = space

    def _initialize_with_tune_context(self, context: Any) -> None:
        """It knows the problem."""

    def apply(self, schedule: Any) -> bool:
        return self._space.contains(tile_of(schedule))

    def clone(self) -> Any:
        return Contained(self._space)


@derived_object
class Redraw(PyMutator):
    """Decides one of a trace's sizes anew. MetaSchedule's own mutators know loops alone."""

    def _initialize_with_tune_context(self, context: Any) -> None:
        """It needs none."""

    def apply(self, trace: Any, seed: int) -> Any | None:
        sampled = [each for each in trace.insts if each.kind.name == "SampleCategorical" and len(each.attrs[0]) > 1]
        if not sampled:
            return None
        state = random.Random(seed)
        instruction = state.choice(sampled)
        others = [choice for choice in range(len(instruction.attrs[0])) if choice != trace.decisions[instruction]]
        return trace.with_decision(instruction, state.choice(others), remove_postproc=True)

    def clone(self) -> Any:
        return Redraw()


def _measured(request: Request, outcomes: Mapping[Tile, float]) -> tuple[list[Any], list[Any]]:
    """Candidates and results of tiles, in seconds, infinite for what failed."""
    candidates = [MeasureCandidate(sketched(request, tile), []) for tile in outcomes]
    failed = RunnerResult(None, "it failed")
    return candidates, [RunnerResult([each], None) if each < math.inf else failed for each in outcomes.values()]


def _silent(level: int, file: str, line: int, text: str) -> None:
    """Discards MetaSchedule's progress."""

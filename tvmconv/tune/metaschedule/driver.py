"""MetaSchedule at the wheel: its own task scheduler tunes our kernels, by a builder and a runner that are ours.

TVM's LocalBuilder starts processes anew for each batch, each of which imports TVM; its LocalRunner fills arguments with
random numbers, so that no result can be checked and indices point anywhere, and has one deadline for all kernels. So
these two hand their work to a lab: kernels come from warm compilers, and are proved right before their time counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tvm.ir.utils import derived_object
from tvm.s_tir.meta_schedule import tune_tasks
from tvm.s_tir.meta_schedule.builder import BuilderResult, PyBuilder
from tvm.s_tir.meta_schedule.database import MemoryDatabase
from tvm.s_tir.meta_schedule.measure_callback import AddToDatabase, UpdateCostModel
from tvm.s_tir.meta_schedule.runner import PyRunner, PyRunnerFuture, RunnerResult

from tvmconv.builder import Request
from tvmconv.description import descriptions
from tvmconv.shape import ConvShape
from tvmconv.tile import Tile
from tvmconv.tune.lab import Lab, Outcome, temporary_folder
from tvmconv.tune.metaschedule.cost_model import CostModel
from tvmconv.tune.metaschedule.sketch import request_of
from tvmconv.tune.metaschedule.trace_search import task
from tvmconv.tune.search import BATCH
from tvmconv.tune.space import Space


def tune_by_metaschedule(
    request: Request, trials: int, seed: int, lab: Lab, tell: Callable[[Tile, Outcome], None]
) -> None:
    """Has MetaSchedule spend its trials on a checked request; `tell` hears of each, once it is measured.

    Its scheduler counts whole batches, and knows neither the kernel by hand nor what was measured before.
    """
    space = Space(request)
    with temporary_folder() as folder:
        tune_tasks(
            tasks=[task(space, seed)],
            task_weights=[1.0],
            work_dir=str(folder),
            max_trials_global=trials,
            num_trials_per_iter=min(BATCH, trials),
            builder=Builder(lab, folder),
            runner=Runner(lab, tell),
            database=MemoryDatabase(),
            cost_model=CostModel(seed),
            measure_callbacks=[AddToDatabase(), UpdateCostModel()],
        )


@derived_object
class Builder(PyBuilder):
    """Builds the kernels that schedules of a sketch stand for, in a folder."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        super().__init__()
        self._lab, self._folder, self._batches = lab, folder, 0

    def build(self, inputs: list[Any]) -> list[Any]:
        own = self._folder / str(self._batches)
        own.mkdir()
        self._batches += 1
        with closing(self._lab.build([request_of(each.mod) for each in inputs], own)) as built:
            return [
                BuilderResult(None, each.reason) if isinstance(each, Outcome) else BuilderResult(str(each), None)
                for each in built
            ]


@derived_object
class Runner(PyRunner):
    """Proves and times kernels, which say themselves what they are."""

    def __init__(self, lab: Lab, tell: Callable[[Tile, Outcome], None]) -> None:
        super().__init__()
        self._lab, self._tell, self._best = lab, tell, math.inf

    def run(self, inputs: list[Any]) -> list[Any]:
        files = [Path(each.artifact_path) for each in inputs]
        requests = [_described(file) for file in files]
        best = {each.algorithm: self._best for each in requests}
        results: dict[int, Any] = {}
        with closing(self._lab.measured(requests, files, best)) as outcomes:
            for number, outcome in outcomes:
                tile = requests[number].tile
                assert tile
                self._tell(tile, outcome)
                self._best = min(self._best, outcome.median)
                results[number] = Known(_result(outcome))
        return [results[number] for number in range(len(inputs))]


@derived_object
class Known(PyRunnerFuture):
    """A result that is there."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self._result = result

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        return self._result


def _described(file: Path) -> Request:
    """The request of a kernel file, by what it says of itself."""
    (kernel,) = descriptions(file).values()
    shape, tile = ConvShape.parse(kernel["workload"]), Tile.parse(kernel["tile"])
    return Request(shape, kernel["algorithm"], kernel["target"], kernel["schedule"], tile, kernel["layout"])


def _result(outcome: Outcome) -> Any:
    if not outcome.seconds:
        return RunnerResult(None, outcome.reason)
    return RunnerResult([outcome.seconds.p20, outcome.seconds.median, outcome.seconds.p80], None)

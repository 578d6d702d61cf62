"""Runs MetaSchedule's task scheduler on our kernels, with our builder and runner.

TVM's LocalBuilder starts processes anew for each batch, each of which imports TVM; its LocalRunner fills arguments with
random numbers, so that no result can be checked and indices point anywhere, and has one deadline for all kernels. So
these two hand their work to a runner: kernels come from warm compilers, and are proved right before their time counts.
"""

from __future__ import annotations

import math
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from tvm.ir.utils import derived_object
from tvm.s_tir.meta_schedule import tune_tasks
from tvm.s_tir.meta_schedule.builder import BuilderResult, PyBuilder
from tvm.s_tir.meta_schedule.database import MemoryDatabase
from tvm.s_tir.meta_schedule.measure_callback import AddToDatabase, UpdateCostModel
from tvm.s_tir.meta_schedule.runner import PyRunner, PyRunnerFuture, RunnerResult

from tvmconv.compiler.builder import Request
from tvmconv.runtime.kernel_file.description import descriptions
from tvmconv.target.tile import Tile
from tvmconv.tune.builder_pool import trial_folder
from tvmconv.tune.metaschedule.cost_model import CostModel
from tvmconv.tune.metaschedule.crossing import Crossing
from tvmconv.tune.metaschedule.sketch import request_of
from tvmconv.tune.metaschedule.trace_search import task
from tvmconv.tune.outcome import Outcome, Tell
from tvmconv.tune.runner import TrialRunner
from tvmconv.tune.search import BATCH
from tvmconv.tune.space import Space
from tvmconv.workload.shape import ConvShape


def tune_by_metaschedule(request: Request, trials: int, seed: int, runner: TrialRunner, tell: Tell) -> None:
    """Has MetaSchedule spend its trials on a checked request; `tell` is called with the outcome of each.

    Its scheduler knows neither the default kernel nor earlier trials. Raises what the runner and `tell` raise.
    """
    space = Space(request)
    with trial_folder() as folder, Crossing() as crossing:
        tune_tasks(
            tasks=[task(space, seed)],
            task_weights=[1.0],
            work_dir=str(folder),
            max_trials_global=trials,
            num_trials_per_iter=min(BATCH, trials),
            builder=Builder(runner, folder, tell, crossing),
            runner=Runner(runner, tell, crossing),
            database=MemoryDatabase(),
            cost_model=CostModel(seed),
            measure_callbacks=[AddToDatabase(), UpdateCostModel()],
        )


@derived_object
class Builder(PyBuilder):
    """Builds the kernels that schedules of a sketch stand for, in a folder; those of the batch before are gone then.

    `tell` is called with those that could not be built, which the runner never sees.
    """

    def __init__(self, runner: TrialRunner, folder: Path, tell: Tell, crossing: Crossing) -> None:
        super().__init__()
        self._runner, self._folder, self._tell, self._crossing = runner, folder / "batch", tell, crossing

    def build(self, inputs: list[Any]) -> list[Any]:
        with self._crossing.back():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            requests = [request_of(each.mod) for each in inputs]
            with closing(self._runner.build(requests, self._folder)) as built:
                return [self._result(request, each) for request, each in zip(requests, built, strict=True)]

    def _result(self, request: Request, built: Path | Outcome) -> Any:
        if isinstance(built, Path):
            return BuilderResult(str(built), None)
        assert request.tile
        self._tell(request.tile, built)
        return BuilderResult(None, built.reason)


@derived_object
class Runner(PyRunner):
    """Proves and times kernels, which say themselves what they are."""

    def __init__(self, runner: TrialRunner, tell: Tell, crossing: Crossing) -> None:
        super().__init__()
        self._runner, self._tell, self._crossing, self._best = runner, tell, crossing, math.inf

    def run(self, inputs: list[Any]) -> list[Any]:
        with self._crossing.back():
            return self._results(inputs)

    def _results(self, inputs: list[Any]) -> list[Any]:
        files = [Path(each.artifact_path) for each in inputs]
        requests = [_described(file) for file in files]
        best = {each.algorithm: self._best for each in requests}
        results: dict[int, Any] = {}
        with closing(self._runner.measured(requests, files, best)) as outcomes:
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

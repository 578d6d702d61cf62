"""tvmconv tune: searches for each layer's fastest tile."""

from __future__ import annotations

import argparse
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmconv.bench.plan import Setting, Task, blank_row, finished, plan
from tvmconv.cli import values
from tvmconv.cli.device import Work, at_work
from tvmconv.cli.output import Output, exit_code
from tvmconv.database import heuristic
from tvmconv.database.best_rows import best_rows
from tvmconv.database.heuristic import AUTO
from tvmconv.database.log import Key, Log, Sourced, made_own_folder, new_log
from tvmconv.database.rows import Row
from tvmconv.database.tuned import HAND, TUNED
from tvmconv.report.tune import tune_table
from tvmconv.rpc.errors import DeviceError
from tvmconv.support.install import install_line
from tvmconv.support.jsonlines import BadFile
from tvmconv.target.devices import EMULATOR
from tvmconv.target.tile import Tile
from tvmconv.tune import RANDOM
from tvmconv.tune.remote_runner import RemoteTrialRunner
from tvmconv.tune.run import Plan
from tvmconv.tune.runner import LocalTrialRunner, TrialRunner
from tvmconv.tune.search import BATCH, NewSearch
from tvmconv.tune.searchers import searcher
from tvmconv.tune.space import Space
from tvmconv.tune.tuner import State, Winner, tune
from tvmconv.workload import networks
from tvmconv.workload.resolve import Layer, resolve

if TYPE_CHECKING:
    from tvmconv.compiler.builder import Request


def run(options: argparse.Namespace, output: Output) -> int:
    if options.device == EMULATOR:
        raise ValueError(f"tune cannot measure on --device {EMULATOR}, which has no speed of its own")
    if options.tile or options.schedule != (HAND,):
        raise ValueError("tune begins with the schedule by hand and searches its tile: leave --tile and --schedule out")
    with at_work(options, output) as work, _runner(work, options.jobs) as runner:
        output.machine = work.machine
        return _tune_all(options, work.setting, runner, output)


def _tune_all(options: argparse.Namespace, setting: Setting, runner: TrialRunner, output: Output) -> int:
    algorithms = options.algorithm or values.Algorithms((AUTO,), named=False)
    races = list(_races(resolve(options.workloads, output.warn), algorithms.names, setting))
    new_search = _searcher(options.searcher, output)
    output.table_at_end(tune_table)
    output.context()
    for number, race in enumerate(races):
        log = Log(_file(race[0].layer, setting, options.log_dir), output.note)
        tuner = _Tuner(options, setting, runner, log, new_search, output)
        tuner.tune(race, f"{number + 1}/{len(races)}")
    return exit_code(output.rows, algorithms.required)


def _races(layers: Sequence[Layer], names: Sequence[str], setting: Setting) -> Iterator[list[Task]]:
    """The plans that are searched together: a layer by one algorithm, or with auto by all that can compute it, the
    rule's first."""
    for layer in layers:
        for name, task in zip(names, plan([layer], names, setting), strict=True):
            race = [task]
            if name == AUTO and layer.shape and task.request:
                able = heuristic.able(layer.shape, setting.layout or heuristic.LAYOUT)
                race += plan([layer], [other for other in able if other != task.algorithm], setting)
            yield race


def _runner(work: Work, jobs: int) -> LocalTrialRunner | RemoteTrialRunner:
    setting = work.setting
    if work.remote and work.machine:
        return RemoteTrialRunner(work.remote, work.machine["cpu"], setting.threads, jobs)
    return LocalTrialRunner(setting.threads, setting.cpus, jobs, setting.target.isa)


class _Tuner:
    """Tunes tasks; each becomes a row, whatever happens."""

    def __init__(
        self,
        options: argparse.Namespace,
        setting: Setting,
        runner: TrialRunner,
        log: Log,
        new_search: NewSearch,
        output: Output,
    ) -> None:
        self._options, self._setting, self._runner, self._log = options, setting, runner, log
        self._new_search, self._output = new_search, output
        self._state: State | None = None

    def tune(self, race: Sequence[Task], place: str) -> None:
        """One layer by one algorithm or by several; the first is the one that is taken by hand."""
        first, self._state = race[0], None
        row = blank_row(first.layer, self._setting, algorithm=first.algorithm, schedule=TUNED)
        row |= dict.fromkeys(("seconds", "gflops", "flops", "gain", "by_hand", "default", "trials", "log"))
        if first.request is None:
            self._output.row(finished(row, "rejected", first.reason))
            return
        row |= {"flops": first.request.shape.flops, "by_hand": first.algorithm, "log": str(self._log.path)}
        title = f"{place} {first.layer.name or first.layer.shape} {first.algorithm if len(race) == 1 else AUTO}"
        self._log.records()  # what is wrong with it ends the search, before it is looked up among others
        plans = [self._plan(task.request) for task in race if task.request]
        try:
            with self._output.steps(title, BATCH) as step:
                progress = partial(self._progress, step, row["flops"])
                winner = tune(plans, self._options.trials, self._runner, self._log, progress)
        except (KeyboardInterrupt, OSError, DeviceError):
            self._output.row(finished(row, "skipped", self._stopped(), **self._so_far(plans)))
            raise
        if winner.outcome.seconds and winner.outcome.reason:
            self._output.warn(f"{title}: {winner.outcome.reason}: let the machine be idle, and tune again")
        self._output.row(_row(row, winner))

    def _plan(self, request: Request) -> Plan:
        space = Space(request)
        search = self._new_search(space, self._options.seed)
        return Plan(search, self._setting.threads, self._options.resume, self._known(space))

    def _known(self, space: Space) -> Tile | None:
        """As Plan.known, from any CPU: it is measured again here."""
        logs = self._setting.logs
        found = logs.best(Key.of(space.request, self._setting.threads)).comparison if logs else None
        if found is None or found.winner.record.stage != "final":
            return None
        tile = Tile.parse(found.winner.record.tile)
        return space.default if found.winner.record.default else tile if space.contains(tile) else None

    def _progress(self, step: Any, flops: float, state: State) -> None:
        self._state = state
        if state.failure:
            self._output.note(state.failure)
        speed = f"{flops / state.seconds / 1e9:.0f} GFLOP/s" if state.seconds < math.inf else ""
        beside = f", {state.gain:.2f} of hand" if state.gain else ""
        step(state.done, self._options.trials, speed + beside)

    def _stopped(self) -> str:
        if self._state is None or not self._state.done:
            return "stopped before the first trial"
        kept = f"stopped after {self._state.done} of {self._options.trials} trials, which are kept"
        return f"{kept}: the same command goes on with them" if self._options.resume else kept

    def _so_far(self, plans: Sequence[Plan]) -> Row:
        """The log's result for the layer once there is a trial, as `log best` reports it."""
        if self._state is None:
            return {}
        best = self._state.best
        row = {"algorithm": best.algorithm, "tile": str(best.tile), "gain": self._state.gain}
        with suppress(BadFile, OSError):
            row |= self._logged({Key.of(plan.request, plan.threads) for plan in plans})
        return row | {"trials": _trials(self._state)}

    def _logged(self, keys: Collection[Key]) -> Row:
        records = (record for record in self._log.records() if record.key in keys)
        rows = [row for row in best_rows(Sourced(record, self._log.path) for record in records) if "gain" in row]
        if not rows:
            return {}
        best = min(rows, key=lambda row: (row["algorithm"] != row["auto"], row["seconds"]["median"]))
        figures = ("algorithm", "tile", "schedule", "seconds", "gflops", "by_hand", "gain")
        return {name: best[name] for name in figures} | {"default": best["default_seconds"]}


def _row(row: Row, winner: Winner) -> Row:
    """A finished layer. Where nothing was ever right, that is an error."""
    row = {**row, "algorithm": winner.request.algorithm, "trials": _trials(winner.state)}
    row |= {"schedule": HAND if winner.by_hand else TUNED}
    if winner.outcome.seconds is None:
        return finished(row, "error", winner.outcome.reason or "no candidate could be measured")
    return finished(
        row,
        "ok",
        tile=str(winner.request.tile),
        seconds=vars(winner.outcome.seconds),
        gflops=row["flops"] / winner.outcome.median / 1e9,
        gain=winner.default.median / winner.outcome.median if winner.default.seconds else None,
        default=vars(winner.default.seconds) if winner.default.seconds else None,
    )


def _trials(state: State) -> dict[str, int]:
    return {"done": state.done, "measured": state.measured, "failed": state.failed}


def _searcher(name: str, output: Output) -> NewSearch:
    """A function that creates a search for a problem."""
    try:
        return searcher(name)
    except ImportError as error:
        why = f"{error.name or 'xgboost'} cannot be imported ({error})"
        output.warn(f"{why}, so that tiles are drawn at random: {install_line('tune')}")
        return searcher(RANDOM)


def _file(layer: Layer, setting: Setting, log_dir: Path | None) -> Path:
    """One log for each network, model, or problem. Raises OSError where the user's own folder cannot be made."""
    network = layer.source.partition("/")[0]
    model, onnx, _ = layer.source.partition(".onnx")
    what = network if network in networks.NETWORKS else Path(model).name if onnx else str(layer.shape or layer.source)
    return new_log(setting.target.name, what, log_dir or made_own_folder())

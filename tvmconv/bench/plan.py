"""The plan of a command: layers times algorithms in one setting, and the row of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tvmconv.algorithms import algorithm as find_algorithm
from tvmconv.database import auto, heuristic
from tvmconv.database.heuristic import AUTO
from tvmconv.database.log import Logs
from tvmconv.database.results import Results
from tvmconv.database.rows import Row
from tvmconv.database.tuned import HAND, TUNED, Scheduled, scheduled
from tvmconv.rpc.address import Where
from tvmconv.schedules.unsuited import Unsuited
from tvmconv.target.devices import LOCAL
from tvmconv.target.targets import Target
from tvmconv.target.tile import Tile
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

if TYPE_CHECKING:
    from tvmconv.compiler.builder import Request


@dataclass(frozen=True)
class Setting:
    """The common setting of a run's rows. `tile` None: the schedule chooses. `layout` None: nhwc, or nchw where an
    algorithm knows only that. `max_workspace`: bytes, None for any. `schedules`: by which each algorithm is planned,
    hand, tuned or auto, and `logs` where tuned ones come from. `where`: a device that is reached through RPC."""

    target: Target
    layout: str | None = None
    device: str = LOCAL
    threads: int = 1
    cpus: tuple[int, ...] = ()
    schedules: tuple[str, ...] = (AUTO,)
    tile: Tile | None = None
    max_workspace: int | None = None
    logs: Logs | None = None
    where: Where | None = None

    def request(self, shape: ConvShape, algorithm: str) -> Request:
        """The request of a problem with the default schedule, its tile decided.

        Raises Unsuited for a tile that this problem alone cannot have, another ValueError where none could.
        """
        return self.scheduled(shape, algorithm, HAND).request

    def scheduled(self, shape: ConvShape, algorithm: str, schedule: str) -> Scheduled:
        """The same by a schedule: hand, tuned or auto. Raises Unsuited for one that this problem alone has not, too."""
        return scheduled(self.asked(shape, algorithm, schedule), self.threads, self.logs)

    def asked(self, shape: ConvShape, algorithm: str, schedule: str) -> Request:
        """The request as asked for, neither checked nor decided."""
        from tvmconv.compiler.builder import Request  # NumPy comes with it: too much for a command that only lists

        return Request(shape, algorithm, self.target.name, schedule, self.tile, self.layout)

    def workspace(self, request: Request) -> int:
        """Bytes of extra memory that a request's kernel needs here."""
        assert request.tile
        return request.defined_by.workspace(request.shape, request.tile, self.threads)

    def fits(self, workspace: int) -> bool:
        return self.max_workspace is None or workspace <= self.max_workspace


@dataclass(frozen=True)
class Task:
    """One layer by one algorithm: what is to be built for it, or the `reason` why it cannot be done.

    `schedule` is what was asked for: hand, tuned or auto; `tuned_by` the tuning record that was found, if one was.
    `chosen_by` says who took the algorithm: user, rule, records or results. `unknown` says why another had to although
    there are results: the fastest of them names an algorithm, a schedule or a tile that there is not here.
    """

    layer: Layer
    algorithm: str
    reason: str | None = None
    request: Request | None = None
    schedule: str = AUTO
    tuned_by: Row | None = None
    chosen_by: str = "user"
    unknown: str | None = None

    @property
    def kernel(self) -> Row:
        """The fields of a row that describe the kernel to build."""
        assert self.request
        origin = {"tuned_by": self.tuned_by, "chosen_by": self.chosen_by}
        return {"schedule": self.request.schedule, "tile": str(self.request.tile), **origin}


def plan(
    layers: Sequence[Layer], algorithms: Sequence[str], setting: Setting, results: Results | None = None
) -> Iterator[Task]:
    """Every layer by every algorithm named, by each of the setting's schedules; layers outermost, schedules innermost.

    `auto` stands for one algorithm for each layer: what was fastest in `results`, else by tuning records where these
    know several, else the rule's choice, each the first that fits the setting's memory. Raises ValueError for a
    schedule or a tile that no layer could have.
    """
    for layer in layers:
        for name in algorithms:
            for schedule in setting.schedules:
                if layer.shape is None or layer.reason:
                    task = Task(layer, name, layer.reason)
                elif name == AUTO:
                    task = _chosen(layer, layer.shape, schedule, setting, results)
                else:
                    task = _asked_for(layer, layer.shape, name, schedule, setting)
                yield replace(task, schedule=schedule)


def _asked_for(layer: Layer, shape: ConvShape, name: str, schedule: str, setting: Setting) -> Task:
    try:
        chosen = find_algorithm(name, setting.layout)
    except ValueError as error:
        return Task(layer, name, str(error))
    if reason := chosen.rejects(shape):
        return Task(layer, name, reason)
    try:
        found = setting.scheduled(shape, name, schedule)
    except Unsuited as error:
        return Task(layer, name, str(error))
    needed = setting.workspace(found.request)
    if not setting.fits(needed):
        return Task(layer, name, f"{name} needs {needed} bytes of extra memory, not {setting.max_workspace} or less")
    return Task(layer, name, request=found.request, tuned_by=found.tuned_by)


def _chosen(layer: Layer, shape: ConvShape, schedule: str, setting: Setting, results: Results | None) -> Task:
    needed: dict[str, int] = {}
    unknown = unsuited = None
    for chosen_by, found in _candidates(shape, schedule, setting, results):
        if isinstance(found, Unsuited) and chosen_by == "rule":
            unsuited = unsuited or str(found)
        elif isinstance(found, ValueError):
            unknown = unknown or str(found)
        else:
            name = found.request.algorithm
            needed[name] = setting.workspace(found.request)
            if setting.fits(needed[name]):
                without_results = unknown if chosen_by != "results" else None
                return Task(layer, name, None, found.request, schedule, found.tuned_by, chosen_by, without_results)
    if not needed:
        nothing = f"no algorithm computes {shape} in layout {setting.layout or heuristic.LAYOUT}"
        tile = f" with tile {setting.tile}" if setting.tile else ""
        return Task(layer, AUTO, (unsuited if schedule == TUNED else None) or nothing + tile)
    smallest = min(needed, key=lambda name: needed[name])
    return Task(
        layer,
        AUTO,
        f"no algorithm needs {setting.max_workspace} bytes of extra memory or less here: the smallest is {smallest} "
        f"with {needed[smallest]}",
    )


def _candidates(
    shape: ConvShape, schedule: str, setting: Setting, results: Results | None
) -> Iterator[tuple[str, Scheduled | ValueError]]:
    """The candidates of `auto` for a problem, best first, each with its source; an error for one that cannot be used
    here."""
    for row in results.ranking(shape, setting.max_workspace) if results else ():
        if schedule in (AUTO, row["schedule"]):
            try:
                yield "results", _as_measured(row, shape, setting)
            except ValueError as error:  # an algorithm, a schedule or a tile that there was then and is not now
                yield "results", error
    yield from auto.candidates(setting.asked(shape, AUTO, schedule), setting.threads, setting.logs)


def _as_measured(row: Row, shape: ConvShape, setting: Setting) -> Scheduled:
    """The kernel of a row of results, by its schedule and its tile."""
    from tvmconv.compiler.builder import Request

    tile = Tile.parse(row["tile"])
    asked = Request(shape, row["algorithm"], setting.target.name, row["schedule"], tile, row["layout"])
    return Scheduled(asked.check(), row.get("tuned_by"))


def blank_row(
    layer: Layer, setting: Setting, *, algorithm: str | None = None, peer: str | None = None, schedule: str = AUTO
) -> Row:
    """A result that says what is asked for and nothing yet of what comes out: its status is "skipped".

    `schedule` is what was asked for; which it became is said where there is a kernel.
    """
    return {
        "kind": "result",
        "source": layer.source,
        "workload": str(layer.shape) if layer.shape else None,
        "name": layer.name,
        "count": layer.count,
        "layout": _layout(setting.layout, algorithm),
        "target": setting.target.name,
        "device": setting.device,
        "threads": setting.threads,
        "cpus": list(setting.cpus),
        "algorithm": algorithm,
        "chosen_by": None,
        "peer": peer,
        "schedule": schedule if algorithm and schedule != AUTO else None,
        "schedule_asked": schedule if algorithm else None,
        "tuned_by": None,
        "tile": str(setting.tile) if algorithm and setting.tile else None,
        "kernel": None,
        "status": "skipped",
        "reason": None,
    }


def _layout(asked: str | None, name: str | None) -> str:
    """The layout of a row: the one asked for, else that of its algorithm."""
    if asked or name is None or name == AUTO:
        return asked or "nhwc"
    return find_algorithm(name).layout


def finished(row: Row, status: str, reason: str | None = None, **results: Any) -> Row:
    """`row` with what came out."""
    return {**row, "status": status, "reason": reason, **results}

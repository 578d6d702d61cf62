"""What is to be done: layers times algorithms, in one setting, and the row that each of them will fill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from schedules.unsuited import Unsuited
from tvmconv import choose
from tvmconv.algorithms import algorithm as find_algorithm
from tvmconv.choose import AUTO
from tvmconv.device import LOCAL
from tvmconv.record import Row
from tvmconv.results import Results
from tvmconv.rpc.address import Where
from tvmconv.shape import ConvShape
from tvmconv.target import Target
from tvmconv.tile import Tile
from tvmconv.workload import Layer

if TYPE_CHECKING:
    from tvmconv.builder import Request


@dataclass(frozen=True)
class Setting:
    """What all rows of a run have in common. `tile` None: the schedule chooses. `layout` None: nhwc, or
    nchw where an algorithm knows only that. `max_workspace`: bytes, None for any. `where`: a device that is reached
    through RPC."""

    target: Target
    layout: str | None = None
    device: str = LOCAL
    threads: int = 1
    cpus: tuple[int, ...] = ()
    schedule: str = "hand"
    tile: Tile | None = None
    max_workspace: int | None = None
    where: Where | None = None

    def request(self, shape: ConvShape, algorithm: str) -> Request:
        """What is to be built for a problem, with its tile decided.

        Raises Unsuited for a tile that this problem alone cannot have, another ValueError where none could.
        """
        from tvmconv.builder import Request  # NumPy comes with it: too much for a command that only lists

        return Request(shape, algorithm, self.target.name, self.schedule, self.tile, self.layout).check()

    def workspace(self, request: Request) -> int:
        """Bytes of extra memory that a request's kernel needs here."""
        assert request.tile
        return request.defined_by.workspace(request.shape, request.tile, self.threads)

    def fits(self, workspace: int) -> bool:
        return self.max_workspace is None or workspace <= self.max_workspace


@dataclass(frozen=True)
class Task:
    """One layer by one algorithm: what is to be built for it, or the `reason` why it cannot be done.

    `chosen_by` says who took the algorithm: user, rule or results. `unknown` says why the rule had to although there
    are results: the fastest of them names an algorithm, a schedule or a tile that there is not here.
    """

    layer: Layer
    algorithm: str
    reason: str | None = None
    request: Request | None = None
    chosen_by: str = "user"
    unknown: str | None = None


def plan(
    layers: Sequence[Layer], algorithms: Sequence[str], setting: Setting, results: Results | None = None
) -> Iterator[Task]:
    """Every layer by every algorithm named, layers outermost.

    `auto` stands for one algorithm for each layer: what was fastest in `results`, else the rule's choice, each the
    first that fits the setting's memory. Raises ValueError for a schedule or a tile that no layer could have.
    """
    for layer in layers:
        for name in algorithms:
            if layer.shape is None or layer.reason:
                yield Task(layer, name, layer.reason)
            elif name == AUTO:
                yield _chosen(layer, layer.shape, setting, results)
            else:
                yield _asked_for(layer, layer.shape, name, setting)


def _asked_for(layer: Layer, shape: ConvShape, name: str, setting: Setting) -> Task:
    try:
        chosen = find_algorithm(name, setting.layout)
    except ValueError as error:
        return Task(layer, name, str(error))
    if reason := chosen.rejects(shape):
        return Task(layer, name, reason)
    try:
        request = setting.request(shape, name)
    except Unsuited as error:
        return Task(layer, name, str(error))
    needed = setting.workspace(request)
    if not setting.fits(needed):
        return Task(layer, name, f"{name} needs {needed} bytes of extra memory, not {setting.max_workspace} or less")
    return Task(layer, name, request=request)


def _chosen(layer: Layer, shape: ConvShape, setting: Setting, results: Results | None) -> Task:
    needed: dict[str, int] = {}
    unknown = None
    for chosen_by, request in _candidates(shape, setting, results):
        if isinstance(request, ValueError):
            unknown = unknown or str(request)
            continue
        needed[request.algorithm] = setting.workspace(request)
        if setting.fits(needed[request.algorithm]):
            return Task(
                layer,
                request.algorithm,
                request=request,
                chosen_by=chosen_by,
                unknown=unknown if chosen_by == "rule" else None,
            )
    if not needed:
        tile = f" with tile {setting.tile}" if setting.tile else ""
        return Task(layer, AUTO, f"no algorithm computes {shape} in layout {setting.layout or choose.LAYOUT}{tile}")
    smallest = min(needed, key=lambda name: needed[name])
    return Task(
        layer,
        AUTO,
        f"no algorithm needs {setting.max_workspace} bytes of extra memory or less here: the smallest is {smallest} "
        f"with {needed[smallest]}",
    )


def _candidates(
    shape: ConvShape, setting: Setting, results: Results | None
) -> Iterator[tuple[str, Request | ValueError]]:
    """What `auto` may take for a problem, best first, each with who says so; the error for results of no use here."""
    for row in results.ranking(shape, setting.max_workspace) if results else ():
        try:
            measured = replace(setting, layout=row["layout"], schedule=row["schedule"], tile=Tile.parse(row["tile"]))
            yield "results", measured.request(shape, row["algorithm"])
        except ValueError as error:  # an algorithm, a schedule or a tile that there was then and is not now
            yield "results", error
    for name in choose.preferred(shape, setting.layout or choose.LAYOUT):
        try:
            yield "rule", setting.request(shape, name)
        except Unsuited:
            continue


def blank_row(layer: Layer, setting: Setting, *, algorithm: str | None = None, peer: str | None = None) -> Row:
    """A result that says what is asked for and nothing yet of what comes out: its status is "skipped"."""
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
        "peer": peer,
        "schedule": setting.schedule if algorithm else None,
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

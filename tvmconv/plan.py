"""What is to be done: layers times algorithms, in one setting, and the row that each of them will fill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schedules.unsuited import Unsuited
from tvmconv import choose
from tvmconv.algorithms import algorithm as find_algorithm
from tvmconv.record import Row
from tvmconv.shape import ConvShape
from tvmconv.target import Target
from tvmconv.tile import Tile
from tvmconv.workload import Layer

if TYPE_CHECKING:
    from tvmconv.builder import Request

AUTO = "auto"


@dataclass(frozen=True)
class Setting:
    """What all rows of a run have in common. `tile` None: the schedule chooses. `layout` None: nhwc, or
    nchw where an algorithm knows only that."""

    target: Target
    layout: str | None = None
    device: str = "local"
    threads: int = 1
    cpus: tuple[int, ...] = ()
    schedule: str = "hand"
    tile: Tile | None = None

    def request(self, shape: ConvShape, algorithm: str) -> Request:
        """What is to be built for a problem, with its tile decided.

        Raises Unsuited for a tile that this problem alone cannot have, another ValueError where none could.
        """
        from tvmconv.builder import Request  # NumPy comes with it: too much for a command that only lists

        return Request(shape, algorithm, self.target.name, self.schedule, self.tile, self.layout).check()


@dataclass(frozen=True)
class Task:
    """One layer by one algorithm: what is to be built for it, or the `reason` why it cannot be done."""

    layer: Layer
    algorithm: str
    reason: str | None = None
    request: Request | None = None


def plan(layers: Sequence[Layer], algorithms: Sequence[str], setting: Setting) -> Iterator[Task]:
    """Every layer by every algorithm named, layers outermost. `auto` stands for the rule's choice for each layer.

    Raises ValueError for a schedule or a tile that no layer could have.
    """
    for layer in layers:
        for name in algorithms:
            yield _task(layer, name, setting)


def _task(layer: Layer, name: str, setting: Setting) -> Task:
    if layer.shape is None or layer.reason:
        return Task(layer, name, layer.reason)
    if name == AUTO:
        try:
            name = choose.by_rule(layer.shape, setting.layout or "nhwc")
        except ValueError as error:
            return Task(layer, name, str(error))
    try:
        chosen = find_algorithm(name, setting.layout)
    except ValueError as error:
        return Task(layer, name, str(error))
    if reason := chosen.rejects(layer.shape):
        return Task(layer, name, reason)
    try:
        return Task(layer, name, request=setting.request(layer.shape, name))
    except Unsuited as error:
        return Task(layer, name, str(error))


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

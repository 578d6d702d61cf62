"""Tiles as schedules of a stand-in module, with the tile's sizes as decisions of MetaSchedule's trace.

The module says which kernel is meant, and each schedule annotates its one block with the sizes of a tile, as
MetaSchedule's own rules annotate what a later step is to do. That step is our builder, which makes the kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tvm import IRModule
from tvm.s_tir import Schedule
from tvm.script import tirx as T

from tvmconv.compiler.builder import Request
from tvmconv.target.tile import Tile
from tvmconv.tune.space import Space
from tvmconv.workload.shape import ConvShape

_BLOCK = "kernel"
_REGISTERS = ("nr", "mr")  # what a design space fixes
_OURS = "tvmconv."  # before the names of attributes and annotations
_ASKED = ("shape", "algorithm", "target", "schedule", "layout", "tile")


@T.prim_func(s_tir=True)
def _kernel(y: T.Buffer((1,), "float32")):
    T.func_attr({"global_symbol": "main"})
    with T.sblock(_BLOCK):
        T.reads()
        T.writes(y[0])
        y[0] = T.float32(0)


def module(request: Request) -> Any:
    """The stand-in module for the kernels of a checked request, whatever their tiles."""
    return IRModule({"main": _kernel.with_attr({_OURS + name: str(getattr(request, name)) for name in _ASKED})})


def request_of(module: Any) -> Request:
    """The request that a module stands for; the tile of the schedule by which it was made, if there was one."""
    function = module["main"]
    sizes = _sizes(function.body.block)
    request = _asked(*(str(function.attrs[_OURS + name]) for name in _ASKED))
    assert request.tile
    return replace(request, tile=replace(request.tile, **sizes))


def tile_of(schedule: Any) -> Tile:
    """The tile that a schedule decides."""
    tile = request_of(schedule.mod).tile
    assert tile
    return tile


def design_spaces(space: Space, schedule: Any) -> list[Any]:
    """One schedule for each register tile, its other sizes sampled: not every trace of it is a tile of the space."""
    spaces = []
    for registers in _register_tiles(space):
        own = schedule.copy()
        _decide(own, space, registers, {})
        spaces.append(own)
    return spaces


def sketched(request: Request, tile: Tile) -> Any:
    """The schedule of one tile of the request's space."""
    schedule, space = Schedule(module(request)), Space(request)
    sizes = {name: getattr(tile, name) for name in space.names}
    _decide(schedule, space, {name: sizes.pop(name) for name in _REGISTERS}, sizes)
    return schedule


def _register_tiles(space: Space) -> Iterator[Mapping[str, int]]:
    first, second = (name for name in space.names if name in _REGISTERS)
    for size in space.choices(first, {}):
        for other in space.choices(second, {first: size}):
            yield {first: size, second: other}


def _decide(schedule: Any, space: Space, registers: Mapping[str, int], sizes: Mapping[str, int]) -> None:
    """Annotates the registers' sizes, and the others as decisions: these sizes, or sampled ones."""
    block = schedule.get_sblock(_BLOCK)
    for name in registers:
        schedule.annotate(block, _OURS + name, registers[name])
    # What the others may be is asked for whole K, whose divisors are those of any block of it, and more.
    drawn = {**registers, "kc": 0}
    for name in space.names:
        if name in registers:
            continue
        choices, size = list(space.choices(name, drawn)), sizes.get(name)
        if size is not None and size not in choices:  # a log may know tiles that are not drawn
            choices.append(size)
        decision = None if size is None else choices.index(size)
        sampled = schedule.sample_categorical(choices, [1 / len(choices)] * len(choices), decision)
        schedule.annotate(block, _OURS + name, sampled)


def _sizes(block: Any) -> dict[str, int]:
    return {name.removeprefix(_OURS): int(size) for name, size in block.annotations.items()}


@functools.lru_cache(maxsize=256)
def _asked(shape: str, algorithm: str, target: str, schedule: str, layout: str, tile: str) -> Request:
    return Request(ConvShape.parse(shape), algorithm, target, schedule, Tile.parse(tile), layout)

"""Schedules: which an instruction set may use. A tuned one is the hand-written recipe with a tile that was searched."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from schedules import aarch64, x86
from tvmconv.support.text import unknown
from tvmconv.target.targets import Isa


@dataclass(frozen=True)
class Schedule:
    """A schedule: `recipe.schedule(program, target)` and `recipe.choose_tile(algorithm, shape, target, wanted)`.

    The tile of a tuned schedule comes from a tuning record.
    """

    name: str
    isas: tuple[str, ...]
    summary: str
    recipe: ModuleType


SCHEDULES: tuple[Schedule, ...] = (
    Schedule("hand", ("avx512", "avx2", "sse4"), "register tile by hand, tiles argued from the registers", x86),
    Schedule("tuned", ("avx512", "avx2", "sse4"), "the same recipe, its tile from a tuning record", x86),
    Schedule("hand", ("neon",), "the same tile, its rows held as vectors of channels", aarch64),
    Schedule("tuned", ("neon",), "the same recipe, its tile from a tuning record", aarch64),
)


def find(name: str, isa: Isa) -> Schedule:
    """The schedule of that name for an instruction set. Raises ValueError where there is none."""
    for schedule in SCHEDULES:
        if schedule.name == name and isa.name in schedule.isas:
            return schedule
    names = sorted({schedule.name for schedule in SCHEDULES if isa.name in schedule.isas})
    raise ValueError(unknown(f"{isa.name} schedule", name, names))

"""Schedules: how a kernel's loops are transformed, and by which register tile.

There is one recipe, `schedule(program, target)`, which differs between instruction sets by their records in
tvmconv/target/isa. Names say where its tile comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvmconv.schedules.program import schedule
from tvmconv.schedules.tiles import choose_tile
from tvmconv.support.text import unknown
from tvmconv.target.isa import ISAS

__all__ = ["SCHEDULES", "Schedule", "check", "choose_tile", "schedule"]


@dataclass(frozen=True)
class Schedule:
    """A name by which a kernel's tile is chosen."""

    name: str
    summary: str

    @property
    def isas(self) -> tuple[str, ...]:
        """The names of the instruction sets that it is for."""
        return tuple(isa.name for isa in ISAS)


SCHEDULES: tuple[Schedule, ...] = (
    Schedule("hand", "register tile by hand, tiles argued from the registers"),
    Schedule("tuned", "the same recipe, its tile from a tuning record"),
)


def check(name: str) -> None:
    """Raises ValueError for a name that no schedule has."""
    if name not in (names := [known.name for known in SCHEDULES]):
        raise ValueError(unknown("schedule", name, names))

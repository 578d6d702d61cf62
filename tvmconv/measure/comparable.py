"""Decides which times may be compared: those measured on cores with about the same available speed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# A round is at full speed if the cores offered this share of their best. Times are measured alike if what the cores
# offered differs by no more.
FULL_SPEED = 0.9


@dataclass(frozen=True)
class Timed:
    """A median time in seconds, and the rounds behind it: `offered` is the share of their best speed that the cores
    offered in the median round, `slow` says whether any of the rounds was below full speed."""

    seconds: float
    offered: float = 1.0
    slow: bool = False

    @property
    def at_full_speed(self) -> float:
        """An estimate of the seconds on cores that offer their best."""
        return self.seconds * self.offered


def time_of(row: dict[str, Any]) -> Timed:
    """The time of a row. Rows of earlier versions have no `offered`: there the share of rounds at full speed counts."""
    rounds = row.get("rounds") or {"n": 1, "slow": 0}  # other tools do not tell about their rounds
    offered = rounds.get("offered")
    if offered is None:
        offered = 1 - rounds["slow"] / rounds["n"]
    return Timed(row["seconds"]["median"], offered, rounds["slow"] > 0)


def are_alike(one: Timed, other: Timed) -> bool:
    """Whether both were measured alike, so that their ratio is one of speeds."""
    low, high = sorted((one.offered, other.offered))
    return low >= FULL_SPEED * high


def is_fastest(best: Timed, others: Iterable[Timed]) -> bool:
    """Whether the least of some times is that of the fastest: no other may be faster that the cores offered less."""
    return all(
        other.offered > best.offered or are_alike(best, other) or best.at_full_speed <= other.at_full_speed
        for other in others
    )

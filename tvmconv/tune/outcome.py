"""Outcome of a trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tvmconv.measure.interleaved import Measurement, Seconds
from tvmconv.target.tile import Tile


@dataclass(frozen=True)
class Outcome:
    """`seconds` are there if the status is ok, `reason` if it is not, or to be doubted."""

    status: Literal["ok", "wrong", "error"]
    reason: str | None = None
    seconds: Seconds | None = None

    @property
    def median(self) -> float:
        """Seconds of a call, infinite where there are none."""
        return self.seconds.median if self.seconds else float("inf")


Tell = Callable[[Tile, Outcome], None]  # called with each trial
Measured = tuple[int, Outcome]  # which of several candidates, and what became of it


def measured_outcome(result: Measurement) -> Outcome:
    if result.status == "ok":
        return Outcome("ok", result.reason, result.seconds)
    return failed(result.status, result.reason)


def failed(status: str, reason: str | None) -> Outcome:
    """The outcome of a kernel without a time, by the status of measuring or verifying."""
    return Outcome("wrong" if status == "mismatch" else "error", reason)

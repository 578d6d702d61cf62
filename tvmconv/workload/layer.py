"""A requested layer: what a row is about."""

from __future__ import annotations

from dataclasses import dataclass

from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class Layer:
    """A row of work. `source` is the workload or the batch file's word as given; a row with a `reason` is rejected, and
    its `shape` is None if it could not even be read. `count` is how often the layer occurs in its network."""

    source: str
    shape: ConvShape | None
    name: str | None = None
    count: int = 1
    reason: str | None = None

"""A named network: its table of convolutions and its source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class NetworkLayer:
    """A convolution of a network: the module's name where it first occurs, its shape, how often it occurs."""

    name: str
    shape: ConvShape
    count: int


@dataclass(frozen=True)
class Network:
    """A network's convolutions for one image. `definition` says by whom it is and whose layers these are.

    `table` has a line for each distinct convolution, in order of first occurrence: how often it occurs, the module's
    name where it first does, its descriptor.
    """

    name: str
    definition: str
    table: str

    @property
    def layers(self) -> tuple[NetworkLayer, ...]:
        """The distinct convolutions, in order of first occurrence."""
        return _layers(self.table)


@cache  # of a function: a cached_property holds a lock, which a forked child may find held (Python < 3.12)
def _layers(table: str) -> tuple[NetworkLayer, ...]:
    rows = (line.split() for line in table.strip().splitlines())
    return tuple(NetworkLayer(name, ConvShape.parse(f"{text}n{name}"), int(count)) for count, name, text in rows)

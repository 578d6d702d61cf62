"""What a named network is: its table of convolutions, and where they are defined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tvmconv.shape import ConvShape


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

    @cached_property
    def layers(self) -> tuple[NetworkLayer, ...]:
        """The distinct convolutions, in order of first occurrence."""
        rows = (line.split() for line in self.table.strip().splitlines())
        return tuple(NetworkLayer(name, ConvShape.parse(f"{text}n{name}"), int(count)) for count, name, text in rows)

"""Costs of register tiles on a core, by which a tile is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_PIXEL_BANDWIDTH = 26  # bytes a cycle from L2, for pixels in NCHW


@dataclass(frozen=True)
class GemmCosts:
    """Costs of one channel of a register tile in NHWC: MR rows by vectors of NR output channels.

    rows: vectors of NR → most rows that stay in registers with four channels unrolled, read off LLVM 22's code.
    gathered: the same where rows are held as vectors of channels; empty where that does not pay.
    ports: multiply-adds a cycle. latency: of a multiply-add, in cycles; a channel takes at least as long.
    weight, row: cycles a channel for each weight vector and each row beside the multiply-adds.
    l2_bandwidth: bytes a cycle. ahead: how far ahead of their use weights are fetched into L1, in elements.
    streams: whether fetching the next block of weights into L2 pays. longest: channels of one block of K at most.
    """

    rows: Mapping[int, int]
    latency: int
    weight: float
    row: float
    gathered: Mapping[int, int] = field(default_factory=dict)
    ports: int = 2
    l2_bandwidth: int = 26
    ahead: int = 256
    streams: bool = True
    longest: int = 2**31

    def cycles(self, vector_bytes: int, mr: int, vectors: int, of_row: int = 1) -> float:
        """Estimated cycles of one channel of one tile, by multiply-adds, two load ports, and weights from L2.

        of_row: channels that one load of a row brings.
        """
        multiply_adds, weights = mr * vectors / self.ports, vectors * vector_bytes / self.l2_bandwidth
        loads = (mr / of_row + vectors) / 2
        return max(multiply_adds, loads, self.latency, weights) + self.weight * vectors + self.row * mr


@dataclass(frozen=True)
class PixelCosts:
    """Costs of one channel of a register tile in NCHW: MR output channels by vectors of pixels.

    rows: vectors of pixels → most output channels that LLVM 22 keeps in registers. held: weights of one load.
    long: most output channels of a tile that unrolls four channels; a larger one unrolls two.
    row, vector: cycles a channel for each output channel and each vector beside the multiply-adds.
    tile: cycles to begin and end a tap.
    """

    rows: Mapping[int, int]
    held: int = 1
    long: int = 0
    row: float = 0.2
    vector: float = 0
    tile: int = 150

    def step(self, mr: int, vectors: int) -> int:
        """Channels unrolled."""
        return 4 if vectors == 1 and mr <= self.long else 2

    def cycles(self, vector_bytes: int, mr: int, vectors: int) -> float:
        """Estimated cycles of one channel of one tile, by two FMA ports, two load ports, and pixels from L2."""
        multiply_adds, loads, latency = mr * vectors / 2, (mr / self.held + vectors) / 2, 4
        pixels = vectors * vector_bytes / _PIXEL_BANDWIDTH
        return max(multiply_adds, loads, latency, pixels) + self.row * mr + self.vector * vectors

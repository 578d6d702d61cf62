"""Tiles for NCHW: MR output channels by V vectors of pixels.

A channel takes V loads of pixels and MR·V multiply-adds whose weights are broadcast from memory. With 32 registers
8x3 vectors leave 4 free, 6x4 and 9x3 as well. Without mask registers (before AVX-512) each vector's mask takes a
register too.

NEON's multiply-adds take weights by the element: four of them are one load. What a channel costs beside multiply-adds
is then its pixels, of which each vector is loaded and masked, so one vector by many output channels is best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from schedules.unsuited import Unsuited
from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.pixel_vectors import PixelView
from tvmconv.algorithms.microkernel.program import BYTES
from tvmconv.target.targets import Isa, Target
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class _Costs:
    """What tiles cost on an instruction set.

    rows: vectors of pixels → most output channels that LLVM 22 keeps in registers. held: weights of one load. long:
    output channels at most of a tile that has four channels unrolled in the place of two. row, vector: cycles a channel
    for each output channel and each vector beside the multiply-adds. tile: cycles to begin and end a tap.
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

    def cycles(self, isa: Isa, mr: int, vectors: int) -> float:
        """Estimated cycles of one channel of one tile: two FMA ports, two load ports, pixels from L2."""
        multiply_adds, loads, latency = mr * vectors / 2, (mr / self.held + vectors) / 2, 4
        pixels = vectors * isa.vector_bytes / _L2_BANDWIDTH
        return max(multiply_adds, loads, latency, pixels) + self.row * mr + self.vector * vectors


# By name, for want of another difference between the two that have 32 registers. NEON's by llvm-mca 22, as Neoverse N1.
_X86_16 = _Costs({1: 8, 2: 5, 3: 3})
_COSTS = {
    "sse4": _X86_16,
    "avx2": _X86_16,
    "avx512": _Costs({1: 14, 2: 13, 3: 9, 4: 6}),
    "neon": _Costs({1: 24, 2: 8, 3: 4, 4: 4}, held=4, long=16, row=0.025, vector=1, tile=60),
}
_L2_BANDWIDTH = 26  # bytes a cycle
_L2_PART = 0.3  # of L2 for what one block of pixels reads and a panel of weights writes
_LONGEST_BLOCK = 512  # channels of K at once, where K is one run of them


def choose_tile(algorithm: Algorithm, shape: ConvShape, target: Target, wanted: Tile | None) -> Tile:
    """As tiles.choose_tile: the wanted tile with its open sizes filled in, or the one with fewest estimated cycles."""
    isa = target.isa
    mr, nr = (wanted.mr, wanted.nr) if wanted else _least_waste(algorithm, shape, isa)
    view = algorithm.view(shape, Tile(mr, nr, vl=isa.lanes))
    assert isinstance(view, PixelView)
    layout, kc = view.layout, view.layout.channels
    if view.in_blocks and kc > _LONGEST_BLOCK:
        kc = _largest_divisor(kc, _LONGEST_BLOCK)
    kc = layout.channels if kc < _LONGEST_BLOCK // 8 else kc
    pixels = int(_L2_PART * target.l2) // ((kc + 2 * mr) * BYTES)
    chosen = Tile(
        mr,
        nr,
        kr=_largest_divisor(kc, _COSTS[isa.name].step(mr, nr // isa.lanes)),
        mc=max(1, pixels // nr) * nr,
        kc=0 if kc == layout.channels else kc,
        pf=0,
        st=0,
        vl=isa.lanes,
    )
    tile = replace(chosen, **wanted.decided) if wanted else chosen
    if tile.vl % isa.lanes or nr % tile.vl:
        raise ValueError(f"tile {tile}: NR must be a multiple of the {isa.lanes} lanes of {isa.name}")
    if not isa.fits(tile):
        fitting = "x".join(map(str, _least_waste(algorithm, shape, isa)))
        raise ValueError(
            f"tile {tile} needs {isa.registers_of(tile)} vector registers and {isa.name} has {isa.registers}; "
            f"{fitting} would fit"
        )
    if layout.channels % (tile.kc or layout.channels) or (tile.kc or layout.channels) % tile.kr:
        raise Unsuited(f"tile {tile}: KC must divide the layer's {layout.channels} channels, and KR must divide KC")
    if not view.in_blocks and tile.kc not in (0, layout.channels):
        raise Unsuited(f"tile {tile}: {algorithm.name} does not cut the channels of this layer into blocks; use KC 0")
    return tile


def _least_waste(algorithm: Algorithm, shape: ConvShape, isa: Isa) -> tuple[int, int]:
    """MR and NR with the fewest estimated cycles for the layer, tails computed in full; of equals the tallest."""
    costs = _COSTS[isa.name]

    def cost(mr: int, vectors: int) -> float:
        tile = Tile(mr, vectors * isa.lanes, vl=isa.lanes)
        layout = algorithm.view(shape, tile).layout
        tiles = algorithm.work(shape, tile) / layout.taps * layout.panels
        return tiles * layout.taps * (layout.channels * costs.cycles(isa, mr, vectors) + costs.tile)

    choices = [
        (mr, vectors)
        for vectors, most in costs.rows.items()
        for mr in range(1, most + 1)
        if mr % costs.held == 0 or mr < costs.held
    ]
    mr, vectors = min(choices, key=lambda choice: (round(cost(*choice), 6), -choice[0]))
    return mr, vectors * isa.lanes


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(max(1, min(number, limit)), 0, -1) if number % d == 0)

"""Tiles for NCHW: MR output channels by V vectors of pixels.

A channel takes V loads of pixels and MR·V multiply-adds whose weights are broadcast from memory. With 32 registers
8x3 vectors leave 4 free, 6x4 and 9x3 as well. Without mask registers (before AVX-512) each vector's mask takes a
register too.
"""

from __future__ import annotations

from dataclasses import replace

from schedules.unsuited import Unsuited
from tvmconv.algorithms.ir import BYTES, Algorithm
from tvmconv.algorithms.pixels import PixelView
from tvmconv.shape import ConvShape
from tvmconv.target import Isa, Target
from tvmconv.tile import Tile

# Vectors of pixels → most output channels that LLVM 22 keeps in registers.
_ROWS = {
    16: {1: 8, 2: 5, 3: 3},
    32: {1: 14, 2: 13, 3: 9, 4: 6},
}
_STEP = 2  # channels unrolled
_L2_BANDWIDTH = 26  # bytes a cycle
_L2_PART = 0.3  # of L2 for what one block of pixels reads and a panel of weights writes
_LONGEST_BLOCK = 512  # channels of K at once, where K is one run of them
_ROW_COST, _TILE_COST = 0.2, 150  # cycles a channel for each row beside its FMAs; cycles to begin and end a tap


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
        kr=_largest_divisor(kc, _STEP),
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

    def cost(mr: int, vectors: int) -> float:
        tile = Tile(mr, vectors * isa.lanes, vl=isa.lanes)
        layout = algorithm.view(shape, tile).layout
        tiles = algorithm.work(shape, tile) / layout.taps * layout.panels
        return tiles * layout.taps * (layout.channels * _cycles(isa, mr, vectors) + _TILE_COST)

    choices = [(mr, vectors) for vectors, most in _ROWS[isa.registers].items() for mr in range(1, most + 1)]
    mr, vectors = min(choices, key=lambda choice: (round(cost(*choice), 6), -choice[0]))
    return mr, vectors * isa.lanes


def _cycles(isa: Isa, mr: int, vectors: int) -> float:
    """Estimated cycles of one channel of one tile: two FMA ports, two load ports, pixels from L2."""
    fma, loads, latency, pixels = mr * vectors / 2, (mr + vectors) / 2, 4, vectors * isa.vector_bytes / _L2_BANDWIDTH
    return max(fma, loads, latency, pixels) + _ROW_COST * mr


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(max(1, min(number, limit)), 0, -1) if number % d == 0)

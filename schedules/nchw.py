"""Tiles for NCHW: MR output channels by V vectors of pixels.

A channel takes V loads of pixels and MR·V multiply-adds whose weights are broadcast from memory. With 32 registers
8x3 vectors leave 4 free, 6x4 and 9x3 as well. Without mask registers (before AVX-512) each vector's mask takes a
register too.

NEON's multiply-adds take weights by the element: four of them are one load. What a channel costs beside multiply-adds
is then its pixels, of which each vector is loaded and masked, so one vector by many output channels is best.
"""

from __future__ import annotations

from dataclasses import replace

from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.pixel_vectors import PixelView
from tvmconv.algorithms.microkernel.program import BYTES
from tvmconv.schedules.unsuited import Unsuited
from tvmconv.target.isa import Isa
from tvmconv.target.targets import Target
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

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
        kr=_largest_divisor(kc, isa.pixels.step(mr, nr // isa.lanes)),
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
    costs = isa.pixels

    def cost(mr: int, vectors: int) -> float:
        tile = Tile(mr, vectors * isa.lanes, vl=isa.lanes)
        layout = algorithm.view(shape, tile).layout
        tiles = algorithm.work(shape, tile) / layout.taps * layout.panels
        return tiles * layout.taps * (layout.channels * costs.cycles(isa.vector_bytes, mr, vectors) + costs.tile)

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

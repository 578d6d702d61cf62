"""Tiles for NCHW: output channels by V vectors of pixels.

A channel takes V loads of pixels, and for each output channel V multiply-adds whose weight is broadcast from memory.
With 32 registers 8x3 vectors leave 4 free, 6x4 and 9x3 as well. Without mask registers (before AVX-512) each vector's
mask takes a register too.

NEON's multiply-adds take weights by the element: four of them are one load. What a channel costs beside multiply-adds
is then its pixels, of which each vector is loaded and masked, so one vector by many output channels is best.
"""

from __future__ import annotations

from dataclasses import replace

from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.pixel_vectors import PixelView
from tvmconv.schedules.unsuited import Unsuited
from tvmconv.target.isa import Isa
from tvmconv.target.targets import Target
from tvmconv.target.tile import NchwTile, Tile
from tvmconv.workload.shape import ConvShape

_L2_PART = 0.3  # of L2 for what one block of pixels reads and a panel of weights writes
_LONGEST_BLOCK = 512  # channels of K at once, where K is one run of them


def choose_tile(algorithm: Algorithm, shape: ConvShape, target: Target, wanted: Tile | None) -> Tile:
    """As tiles.choose_tile: the wanted tile with its open sizes filled in, or the one with fewest estimated cycles."""
    isa, dtype = target.isa, algorithm.dtype
    lanes = isa.lanes(dtype)
    channels, pixels = (wanted.mr, wanted.nr) if wanted else _least_waste(algorithm, shape, isa)
    view = algorithm.view(shape, Tile(channels, pixels, lanes=lanes))
    assert isinstance(view, PixelView)
    layout, kc = view.layout, view.layout.channels
    if view.in_blocks and kc > _LONGEST_BLOCK:
        kc = _largest_divisor(kc, _LONGEST_BLOCK)
    kc = layout.channels if kc < _LONGEST_BLOCK // 8 else kc
    in_l2 = int(_L2_PART * target.l2) // ((kc + 2 * channels) * algorithm.dtype.bytes)
    chosen = NchwTile(
        channels,
        pixels,
        kr=_largest_divisor(kc, isa.pixels.step(channels, pixels // lanes)),
        block=max(1, in_l2 // pixels) * pixels,
        kc=0 if kc == layout.channels else kc,
        lanes=lanes,
    ).spelled
    tile = replace(chosen, **wanted.decided) if wanted else chosen
    if tile.lanes % lanes or pixels % tile.lanes:
        raise ValueError(f"tile {tile}: NR must be a multiple of the {lanes} lanes of {isa.name}")
    if not isa.fits(tile, dtype):
        fitting = "x".join(map(str, _least_waste(algorithm, shape, isa)))
        raise ValueError(
            f"tile {tile} needs {isa.registers_of(tile, dtype)} vector registers and {isa.name} has {isa.registers}; "
            f"{fitting} would fit"
        )
    if layout.channels % (tile.kc or layout.channels) or (tile.kc or layout.channels) % tile.kr:
        raise Unsuited(f"tile {tile}: KC must divide the layer's {layout.channels} channels, and KR must divide KC")
    if not view.in_blocks and tile.kc not in (0, layout.channels):
        raise Unsuited(f"tile {tile}: {algorithm.name} does not cut the channels of this layer into blocks; use KC 0")
    return tile


def _least_waste(algorithm: Algorithm, shape: ConvShape, isa: Isa) -> tuple[int, int]:
    """The output channels and pixels with the fewest estimated cycles for the layer, tails computed in full; of equals
    the most channels."""
    costs, lanes = isa.pixels, isa.lanes(algorithm.dtype)

    def cost(channels: int, vectors: int) -> float:
        tile = Tile(channels, vectors * lanes, lanes=lanes)
        layout = algorithm.view(shape, tile).layout
        tiles = algorithm.work(shape, tile) / layout.taps * layout.panels
        return tiles * layout.taps * (layout.channels * costs.cycles(isa.vector_bytes, channels, vectors) + costs.tile)

    choices = [
        (channels, vectors)
        for vectors, most in costs.rows.items()
        for channels in range(1, most + 1)
        if channels % costs.held == 0 or channels < costs.held
    ]
    channels, vectors = min(choices, key=lambda choice: (round(cost(*choice), 6), -choice[0]))
    return channels, vectors * lanes


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(max(1, min(number, limit)), 0, -1) if number % d == 0)

"""Direct convolution: the loop nest itself, without extra memory, for groups and depthwise layers too.

    for n, oh, ow, oc:
        y[n, oh, ow, oc] = bias[oc]
        for r, s, ic where x[n, oh·SH + r·DH − PH, ow·SW + s·DW − PW] exists:
            y[n, oh, ow, oc] += x[n, oh·SH + r·DH − PH, ow·SW + s·DW − PW, ic] · w[oc, ic, r, s]

Schedule: a register tile holds MR output pixels that need the same taps by NR output channels. Taps outside the input
are left out of the ranges of r and s, so that padding costs no test in the inner loop (regions.py). Kinds of tiles:

- general: each pixel has an address;
- contiguous: where K ≤ 256, an interior tile inside one row has one address and a row stride;
- remainder: the few pixels that fill no tile of their region; all taps are run, and a pixel reads zeros, which are kept
  with the weights, for a tap outside the input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from tvmconv.algorithms import depthwise
from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.gemm_nchw import Taps, pixel_product, product_program
from tvmconv.algorithms.microkernel.gemm_nhwc import MatrixView
from tvmconv.algorithms.microkernel.packed_buffers import packed_buffers
from tvmconv.algorithms.microkernel.packing import PackedLayout, pack_function
from tvmconv.algorithms.microkernel.partition import Partition, tiles_of_block
from tvmconv.algorithms.microkernel.pixel_vectors import PixelView
from tvmconv.algorithms.microkernel.program import ON_STACK, Program, no_preparation, phase_function
from tvmconv.algorithms.microkernel.register_tile import Panel, Run, is_short, multiply_block
from tvmconv.algorithms.microkernel.write_back import Destination, write_back_block
from tvmconv.algorithms.regions import COUNT, END, OX, OY, R0, R1, S0, S1, Tiles, allocated_location, locate_blocks
from tvmconv.target.tile import NchwTile, Tile
from tvmconv.workload.shape import ConvShape


class TileKind(Enum):
    """Addressing of a tile's pixels; the value is the suffix of its blocks' names."""

    GENERAL = ""
    CONTIGUOUS = "_contiguous"
    REMAINDER = "_remainder"


@dataclass(frozen=True)
class Unit:
    """Image, group, panel and block of K of a tile, as TIR."""

    n: Any
    g: Any
    p: Any
    kb: Any


class Direct(Algorithm):
    """No workspace."""

    name = "direct"
    layout = "nhwc"
    summary = "the loop nest, groups and depthwise included"

    def rejects(self, shape: ConvShape) -> str | None:
        return depthwise.rejects(shape) if shape.depthwise else None

    def view(self, shape: ConvShape, tile: Tile) -> MatrixView:
        if shape.depthwise:
            return MatrixView(1, shape.m, depthwise.packed_layout(shape, tile, self.dtype))
        layout = PackedLayout(shape.g, shape.ocg, shape.taps, shape.icg, tile, self.dtype)
        zeros = max(layout.kc, tile.nr) if Tiles.of(shape, tile.mr).remainders else 0
        return MatrixView(1, shape.m, replace(layout, zeros=zeros))

    def work(self, shape: ConvShape, tile: Tile) -> float:
        return Tiles.of(shape, tile.mr).work(shape)

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        if shape.depthwise:
            return depthwise.program(shape, tile, self.dtype)
        view = self.view(shape, tile)
        tiles = Tiles.of(shape, tile.mr)
        return Program(
            dtype=self.dtype,
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": no_preparation(self.dtype),
                "run": loop_nest(shape, view.layout, tiles),
            },
            phases=(partition(shape, view.layout, tiles).phase("run"),),
            images=1,
            packed_bytes=view.layout.bytes,
        )


class DirectNchw(Algorithm):
    """No workspace. Taps over the edge are masked lanes; depthwise has tiles of one output channel."""

    name = "direct"
    layout = "nchw"
    summary = Direct.summary

    def rejects(self, shape: ConvShape) -> str | None:
        return None

    def view(self, shape: ConvShape, tile: Tile) -> PixelView:
        sizes = NchwTile.of(tile)
        layout = PackedLayout(shape.g, shape.ocg, shape.taps, shape.icg, sizes, self.dtype)
        return PixelView(shape, layout, sizes, in_blocks=shape.taps == 1)

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view = self.view(shape, tile)
        return product_program(shape, view, pixel_product("run", view, Taps.ALL, steps=view.layout.k_blocks))


def partition(shape: ConvShape, layout: PackedLayout[Tile], tiles: Tiles) -> Partition:
    """The order of the tiles of all images."""
    block = tiles_of_block(tiles.count, layout.tile)
    return Partition(shape.mb * layout.groups, layout.panels, tiles.count, block, layout.k_blocks)


def loop_nest(shape: ConvShape, layout: PackedLayout[Tile], tiles: Tiles) -> Any:
    """The phase that computes units first … last−1 of the partition."""
    from tvm.script import tirx as T

    MR, D = layout.tile.mr, layout.dtype
    G, P, KB, *_ = layout.weights_shape
    order = partition(shape, layout, tiles)
    TB, BT = order.row_ranges, order.block_tiles
    # Code of their own makes a kernel take half as long again to compile, which only short sums repay.
    CONTIGUOUS = tiles.columns.inside >= MR and is_short(layout)
    facts, pixels = locate_blocks(shape, tiles)
    steps = tiles.taps(shape) // TB * layout.kc // layout.tile.kr
    general, contiguous, remainder = (_tile_block(shape, layout, tiles, steps, kind) for kind in TileKind)

    @T.inline
    def run(x, operand, packed, y, workspace, address, image, first, last):
        buffers = packed_buffers(layout, packed)
        Y = T.decl_buffer((shape.mb * shape.m, shape.oc), D.storage, data=y, align=D.bytes)
        place = allocated_location(MR)
        ahead = T.alloc_buffer((1,), "int32", scope="local", annotations=ON_STACK)
        for part, kb in T.grid(order.touched(first, last), KB):
            block: T.let[T.int32] = order.block(part, first)
            before: T.let[T.int32] = order.begin(block, first)
            ahead[0] = ((block // (P * TB) % G * P + block % P) * KB + kb + 1) * layout.block
            for it in range(order.end(block, last) - before):
                with T.sblock("tile"):
                    u = T.axis.spatial(order.blocks, block)
                    vkb = T.axis.reduce(KB, kb)
                    vit = T.axis.spatial(BT, before + it)
                    T.reads()
                    T.writes()
                    p: T.let[T.int32] = u % P
                    g: T.let[T.int32] = u // (P * TB) % G
                    n: T.let[T.int32] = u // (P * TB * G)
                    t: T.let[T.int32] = u // P % TB * BT + vit
                    unit = T.meta_var(Unit(n, g, p, vkb))
                    facts(place, t)
                    if CONTIGUOUS and t < tiles.interior and place.facts[OX] + MR <= place.facts[END]:
                        place.oy[0] = place.facts[OY]
                        place.ox[0] = place.facts[OX]
                        contiguous(x, operand, buffers, Y, ahead, place, unit)
                    else:
                        pixels(place, t)
                        if tiles.remainders == 0 or t < tiles.edges:
                            general(x, operand, buffers, Y, ahead, place, unit)
                        else:
                            remainder(x, operand, buffers, Y, ahead, place, unit)

    return phase_function("run", run, D)


def _tile_block(shape: ConvShape, layout: PackedLayout[Tile], tiles: Tiles, steps: int, kind: TileKind) -> Any:
    """A macro compute(x, operand, buffers, Y, ahead, place, unit): a located tile, from addresses to write-back."""
    from tvm.script import tirx as T

    is_remainder, is_contiguous, suffix = kind is TileKind.REMAINDER, kind is TileKind.CONTIGUOUS, kind.value
    MR, NR = tiles.remainder_height if is_remainder else tiles.mr, layout.tile.nr
    layout = replace(layout, tile=replace(layout.tile, mr=MR))
    D, ELEMENT = layout.dtype, layout.dtype.bytes
    KR, KC, KB, TAPS, P = layout.tile.kr, layout.kc, layout.k_blocks, layout.taps, layout.panels
    KW, DH, DW = shape.kw, shape.dh + 1, shape.dw + 1
    IH, IW, IC, OW = shape.ih, shape.iw, shape.ic, shape.ow
    # A row of taps is one run of channels where these lie one after the other in x; else each tap is a run.
    MERGED = DW == 1 and layout.groups == 1 and KB == 1 and not is_remainder
    ROWS = 1 if is_contiguous else MR
    WHOLE = {R0: 0, R1: shape.kh, S0: 0, S1: KW, COUNT: MR}
    multiply = multiply_block(layout, steps, row_stride=shape.sw * IC if is_contiguous else 0, suffix=suffix)
    row_of = (lambda pixel, i: pixel[0] + i) if is_contiguous else (lambda pixel, i: pixel[i])
    write_back = write_back_block(layout, row_of, suffix=suffix)

    def fact(place: Any, which: int) -> Any:
        """A bound of the taps, or the number of pixels; a contiguous tile has all of them."""
        return WHOLE[which] if is_contiguous else place.facts[which]

    @T.inline
    def compute(x, operand, buffers, Y, ahead, place, unit):
        acc = T.alloc_buffer((MR, NR), D.accumulator, scope="local", annotations=ON_STACK)
        pixel = T.alloc_buffer((ROWS,), "int64", scope="local", annotations=ON_STACK)
        row = T.alloc_buffer((ROWS,), "int64", scope="local", annotations=ON_STACK)
        run_row = T.alloc_buffer((ROWS,), "int64", scope="local", annotations=ON_STACK)
        channel: T.let[T.int32] = unit.g * layout.channels + unit.kb * KC
        panel: T.let[T.int32] = ((unit.g * P + unit.p) * KB + unit.kb) * TAPS
        r0: T.let[T.int32] = fact(place, R0)
        r1: T.let[T.int32] = fact(place, R1)
        s0: T.let[T.int32] = fact(place, S0)
        s1: T.let[T.int32] = fact(place, S1)
        for i in range(ROWS):
            with T.sblock(f"rows{suffix}"):
                vi = T.axis.spatial(ROWS, i)
                T.reads(place.oy[vi], place.ox[vi])
                T.writes(row[vi], pixel[vi])
                h: T.let[T.int64] = T.cast(unit.n * IH + place.oy[vi] * shape.sh - shape.ph, "int64")
                w: T.let[T.int32] = place.ox[vi] * shape.sw - shape.pw
                row[vi] = x + ((h * IW + w) * IC + channel) * ELEMENT
                pixel[vi] = T.cast(unit.n * shape.m + place.oy[vi] * OW + place.ox[vi], "int64")
        for r, q in T.grid(r1 - r0, 1 if MERGED else s1 - s0):
            for i in range(ROWS):
                with T.sblock(f"run_rows{suffix}"):
                    vi, vr, vq = T.axis.remap("SSS", [i, r, q])
                    T.reads(row[vi])
                    T.writes(run_row[vi])
                    tap: T.let[T.int32] = (r0 + vr) * DH * IW + (s0 + vq) * DW
                    run_row[vi] = row[vi] + T.cast(tap, "int64") * (IC * ELEMENT)
            if is_remainder:
                for i in range(MR):
                    with T.sblock(f"zero_rows{suffix}"):
                        vi, vr, vq = T.axis.remap("SSS", [i, r, q])
                        T.reads(place.oy[vi], place.ox[vi])
                        T.writes(run_row[vi])
                        h: T.let[T.int32] = place.oy[vi] * shape.sh - shape.ph + vr * DH
                        w: T.let[T.int32] = place.ox[vi] * shape.sw - shape.pw + vq * DW
                        if T.Or(T.Or(h < 0, h >= IH), T.Or(w < 0, w >= IW)):
                            run_row[vi] = operand + layout.zeros_offset * ELEMENT
            start: T.let[T.int64] = T.cast((panel + (r0 + r) * KW + s0 + q) * KC, "int64")
            length: T.let[T.int32] = (s1 - s0) * (IC // KR) if MERGED else KC // KR
            multiply(acc, buffers, Panel(unit.g, unit.p), run_row, ahead, Run(start, 0, r, q, length))
        write_back(acc, buffers, Panel(unit.g, unit.p), Destination(Y, pixel, (0, fact(place, COUNT))), unit.kb)

    return compute

"""Direct convolution: the loop nest itself, without extra memory, for groups and depthwise layers too.

A register tile holds MR output pixels that need the same taps, so that padding costs no test in the inner loop: taps
outside the input are left out of the loops' ranges (regions.py). Where sums are short, the interior's tiles that lie in
one row are straight ones, whose pixels one address finds. The few pixels that fill no such tile share mixed ones, which
run all taps, and in which a pixel without a tap reads zeros, kept with the weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tvmconv.algorithms import depthwise
from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.gemm_nchw import Taps, pixel_product, product_program
from tvmconv.algorithms.microkernel.gemm_nhwc import MatrixView
from tvmconv.algorithms.microkernel.packing import PackedLayout, pack_function
from tvmconv.algorithms.microkernel.partition import Sweep, tiles_of_block
from tvmconv.algorithms.microkernel.pixel_vectors import PixelView, swapped
from tvmconv.algorithms.microkernel.program import BYTES, ON_STACK, Program, no_preparation, phase_function
from tvmconv.algorithms.microkernel.register_tile import is_short, multiply_block
from tvmconv.algorithms.microkernel.write_back import write_back_block
from tvmconv.algorithms.regions import COUNT, END, FACTS, OX, OY, R0, R1, S0, S1, Tiles, locate_blocks
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape


class Direct(Algorithm):
    """No workspace."""

    name = "direct"
    layout = "nhwc"
    summary = "the loop nest, groups and depthwise included"

    def rejects(self, shape: ConvShape) -> str | None:
        return depthwise.rejects(shape) if shape.depthwise else None

    def view(self, shape: ConvShape, tile: Tile) -> MatrixView:
        if shape.depthwise:
            return MatrixView(1, shape.m, depthwise.packed_layout(shape, tile))
        layout = PackedLayout(shape.g, shape.ocg, shape.taps, shape.icg, tile)
        zeros = max(layout.kc, tile.nr) if Tiles.of(shape, tile.mr).mixed else 0
        return MatrixView(1, shape.m, replace(layout, zeros=zeros))

    def work(self, shape: ConvShape, tile: Tile) -> float:
        return Tiles.of(shape, tile.mr).work(shape)

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        if shape.depthwise:
            return depthwise.program(shape, tile)
        view = self.view(shape, tile)
        tiles = Tiles.of(shape, tile.mr)
        return Program(
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": no_preparation(),
                "run": loop_nest(shape, view.layout, tiles),
            },
            phases=(sweep(shape, view.layout, tiles).phase("run"),),
            images=1,
            packed_bytes=view.layout.elements * BYTES,
        )


class DirectNchw(Algorithm):
    """No workspace. Taps over the edge are masked lanes; depthwise has tiles of one output channel."""

    name = "direct"
    layout = "nchw"
    summary = Direct.summary

    def rejects(self, shape: ConvShape) -> str | None:
        return None

    def view(self, shape: ConvShape, tile: Tile) -> PixelView:
        return PixelView(
            shape,
            PackedLayout(shape.g, shape.ocg, shape.taps, shape.icg, swapped(tile)),
            tile,
            in_blocks=shape.taps == 1,
        )

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view = self.view(shape, tile)
        return product_program(shape, view, pixel_product("run", view, Taps.ALL, steps=view.layout.k_blocks))


def sweep(shape: ConvShape, layout: PackedLayout, tiles: Tiles) -> Sweep:
    """The tiles of all images, as they are counted."""
    block = tiles_of_block(tiles.count, layout.tile)
    return Sweep(shape.mb * layout.groups, layout.panels, tiles.count, block, layout.k_blocks)


def loop_nest(shape: ConvShape, layout: PackedLayout, tiles: Tiles) -> Any:
    """The phase that computes units first … last−1 of the sweep."""
    from tvm.script import tirx as T

    MR = layout.tile.mr
    G, P, KB, *_ = layout.weights_shape
    order = sweep(shape, layout, tiles)
    TB, BT = order.blocks, order.block
    # In short sums alone, as a kernel with code of their own takes half as long again to compile.
    STRAIGHT = tiles.columns.inside >= MR and is_short(layout)
    facts, pixels = locate_blocks(shape, tiles)
    steps = tiles.taps(shape) // TB * layout.kc // layout.tile.kr
    compute, compute_straight, compute_mixed = (
        _tile_block(shape, layout, tiles, steps, kind) for kind in ("", "straight", "mixed")
    )

    @T.inline
    def run(x, operand, packed, y, workspace, address, image, first, last):
        bounds = T.decl_buffer((2,), "float32", data=packed, align=4)
        bias = T.decl_buffer(layout.bias_shape, "float32", data=packed, elem_offset=layout.bias_offset, align=4)
        weights = T.decl_buffer(
            (layout.weight_elements,), "float32", data=packed, elem_offset=layout.weights_offset, align=4
        )
        Y = T.decl_buffer((shape.mb * shape.m, shape.oc), "float32", data=y, align=4)
        oy = T.alloc_buffer((MR,), "int32", scope="local", annotations=ON_STACK)
        ox = T.alloc_buffer((MR,), "int32", scope="local", annotations=ON_STACK)
        at = T.alloc_buffer((len(FACTS),), "int32", scope="local", annotations=ON_STACK)
        ahead = T.alloc_buffer((1,), "int32", scope="local", annotations=ON_STACK)
        for part, kb in T.grid(order.touched(first, last), KB):
            segment: T.let[T.int32] = order.segment(part, first)
            before: T.let[T.int32] = order.before(segment, first)
            ahead[0] = ((segment // (P * TB) % G * P + segment % P) * KB + kb + 1) * layout.block
            for it in range(order.behind(segment, last) - before):
                with T.sblock("tile"):
                    u = T.axis.spatial(order.segments, segment)
                    vkb = T.axis.reduce(KB, kb)
                    vit = T.axis.spatial(BT, before + it)
                    T.reads()
                    T.writes()
                    p: T.let[T.int32] = u % P
                    g: T.let[T.int32] = u // (P * TB) % G
                    n: T.let[T.int32] = u // (P * TB * G)
                    t: T.let[T.int32] = u // P % TB * BT + vit
                    facts(at, t)
                    if STRAIGHT and t < tiles.interior and at[OX] + MR <= at[END]:
                        oy[0] = at[OY]
                        ox[0] = at[OX]
                        compute_straight(x, operand, weights, bias, bounds, Y, ahead, at, oy, ox, n, g, p, vkb)
                    else:
                        pixels(at, t, oy, ox)
                        if tiles.mixed == 0 or t < tiles.edges:
                            compute(x, operand, weights, bias, bounds, Y, ahead, at, oy, ox, n, g, p, vkb)
                        else:
                            compute_mixed(x, operand, weights, bias, bounds, Y, ahead, at, oy, ox, n, g, p, vkb)

    return phase_function("run", run)


def _tile_block(shape: ConvShape, layout: PackedLayout, tiles: Tiles, steps: int, kind: str) -> Any:
    """A macro: one tile as it has been located, from its rows' addresses to the write-back.

    Of a straight tile it uses the first pixel's address alone.
    """
    from tvm.script import tirx as T

    mixed, straight = kind == "mixed", kind == "straight"
    MR, NR = tiles.mixed_height if mixed else tiles.mr, layout.tile.nr
    layout = replace(layout, tile=replace(layout.tile, mr=MR))
    KR, KC, KB, TAPS, P = layout.tile.kr, layout.kc, layout.k_blocks, layout.taps, layout.panels
    KW, DH, DW = shape.kw, shape.dh + 1, shape.dw + 1
    IH, IW, IC, OW = shape.ih, shape.iw, shape.ic, shape.ow
    # Where neighbouring taps' channels lie together in x, a row of taps is one run; else each tap is a run of its own.
    MERGED = DW == 1 and layout.groups == 1 and KB == 1 and not mixed
    suffix = f"_{kind}" if kind else ""
    ROWS = 1 if straight else MR
    WHOLE = {R0: 0, R1: shape.kh, S0: 0, S1: KW, COUNT: MR}
    multiply = multiply_block(layout, steps, apart=shape.sw * IC if straight else 0, suffix=suffix)
    place = (lambda pixel, i: pixel[0] + i) if straight else (lambda pixel, i: pixel[i])
    write_back = write_back_block(layout, place, suffix=suffix)

    def fact(at: Any, which: int) -> Any:
        """A range of taps or the number of pixels, which are whole in a straight tile."""
        return WHOLE[which] if straight else at[which]

    @T.inline
    def compute(x, operand, weights, bias, bounds, Y, ahead, at, oy, ox, n, g, p, kb):
        acc = T.alloc_buffer((MR, NR), "float32", scope="local", annotations=ON_STACK)
        pixel = T.alloc_buffer((ROWS,), "int64", scope="local", annotations=ON_STACK)
        row = T.alloc_buffer((ROWS,), "int64", scope="local", annotations=ON_STACK)
        run_row = T.alloc_buffer((ROWS,), "int64", scope="local", annotations=ON_STACK)
        channel: T.let[T.int32] = g * layout.channels + kb * KC
        panel: T.let[T.int32] = ((g * P + p) * KB + kb) * TAPS
        r0: T.let[T.int32] = fact(at, R0)
        r1: T.let[T.int32] = fact(at, R1)
        s0: T.let[T.int32] = fact(at, S0)
        s1: T.let[T.int32] = fact(at, S1)
        for i in range(ROWS):
            with T.sblock(f"rows{suffix}"):
                vi = T.axis.spatial(ROWS, i)
                T.reads(oy[vi], ox[vi])
                T.writes(row[vi], pixel[vi])
                h: T.let[T.int64] = T.cast(n * IH + oy[vi] * shape.sh - shape.ph, "int64")
                w: T.let[T.int32] = ox[vi] * shape.sw - shape.pw
                row[vi] = x + ((h * IW + w) * IC + channel) * BYTES
                pixel[vi] = T.cast(n * shape.m + oy[vi] * OW + ox[vi], "int64")
        for r, q in T.grid(r1 - r0, 1 if MERGED else s1 - s0):
            for i in range(ROWS):
                with T.sblock(f"run_rows{suffix}"):
                    vi, vr, vq = T.axis.remap("SSS", [i, r, q])
                    T.reads(row[vi])
                    T.writes(run_row[vi])
                    tap: T.let[T.int32] = (r0 + vr) * DH * IW + (s0 + vq) * DW
                    run_row[vi] = row[vi] + T.cast(tap, "int64") * (IC * BYTES)
            if mixed:
                for i in range(MR):
                    with T.sblock(f"zero_rows{suffix}"):
                        vi, vr, vq = T.axis.remap("SSS", [i, r, q])
                        T.reads(oy[vi], ox[vi])
                        T.writes(run_row[vi])
                        h: T.let[T.int32] = oy[vi] * shape.sh - shape.ph + vr * DH
                        w: T.let[T.int32] = ox[vi] * shape.sw - shape.pw + vq * DW
                        if T.Or(T.Or(h < 0, h >= IH), T.Or(w < 0, w >= IW)):
                            run_row[vi] = operand + layout.zeros_offset * BYTES
            start: T.let[T.int64] = T.cast((panel + (r0 + r) * KW + s0 + q) * KC, "int64")
            length: T.let[T.int32] = (s1 - s0) * (IC // KR) if MERGED else KC // KR
            multiply(acc, bias, g, p, run_row, weights, ahead, start, 0, r, q, length)
        write_back(acc, Y, bias, bounds, g, p, pixel, (0, fact(at, COUNT)), kb)

    return compute

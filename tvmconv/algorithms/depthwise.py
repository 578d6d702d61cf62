"""Depthwise convolution: each channel by itself, vectors along the channels, no extra memory.

    for n, oh, ow, c:
        y[n, oh, ow, c] = bias[c]
        for r, s where x[n, oh·SH + r·DH − PH, ow·SW + s·DW − PW] exists:
            y[n, oh, ow, c] += x[n, oh·SH + r·DH − PH, ow·SW + s·DW − PW, c] · w[c, r, s]

Schedule: an output row is cut into tiles of MR pixels by a panel of NR channels. Padding costs nothing: rows of taps
outside the input are left out of the loop over them, and along the width it is known at compile time which taps each
pixel has, so that the first and the last tiles of a row are code of their own. All taps of a row are unrolled:
neighbouring pixels share their inputs in registers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from tvmconv.algorithms.microkernel.packed_buffers import packed_buffers
from tvmconv.algorithms.microkernel.packing import PackedLayout, pack_function
from tvmconv.algorithms.microkernel.partition import Partition
from tvmconv.algorithms.microkernel.program import ON_STACK, Program, no_preparation, phase_function
from tvmconv.target.dtype import DType
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

# Taps that are unrolled at most, in tiles of about so many pixels: a kernel of 2,500 takes 10 s to compile.
_MOST_UNROLLED, _TYPICAL = 4096, 8


@dataclass(frozen=True)
class Stretch:
    """Neighbouring tiles of an output row that are one piece of code: their pixels have the same taps."""

    start: int  # first output pixel
    tiles: int
    pixels: int  # of one tile


def stretches(shape: ConvShape, mr: int) -> list[Stretch]:
    """An output row in tiles of MR pixels, the last one with what is left."""

    def code(start: int) -> tuple[range, ...]:
        return tuple(taps_inside(shape, pixel) for pixel in range(start, min(start + mr, shape.ow)))

    alike = [list(tiles) for _, tiles in groupby(range(0, shape.ow, mr), code)]
    return [Stretch(starts[0], len(starts), min(mr, shape.ow - starts[0])) for starts in alike]


def taps_inside(shape: ConvShape, pixel: int) -> range:
    """A pixel's taps of a row that fall on a column of the input."""
    start, step = pixel * shape.sw - shape.pw, shape.dw + 1
    first, end = max(0, -(start // step)), min(shape.kw, (shape.iw - 1 - start) // step + 1)
    return range(first, max(first, end)) if first < shape.kw else range(0)


def rejects(shape: ConvShape) -> str | None:
    """Why no kernel is made of the layer, or None: each stretch has the taps of its pixels unrolled."""
    pixels = [each.start + pixel for each in stretches(shape, _TYPICAL) for pixel in range(each.pixels)]
    unrolled = sum(len(taps_inside(shape, pixel)) for pixel in pixels)
    if unrolled <= _MOST_UNROLLED:
        return None
    return f"direct would unroll {unrolled} taps of a depthwise row in nhwc, {_MOST_UNROLLED} at most; use layout nchw"


def inside(shape: ConvShape, pixel: Any, tap: Any) -> Any:
    """Whether a pixel's tap falls on a column of the input: a bool for ints, TIR for TIR."""
    column = pixel * shape.sw - shape.pw + tap * (shape.dw + 1)
    return (column >= 0) & (column < shape.iw)


def packed_layout(shape: ConvShape, tile: Tile, dtype: DType) -> PackedLayout[Tile]:
    """One group, whose output channels are all channels, with one input channel each."""
    return PackedLayout(1, shape.oc, shape.taps, 1, replace(tile, kc=0), dtype, overlap=True)


def program(shape: ConvShape, tile: Tile, dtype: DType) -> Program:
    """The layer as TIR. Groups of KC/NR panels are swept over blocks of MC/OW output rows, groups fastest."""
    layout = packed_layout(shape, tile, dtype)
    rows = min(shape.oh, -(-tile.mc // shape.ow)) if tile.mc > 0 else shape.oh
    group = min(layout.panels, -(-tile.kc // tile.nr)) if tile.kc > 0 else layout.panels
    order = Partition(shape.mb, -(-layout.panels // group), shape.oh, rows, k_blocks=1)
    return Program(
        dtype=dtype,
        functions={
            "pack": pack_function(shape, layout),
            "prepare": no_preparation(dtype),
            "run": loop_nest(shape, layout, order, group),
        },
        phases=(order.phase("run"),),
        images=1,
        packed_bytes=layout.bytes,
    )


def loop_nest(shape: ConvShape, layout: PackedLayout[Tile], order: Partition, group: int) -> Any:
    """The phase that computes units first … last−1 of an order whose tiles are output rows, for groups of panels."""
    from tvm.script import tirx as T

    P, OH, OW, C = layout.panels, shape.oh, shape.ow, shape.oc
    ROWS, BLOCKS, GROUPS = order.block_tiles, order.row_ranges, order.panels
    ROW, MARGIN = shape.iw * C * layout.dtype.bytes, shape.pw * C * layout.dtype.bytes
    KH, DH, IH = shape.kh, shape.dh + 1, shape.ih
    sweep = _one_after_another(
        [_sweep(shape, layout, stretch, number) for number, stretch in enumerate(stretches(shape, layout.tile.mr))]
    )

    @T.inline
    def run(x, operand, packed, y, workspace, address, image, first, last):
        for part in range(order.touched(first, last)):
            block: T.let[T.int32] = order.block(part, first)
            before: T.let[T.int32] = order.begin(block, first)
            for row in range(order.end(block, last) - before):
                with T.sblock("row"):
                    u = T.axis.spatial(order.blocks, block)
                    vrow = T.axis.spatial(ROWS, before + row)
                    T.reads()
                    T.writes()
                    oh: T.let[T.int32] = u // GROUPS % BLOCKS * ROWS + vrow
                    n: T.let[T.int32] = u // (GROUPS * BLOCKS)
                    h: T.let[T.int32] = oh * shape.sh - shape.ph
                    # The taps inside the input: those with 0 ≤ h + r·DH < IH.
                    r0: T.let[T.int32] = T.min(T.max((DH - 1 - h) // DH, 0), KH)
                    r1: T.let[T.int32] = T.max(T.min((IH + DH - 1 - h) // DH, KH), r0)
                    corner: T.let[T.int64] = T.cast(n * IH + h + r0 * DH, "int64") * ROW - MARGIN
                    out: T.let[T.int64] = T.cast(n * OH + oh, "int64") * (OW * C)
                    start: T.let[T.int32] = u % GROUPS * group
                    sweep(packed, y, x + corner, out, start, T.min(group, P - start), r0, r1 - r0)

    return phase_function("run", run, layout.dtype)


def _one_after_another(macros: list[Any]) -> Any:
    """One T.inline macro that expands all of them, with the same arguments."""
    from tvm.script import tirx as T

    head, *others = macros
    if not others:
        return head
    rest = _one_after_another(others)

    @T.inline
    def both(packed, y, origin, out, first, panels, r0, taps):
        head(packed, y, origin, out, first, panels, r0, taps)
        rest(packed, y, origin, out, first, panels, r0, taps)

    return both


def _sweep(shape: ConvShape, layout: PackedLayout[Tile], stretch: Stretch, number: int) -> Any:
    """A macro for the tiles of one stretch in one output row.

    origin is the address of the input pixel under the row's first pixel and its tap (r0, 0), out the index in y of its
    output; `taps` rows of taps are inside the input, from r0. `panels` panels from `first` share a tile's place, so
    that x and y are read and written in pieces that lie together.
    """
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    MR, NR, KW, C = stretch.pixels, layout.tile.nr, shape.kw, shape.oc
    START, SW, DW = stretch.start, shape.sw, shape.dw + 1
    D = layout.dtype
    STEP = (shape.dh + 1) * shape.iw * C * D.bytes
    POINTER = PointerType(PrimType(D.storage))
    TILE, TAPS, WRITE_BACK = (f"{name}_{number}" for name in ("tile", "taps", "write_back"))

    @T.inline
    def tiles(packed, y, origin, out, first, panels, r0, taps):
        buffers = packed_buffers(layout, packed)
        weights = T.decl_buffer(
            (layout.panels, shape.kh, KW, NR), D.storage, data=packed, elem_offset=layout.weights_offset, align=D.bytes
        )
        Y = T.decl_buffer((T.int64(shape.mb * shape.m * C),), D.storage, data=y, align=D.bytes)
        for it, panel in T.grid(stretch.tiles, panels):
            with T.sblock(TILE):
                vit, vpanel = T.axis.remap("SS", [it, panel])
                T.reads()
                T.writes()
                acc = T.alloc_buffer((MR, NR), D.accumulator, scope="local", annotations=ON_STACK)
                p: T.let[T.int32] = first + vpanel
                channel: T.let[T.int64] = T.cast(layout.panel_start(p), "int64")
                pixel: T.let[T.int64] = T.cast(START + vit * MR, "int64")
                corner: T.let[T.int64] = origin + (pixel * (SW * C) + channel) * D.bytes
                for r, i, s, j in T.grid(taps, MR, KW, NR):
                    with T.sblock(TAPS):
                        vr, vi, vs, vj = T.axis.remap("RSRS", [r, i, s, j])
                        T.reads()
                        T.writes(acc[vi, vj])
                        with T.init():
                            acc[vi, vj] = buffers.bias[0, p, vj]
                        if inside(shape, START + vi, vs):
                            data: T.let = T.reinterpret(POINTER, corner + T.cast(vr, "int64") * STEP)
                            X = T.decl_buffer((C * shape.iw,), D.storage, data=data, align=D.bytes)
                            acc[vi, vj] = acc[vi, vj] + X[(vi * SW + vs * DW) * C + vj] * weights[p, r0 + vr, vs, vj]
                for i, j in T.grid(MR, NR):
                    with T.sblock(WRITE_BACK):
                        vi, vj = T.axis.remap("SS", [i, j])
                        T.reads(acc[vi, vj])
                        T.writes()
                        Y[out + (pixel + vi) * C + channel + vj] = T.max(
                            buffers.bounds[0], T.min(buffers.bounds[1], acc[vi, vj])
                        )

    return tiles

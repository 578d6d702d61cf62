"""The matrix products of NCHW: a register tile of output channels by pixels.

    acc[channels][pixels] += Σ over a run of channels of packed[k][i] · source[k][pixel j]

The packed weights are broadcast, the pixels are the vectors, read where they lie. What
a product adds to an output plane, and when, tells the algorithms apart: see Taps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tvmconv.algorithms.microkernel.packed_buffers import packed_buffers
from tvmconv.algorithms.microkernel.packing import pack_function
from tvmconv.algorithms.microkernel.partition import Partition
from tvmconv.algorithms.microkernel.pixel_vectors import (
    PixelView,
    allocated_vectors,
    locate_block,
    only_reached,
    reach_block,
    read_vector,
    readable,
)
from tvmconv.algorithms.microkernel.program import ON_STACK, Phase, Program, constant, no_preparation, phase_function
from tvmconv.algorithms.microkernel.vector_ops import all_lanes, masked_load, masked_store, whole_vector
from tvmconv.workload.shape import ConvShape

# Of a vector whose elements a multiply-add can take one by one, as NEON's can: then weights are loaded as vectors too.
_LANES = 4


class Taps(Enum):
    """The taps that one pass over a block of pixels sums before it writes."""

    ALL = "all in registers: a direct convolution, or one tap in all"
    IN_TURN = "one a sweep, each sweep adding to the output"
    OF_UNIT = "the tap of the unit, each to a plane of its own"


@dataclass(frozen=True)
class PanelPlace:
    """The destination of a tile, as TIR: the buffer, its index of the group's first channel, the panel in the group,
    and the index of the panel's first bias."""

    output: Any
    start: Any
    panel: Any
    bias: Any


def partition_of_step(view: PixelView, taps: Taps) -> Partition:
    """The tiles of one step, by panels of output channels and blocks of pixels. A step has one block of K."""
    layout = view.layout
    repeats = layout.groups * (layout.taps if taps is Taps.OF_UNIT else 1)
    return Partition(repeats, layout.panels, view.tiles, view.block_tiles, k_blocks=1)


def pixel_product(
    symbol: str, view: PixelView, taps: Taps, *, steps: int = 1, from_workspace: bool = False, planes: int | None = None
) -> Any:
    """The phase that computes units first … last−1 of a step; the image that it is called with is image · steps + step.

    It reads x, or with from_workspace a matrix at the workspace's beginning, and writes y with bias and clamp, or sums
    alone to planes that begin at that element of the workspace. A step is a block of K.
    """
    from tvm.script import tirx as T

    layout, s = view.layout, view.source
    G, P, KB, TAPS, KC, MR = layout.weights_shape
    L, V = view.lanes, view.vectors
    OC, OCG, M, PLANE = G * layout.oc, layout.oc, s.m, s.ih * s.iw
    order = partition_of_step(view, taps)
    BT, B = order.block_tiles, order.row_ranges
    TU = TAPS if taps is Taps.OF_UNIT else 1
    SWEEPS = TAPS if taps is Taps.IN_TURN else 1
    RUN = TAPS if taps is Taps.ALL else 1
    SHIFTED = s.taps > 1  # else all of source's pixels lie where the output's do, whatever the tap
    D = layout.dtype
    VECTOR = f"{D.accumulator}x{L}"
    TO_Y = planes is None
    assert steps == KB
    locate, reach, multiply, write_back = (
        locate_block(view),
        reach_block(view),
        multiply_block(view),
        _write_back_block(view, raw=not TO_Y, partial=taps is not Taps.ALL),
    )

    @T.inline
    def body(x, operand, packed, y, workspace, address, image, first, last):
        buffers = packed_buffers(layout, packed, flat_bias=True)
        output = T.decl_buffer(
            (s.mb * OC * M if TO_Y else OC * TU * M,),
            D.storage,
            data=y if TO_Y else workspace,
            elem_offset=0 if TO_Y else planes,
            align=D.bytes,
        )
        acc = T.alloc_buffer((MR, V), VECTOR, scope="local", annotations=ON_STACK)
        column = T.alloc_buffer((V,), VECTOR, scope="local", annotations=ON_STACK)
        at = allocated_vectors(view)
        for part, sweep in T.grid(order.touched(first, last), SWEEPS):
            block: T.let[T.int32] = order.block(part, first)
            before: T.let[T.int32] = order.begin(block, first)
            for it in range(order.end(block, last) - before):
                with T.sblock("tile"):
                    u = T.axis.spatial(order.blocks, block)
                    vs = T.axis.reduce(SWEEPS, sweep)
                    vit = T.axis.spatial(BT, before + it)
                    T.reads()
                    T.writes()
                    p: T.let[T.int32] = u % P
                    t: T.let[T.int32] = u // P % B * BT + vit
                    tu: T.let[T.int32] = u // (P * B) % TU
                    g: T.let[T.int32] = u // (P * B * TU)
                    n: T.let[T.int32] = image // steps
                    kb: T.let[T.int32] = image % steps
                    tap: T.let[T.int32] = vs + tu
                    channel: T.let[T.int32] = g * layout.channels + kb * KC
                    image_start: T.let[T.int64] = (
                        address if from_workspace else x + T.cast(n, "int64") * (s.ic * PLANE * D.bytes)
                    )
                    base: T.let[T.int64] = image_start + T.cast(channel, "int64") * (PLANE * D.bytes)
                    locate(t, at)
                    for r, _whole in T.grid(RUN, 1):
                        reach(base, tap + r if SHIFTED else 0, 0, at)
                        offset: T.let[T.int64] = T.cast((((g * P + p) * KB + kb) * TAPS + tap + r) * KC, "int64")
                        multiply(acc, column, base, at, buffers.weights, offset, r)
                    pass_: T.let[T.int32] = vs + kb
                    place: T.let[T.int32] = ((n if TO_Y else 0) * OC + (g * TU + tu) * OCG) * M
                    write_back(acc, buffers, PanelPlace(output, place, p, (g * P + p) * MR), at, pass_)

    return phase_function(symbol, body, D)


def product_program(
    shape: ConvShape,
    view: PixelView,
    product: Any,
    others: Mapping[str, Any] | None = None,
    before: tuple[Phase, ...] = (),
    memory: Mapping[str, int] | None = None,
) -> Program:
    """The program of an algorithm that ends with one product, in as many steps as there are blocks of K."""
    return Program(
        dtype=view.layout.dtype,
        functions={
            "pack": pack_function(shape, view.layout),
            "prepare": no_preparation(view.layout.dtype),
            **(others or {}),
            "run": product,
        },
        phases=(*before, partition_of_step(view, Taps.ALL).phase("run")),
        images=shape.mb * view.layout.k_blocks,
        packed_bytes=view.layout.bytes,
        memory=memory or {},
    )


def multiply_block(view: PixelView) -> Any:
    """A macro that adds one tap's channels to a tile: of each channel V vectors of pixels and MR broadcast weights.

    Where masks are not cheap, tiles that may be read as a whole, which most are, have code of their own (blocks
    "column" and "product") beside that with masked loads ("column_masked" and "product_masked").
    """
    from tvm.script import tirx as T

    L, V, MR = view.lanes, view.vectors, view.layout.tile.channels
    always = view.masks_are_cheap
    ZERO = constant(0, view.layout.dtype.accumulator)
    add_channels, add_channels_masked = (_channels_block(view, masked) for masked in (False, True))

    @T.inline
    def multiply(acc, column, base, at, weights, offset, r):
        if r == 0:
            for i, v in T.grid(MR, V):
                with T.sblock("zero"):
                    vi, vv = T.axis.remap("SS", [i, v])
                    T.reads()
                    T.writes(acc[vi, vv])
                    acc[vi, vv] = whole_vector(ZERO, L)
        if always:
            add_channels_masked(acc, column, at, weights, offset)
        else:
            if readable(view, at, base):
                add_channels(acc, column, at, weights, offset)
            else:
                add_channels_masked(acc, column, at, weights, offset)

    return multiply


def _channels_block(view: PixelView, masked: bool) -> Any:
    """A macro: the loop over the channels of one tap."""
    from tvm.script import tirx as T

    layout, L, V = view.layout, view.lanes, view.vectors
    MR, KC, KR = layout.tile.channels, layout.kc, layout.tile.kr
    suffix = "_masked" if masked else ""
    HELD = L == _LANES and MR % L == 0

    @T.inline
    def add_channels(acc, column, at, weights, offset):
        held = T.alloc_buffer((MR,), layout.dtype.storage, scope="local", annotations=ON_STACK)
        for co, ci in T.grid(KC // KR, KR):
            if HELD:
                for i in range(MR):
                    with T.sblock(f"hold{suffix}"):
                        vco, vci, vi = T.axis.remap("SSS", [co, ci, i])
                        T.reads()
                        T.writes(held[vi])
                        held[vi] = weights[(offset + vco * KR + vci) * MR + vi]
            for v in T.unroll(V):
                with T.sblock(f"column{suffix}"):
                    vco, vci, vv = T.axis.remap("SSS", [co, ci, v])
                    T.reads(at.address[vv], at.valid[vv, 0 : view.parts])
                    T.writes(column[vv])
                    column[vv] = read_vector(view, at, vv, vco * KR + vci, readable=not masked)
            for i, v in T.grid(MR, V):
                with T.sblock(f"product{suffix}"):
                    vco, vci, vi, vv = T.axis.remap("RRSS", [co, ci, i, v])
                    T.reads(acc[vi, vv], column[vv])
                    T.writes(acc[vi, vv])
                    k: T.let[T.int32] = vco * KR + vci
                    acc[vi, vv] = (
                        acc[vi, vv]
                        + whole_vector(held[vi] if HELD else weights[(offset + k) * MR + vi], L) * column[vv]
                    )

    return add_channels


def _write_back_block(view: PixelView, raw: bool, partial: bool) -> Any:
    """A macro that ends a tile: row i of acc goes to channel p·MR + i of the output.

    The first pass adds the bias, later ones what is there, the last one clamps; raw sums are written as they are. With
    partial, lanes that the pass has not reached add nothing: not even a weight that is no number times zero. A NaN
    passes the clamp, which is why the bounds come first in min and max.
    """
    from tvm.script import tirx as T

    layout, L, V, M, OCG = view.layout, view.lanes, view.vectors, view.source.m, view.layout.oc
    MR, SUM = layout.tile.channels, layout.dtype.accumulator
    PASSES = layout.taps if partial else layout.k_blocks
    always = view.masks_are_cheap

    def taken(mask: Any, suffix: str) -> Any:
        return mask if suffix else whole_vector(1, L)

    @T.inline
    def store(acc, buffers, to, at, pass_, suffix):
        for i, v in T.grid(MR, V):
            with T.sblock(f"write_back_pixels{suffix}"):
                vi, vv = T.axis.remap("SS", [i, v])
                T.reads(acc[vi, vv], at.pixel[vv], at.inside[vv], at.reached[vv])
                T.writes()
                if to.panel * MR + vi < OCG:
                    pointer: T.let = T.address_of(to.output[to.start + (to.panel * MR + vi) * M + at.pixel[vv]])
                    total = T.alloc_buffer((1,), f"{SUM}x{L}", scope="local", annotations=ON_STACK)
                    total[0] = only_reached(view, acc[vi, vv], at.reached[vv]) if partial else acc[vi, vv]
                    if not raw:
                        if pass_ == 0:
                            total[0] = total[0] + whole_vector(buffers.bias[to.bias + vi], L)
                        else:
                            total[0] = total[0] + masked_load(SUM, pointer, taken(at.inside[vv], suffix), L)
                        if pass_ == PASSES - 1:
                            total[0] = T.max(
                                whole_vector(buffers.bounds[0], L),
                                T.min(whole_vector(buffers.bounds[1], L), total[0]),
                            )
                    T.evaluate(masked_store(total[0], pointer, taken(at.inside[vv], suffix), L))

    @T.inline
    def write_back(acc, buffers, to, at, pass_):
        if always:
            store(acc, buffers, to, at, pass_, "_masked")
        else:
            if all_lanes([at.inside[v] for v in range(V)]):
                store(acc, buffers, to, at, pass_, "")
            else:
                store(acc, buffers, to, at, pass_, "_masked")

    return write_back

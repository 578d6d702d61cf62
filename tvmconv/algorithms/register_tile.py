"""One tile of GEMM in registers, shared by every algorithm that is a matrix product.

    acc[MR][NR] = Σ over a block of K of row(i)[k] · packed[k][j]     block "update"
    y = clamp(acc + (bias, or the partial sum already in y))           block "write_back"

An algorithm says where the MR rows of a tile begin for each tap (block "rows"). Rows are addresses, so they may lie in
x, in a zero vector, in a patch matrix: nothing is copied for this kernel's sake, and each address is computed once per
tap, outside the loop over channels. Tiles are always full: rows past the end repeat the last one, panels are filled up
with zeros, and only the write-back is guarded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.ir import NO_CLAMP, ON_STACK, PLAIN_C
from tvmconv.algorithms.packing import PackedLayout
from tvmconv.tile import Tile

BYTES = 4  # of an f32 element and of an index
LINE = 16  # f32 elements of a cache line
L1, L2 = 3, 2  # llvm.prefetch's locality: into all levels, into L2 and beyond


@dataclass(frozen=True)
class MatrixView:
    """A layer as `images`·`groups` products of (m × taps·channels) by (taps·channels × oc)."""

    images: int
    groups: int
    m: int
    oc: int  # of one group
    taps: int
    channels: int  # of one group and tap
    tile: Tile
    overlap: bool = False  # of the last panel with the one before it (PackedLayout)

    @property
    def layout(self) -> PackedLayout:
        return PackedLayout(self.groups, self.oc, self.taps, self.channels, self.tile, self.overlap)

    def weight_bytes(self, nr: int) -> int:
        """Bytes of all packed weights in panels of nr columns."""
        return self.groups * -(-self.oc // nr) * nr * self.taps * self.channels * BYTES

    @property
    def row_tiles(self) -> int:
        return -(-self.m // self.tile.mr)

    @property
    def block_tiles(self) -> int:
        """Row tiles that are swept before the next block of rows (MC)."""
        return min(self.row_tiles, -(-self.tile.mc // self.tile.mr)) if self.tile.mc else self.row_tiles

    @property
    def row_blocks(self) -> int:
        return -(-self.row_tiles // self.block_tiles)

    @property
    def units(self) -> int:
        """Independent pieces of work: one weight panel on one block of rows, panels running fastest."""
        return self.images * self.groups * self.row_blocks * self.layout.panels


def prefetch(element: Any, locality: int) -> Any:
    """Asks for the cache line of a buffer's element to be read ahead; an address out of bounds does no harm."""
    from tvm.script import tirx as T

    read, data_cache = T.int32(0), T.int32(1)
    return T.call_llvm_intrin("void", "llvm.prefetch", T.address_of(element), read, T.int32(locality), data_cache)


def write_back_block(layout: PackedLayout) -> Any:
    """A macro that ends a tile: row i of acc becomes row `m + i·step` of y, for i < valid.

    The first block of K adds the bias, later ones the partial sum in y; the last one clamps. A NaN passes the clamp,
    which is why the bounds come first in min and max. The last panel, where NR does not divide OC, goes through memory
    (block "spill"), since a register tile that is indexed by a variable would not stay in registers.
    """
    from tvm.script import tirx as T

    MR, NR, oc, k_blocks = layout.tile.mr, layout.tile.nr, layout.oc, layout.k_blocks
    FULL = layout.overlap or oc % NR == 0

    @T.inline
    def store(dst, total, limits, m, column):
        dst[m, column] = T.max(limits[0], T.min(limits[1], total))

    @T.inline
    def write_back(acc, y, bias, bounds, g, p, m, step, valid, kb):
        column: T.let[T.int32] = g * oc + layout.panel_start(p)
        limits = T.alloc_buffer((2,), "float32", scope="local", annotations=ON_STACK)
        with T.sblock("limits"):
            T.reads()
            T.writes(limits[0:2])
            limits[0] = T.if_then_else(kb == k_blocks - 1, bounds[0], T.float32(-NO_CLAMP))
            limits[1] = T.if_then_else(kb == k_blocks - 1, bounds[1], T.float32(NO_CLAMP))
        if FULL:
            if kb == 0:
                for i, j in T.grid(MR, NR):
                    with T.sblock("write_back"):
                        vi, vj = T.axis.remap("SS", [i, j])
                        T.reads(acc[vi, vj])
                        T.writes()
                        if vi < valid:
                            store(y, acc[vi, vj] + bias[g, p, vj], limits, m + vi * step, column + vj)
            if kb > 0:
                for i, j in T.grid(MR, NR):
                    with T.sblock("write_back_sum"):
                        vi, vj = T.axis.remap("SS", [i, j])
                        T.reads(acc[vi, vj])
                        T.writes()
                        if vi < valid:
                            store(y, acc[vi, vj] + y[m + vi * step, column + vj], limits, m + vi * step, column + vj)
        else:
            spilled = T.alloc_buffer((MR, NR), "float32", scope="local", annotations=ON_STACK)
            for i, j in T.grid(MR, NR):
                with T.sblock("spill"):
                    vi, vj = T.axis.remap("SS", [i, j])
                    T.reads(acc[vi, vj])
                    T.writes(spilled[vi, vj])
                    spilled[vi, vj] = acc[vi, vj]
            for i in range(T.min(MR, valid)):
                for j in range(T.min(NR, oc - p * NR)):
                    with T.sblock("write_back_edge"):
                        vi = T.axis.spatial(MR, i)
                        vj = T.axis.spatial(NR, j)
                        T.reads(spilled[vi, vj])
                        T.writes()
                        before: T.let[T.float32] = T.if_then_else(
                            kb == 0, bias[g, p, vj], y[m + vi * step, column + vj]
                        )
                        store(y, spilled[vi, vj] + before, limits, m + vi * step, column + vj)

    return write_back


def matrix_product(symbol: str, view: MatrixView, rows: Any) -> Any:
    """The phase that computes units first … last−1 of the view's products.

    rows(row, x, workspace, address, image, group, row_tile, tap) is a T.inline macro that stores the byte addresses of
    the MR rows of a row tile for a tap into row[0:MR].
    """
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    tile, layout = view.tile, view.layout
    MR, NR, KR, PF = tile.mr, tile.nr, tile.kr, tile.pf
    G, P, KB, TAPS, KC, _ = layout.weights_shape
    M, OCG = view.m, view.oc
    RT, BT, RB = view.row_tiles, view.block_tiles, view.row_blocks
    BLOCK, STEPS = TAPS * KC * NR, TAPS * KC // KR  # elements and steps of one block of K of one panel
    # While one block of weights is used, the next is fetched into L2: each row tile fetches its share, evenly spread.
    SHARE = BLOCK // BT
    STRIDE = -(-SHARE // STEPS)
    LINES = -(-STRIDE // LINE) if tile.st else 0
    F32 = PointerType(PrimType("float32"))
    write_back = write_back_block(layout)

    @T.prim_func(s_tir=True)
    def product(
        x: T.int64,
        packed: T.handle("float32"),
        y: T.handle("float32"),
        workspace: T.handle("float32"),
        address: T.int64,
        image: T.int32,
        first: T.int32,
        last: T.int32,
    ):
        T.func_attr({"global_symbol": symbol, "tirx.noalias": True, "calling_conv": PLAIN_C})
        bounds = T.decl_buffer((2,), "float32", data=packed, align=4)
        bias = T.decl_buffer(layout.bias_shape, "float32", data=packed, elem_offset=layout.bias_offset, align=4)
        W = T.decl_buffer(layout.weights_shape, "float32", data=packed, elem_offset=layout.weights_offset, align=4)
        stream = T.decl_buffer(
            (G * P * KB * BLOCK,), "float32", data=packed, elem_offset=layout.weights_offset, align=4
        )
        Y = T.decl_buffer((view.images * M, G * OCG), "float32", data=y, align=4)
        acc = T.alloc_buffer((MR, NR), "float32", scope="local", annotations=ON_STACK)
        row = T.alloc_buffer((MR,), "int64", scope="local", annotations=ON_STACK)
        for unit, kb in T.grid(last - first, KB):
            for it in range(T.min(BT, RT - (first + unit) // P % RB * BT)):
                with T.sblock("tile"):
                    u = T.axis.spatial(view.units, first + unit)
                    vkb = T.axis.reduce(KB, kb)
                    vit = T.axis.spatial(BT, it)
                    T.reads()
                    T.writes()
                    n: T.let[T.int32] = u // (P * RB * G)
                    g: T.let[T.int32] = u // (P * RB) % G
                    p: T.let[T.int32] = u % P
                    rt: T.let[T.int32] = u // P % RB * BT + vit
                    next_block: T.let[T.int32] = ((g * P + p) * KB + vkb + 1) * BLOCK + vit * SHARE
                    for t in range(TAPS):
                        rows(row, x, workspace, address, image + n, g, rt, t)
                        for co in range(KC // KR):
                            if LINES > 0:
                                for line in range(LINES):
                                    with T.sblock("prefetch_panel"):
                                        vt, vco, vl = T.axis.remap("SSS", [t, co, line])
                                        T.reads()
                                        T.writes()
                                        step: T.let[T.int32] = vt * (KC // KR) + vco
                                        T.evaluate(prefetch(stream[next_block + step * STRIDE + vl * LINE], L2))
                            for ci in range(KR):
                                if PF > 0:
                                    for line in range(-(-NR // LINE)):
                                        with T.sblock("prefetch_weights"):
                                            vt, vco, vci, vl = T.axis.remap("SSSS", [t, co, ci, line])
                                            T.reads()
                                            T.writes()
                                            T.evaluate(prefetch(W[g, p, vkb, vt, vco * KR + vci + PF, vl * LINE], L1))
                                for i, j in T.grid(MR, NR):
                                    with T.sblock("update"):
                                        vi, vj, vt, vco, vci = T.axis.remap("SSRRR", [i, j, t, co, ci])
                                        T.reads(row[vi], W[g, p, vkb, vt, vco * KR + vci, vj])
                                        T.writes(acc[vi, vj])
                                        with T.init():
                                            acc[vi, vj] = T.float32(0)
                                        k: T.let[T.int32] = vco * KR + vci
                                        start: T.let[T.handle("float32")] = T.reinterpret(F32, row[vi])
                                        A = T.decl_buffer((KB * KC,), "float32", data=start, align=4)
                                        acc[vi, vj] = acc[vi, vj] + A[vkb * KC + k] * W[g, p, vkb, vt, k, vj]
                    write_back(acc, Y, bias, bounds, g, p, (image + n) * M + rt * MR, 1, M - rt * MR, vkb)

    return product

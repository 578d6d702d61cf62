"""One tile of a matrix product in registers, shared by every algorithm.

    acc[MR][NR] = bias, or 0 where K is in blocks                           block "update_init"
    acc[MR][NR] += Σ over a run of channels of row(i)[k] · packed[k][j]     block "update"
    y = clamp(acc), or with K in blocks clamp(acc + (bias or y))            write_back.py

Rows are addresses, so they may lie in x, in a zero vector or in a patch matrix. The kernel needs no copy, and each
address is computed once per tap, outside the loop over channels. Tiles are always full: rows past the end repeat the
last one, or the tile begins earlier; panels are filled up with zeros; only the write-back is guarded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.microkernel.packing import PackedLayout
from tvmconv.algorithms.microkernel.program import ON_STACK, constant
from tvmconv.target.tile import Tile

# Longest K for which finding a tile's rows by one address pays. It saves the same time in tiles of a longer K.
_SHORT = 256
LINE = 16  # f32 elements of a cache line
_L1, _L2 = 3, 2  # llvm.prefetch's locality: into all levels, into L2 and beyond


def is_short(layout: PackedLayout[Tile]) -> bool:
    """Whether K ≤ 256, where the overhead of each tile dominates."""
    return layout.taps * layout.channels <= _SHORT


@dataclass(frozen=True)
class Panel:
    """The panel of weights of a tile: group and panel, as TIR."""

    g: Any
    p: Any


@dataclass(frozen=True)
class Run:
    """One run of channels of a tile, as TIR.

    start: packed channels before the run; offset: channels of each row before it; r, q: the loops around the runs,
    which make up K; length: steps of KR channels, at least one.
    """

    start: Any
    offset: Any
    r: Any
    q: Any
    length: Any


def multiply_block(
    layout: PackedLayout[Tile], steps: int, bare: bool = False, row_stride: int = 0, suffix: str = ""
) -> Any:
    """A macro multiply(acc, buffers, panel, row, ahead, run) that adds a Run of channels to a tile.

    buffers: as packed_buffers(layout, packed); panel: the Panel of weights; row[0:MR]: the byte addresses of the rows,
    of which the run skips `run.offset` channels. With row_stride, in elements, row[0] finds all rows, and takes one
    register. ahead[0]: the next element of the next block of weights, which is fetched into L2 while this one is used,
    spread evenly over `steps`, the steps of all tiles that use it. With bare there is no bias. `suffix` tells the
    blocks of a function's kinds of tiles apart.

    With GC = KR each row's next KR channels are held as a vector (block "gather" before the run, "rotate" after the
    last use of the current ones), so that a step begins with its operands in registers. The last step has code of its
    own (blocks "…_last"), since it has no next one to load for.
    """
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    tile = layout.tile
    MR, NR, KR, PF = tile.mr, tile.nr, tile.kr, tile.prefetch_distance
    STRIDE = -(-layout.block // max(1, steps))
    LINES = -(-STRIDE // LINE) if tile.stream_l2 else 0
    D = layout.dtype
    POINTER = PointerType(PrimType(D.storage))
    BIAS = layout.k_blocks == 1 and not bare  # sums begin with it, which costs no addition

    def base(i: Any) -> Any:
        """Index of the address for row i."""
        return 0 if row_stride else i

    @T.inline
    def fetch_panel(weights, ahead, name):
        if LINES > 0:
            for line in range(LINES):
                with T.sblock(f"prefetch_panel{name}{suffix}"):
                    vl = T.axis.spatial(LINES, line)
                    T.reads()
                    T.writes()
                    T.evaluate(prefetch(weights[ahead[0] + vl * LINE], _L2))
            ahead[0] = ahead[0] + STRIDE

    @T.inline
    def fetch_weights(weights, start, co, ci, name):
        if PF > 0:
            for line in range(-(-NR // LINE)):
                with T.sblock(f"prefetch_weights{name}{suffix}"):
                    vco, vci, vl = T.axis.remap("SSS", [co, ci, line])
                    T.reads()
                    T.writes()
                    T.evaluate(prefetch(weights[(start + vco * KR + vci + PF) * NR + vl * LINE], _L1))

    @T.inline
    def multiply_by_memory(acc, buffers, panel, row, ahead, run):
        steps: T.let[T.int32] = opaque_trip_count(run.length)
        for co in range(steps):
            fetch_panel(buffers.weights, ahead, "")
            for ci in range(KR):
                fetch_weights(buffers.weights, run.start, co, ci, "")
                for i, j in T.grid(MR, NR):
                    with T.sblock(f"update{suffix}"):
                        vi, vj, _r, _q, vco, vci = T.axis.remap("SSRRRR", [i, j, run.r, run.q, co, ci])
                        T.reads(row[base(vi)])
                        T.writes(acc[vi, vj])
                        with T.init():
                            acc[vi, vj] = bias_or_zero(BIAS, buffers.bias, panel, vj)
                        k: T.let[T.int32] = vco * KR + vci
                        data: T.let = T.reinterpret(POINTER, row[base(vi)])
                        A = T.decl_buffer((layout.channels,), D.storage, data=data, align=D.bytes)
                        acc[vi, vj] = (
                            acc[vi, vj]
                            + A[vi * row_stride + run.offset + k] * buffers.weights[(run.start + k) * NR + vj]
                        )

    @T.inline
    def hold(held, row, vi, vl, first):
        data: T.let = T.reinterpret(POINTER, row[base(vi)])
        A = T.decl_buffer((layout.channels,), D.storage, data=data, align=D.bytes)
        held[vi, vl] = A[T.cast(first, "int64") + vi * row_stride + vl]

    @T.inline
    def multiply_by_registers(acc, buffers, panel, row, ahead, run):
        held = T.alloc_buffer((MR, KR), D.storage, scope="local", annotations=ON_STACK)
        for i, lane in T.grid(MR, KR):
            with T.sblock(f"gather{suffix}"):
                vi, vl, _r, _q = T.axis.remap("SSSS", [i, lane, run.r, run.q])
                T.reads(row[base(vi)])
                T.writes(held[vi, vl])
                hold(held, row, vi, vl, run.offset)
        # Without anything between the loads and the loop, LLVM would make one load at the loop's beginning of these and
        # those at its end, and each step would wait for it.
        with T.sblock(f"gathered{suffix}"):
            T.reads()
            T.writes()
            T.evaluate(prefetch(buffers.weights[run.start * NR], _L1))
        for co in range(run.length - 1):
            fetch_panel(buffers.weights, ahead, "")
            for ci in range(KR):
                fetch_weights(buffers.weights, run.start, co, ci, "")
                for i in range(MR):
                    for j in range(NR):
                        with T.sblock(f"update{suffix}"):
                            vi, vj, _r, _q, vco, vci = T.axis.remap("SSRRRR", [i, j, run.r, run.q, co, ci])
                            T.reads(held[vi, vci])
                            T.writes(acc[vi, vj])
                            with T.init():
                                acc[vi, vj] = bias_or_zero(BIAS, buffers.bias, panel, vj)
                            k: T.let[T.int32] = vco * KR + vci
                            acc[vi, vj] = acc[vi, vj] + held[vi, vci] * buffers.weights[(run.start + k) * NR + vj]
                    for lane in range(KR):
                        with T.sblock(f"rotate{suffix}"):
                            vi, vl, vco, vci = T.axis.remap("SSSS", [i, lane, co, ci])
                            T.reads(row[base(vi)])
                            T.writes(held[vi, vl])
                            if vci == KR - 1:
                                hold(held, row, vi, vl, run.offset + (vco + 1) * KR)
        for co in range(1):
            fetch_panel(buffers.weights, ahead, "_last")
            for ci in range(KR):
                fetch_weights(buffers.weights, run.start + (run.length - 1) * KR, co, ci, "_last")
                for i, j in T.grid(MR, NR):
                    with T.sblock(f"update_last{suffix}"):
                        vi, vj, _r, _q, vco, vci = T.axis.remap("SSSSSS", [i, j, run.r, run.q, co, ci])
                        T.reads()
                        T.writes()
                        k: T.let[T.int32] = (run.length - 1) * KR + vci
                        acc[vi, vj] = acc[vi, vj] + held[vi, vci] * buffers.weights[(run.start + k) * NR + vj]

    return multiply_by_registers if tile.a_vector > 1 else multiply_by_memory


def bias_or_zero(has_bias: bool, bias: Any, panel: Panel, j: Any) -> Any:
    """The bias of column j of a panel, or 0 without a bias."""
    return bias[panel.g, panel.p, j] if has_bias else constant(0, bias.dtype)


def opaque_trip_count(steps: Any) -> Any:
    """The same number, hidden from LLVM, so that it does not unroll a loop of a few steps fully.

    Unrolled fully, the loop's loads move up until no register is left, and an accumulator is kept in memory.
    """
    from tvm.script import tirx as T

    if isinstance(steps, int) and steps == 1:
        return T.int32(1)
    return T.cast(T.call_llvm_intrin("float64", "llvm.arithmetic.fence.f64", T.cast(steps, "float64")), "int32")


def prefetch(element: Any, locality: int) -> Any:
    """Asks for the cache line of a buffer's element to be read ahead; an address out of bounds does no harm."""
    from tvm.script import tirx as T

    read, data_cache = T.int32(0), T.int32(1)
    return T.call_llvm_intrin("void", "llvm.prefetch", T.address_of(element), read, T.int32(locality), data_cache)

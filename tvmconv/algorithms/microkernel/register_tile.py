"""One tile of a matrix product in registers, shared by every algorithm.

    acc[MR][NR] = bias, or 0 where K is in blocks                           block "update_init"
    acc[MR][NR] += Σ over a run of channels of row(i)[k] · packed[k][j]     block "update"
    y = clamp(acc), or of K in blocks clamp(acc + (bias or y))              write_back.py

Rows are addresses, so they may lie in x, in a zero vector, in a patch matrix: nothing is copied for this kernel's sake,
and each address is computed once per tap, outside the loop over channels. Tiles are always full: rows past the end
repeat the last one, or the tile begins earlier; panels are filled up with zeros; only the write-back is guarded.
"""

from __future__ import annotations

from typing import Any

from tvmconv.algorithms.microkernel.packing import PackedLayout
from tvmconv.algorithms.microkernel.program import ON_STACK

# Products of a sum up to which it pays to find a tile's rows by one address: that saves as much of a tile of long sums.
_SHORT = 256
LINE = 16  # f32 elements of a cache line
_L1, _L2 = 3, 2  # llvm.prefetch's locality: into all levels, into L2 and beyond


def is_short(layout: PackedLayout) -> bool:
    """Whether so little is added up for each output that what is around the sums counts."""
    return layout.taps * layout.channels <= _SHORT


def multiply_block(layout: PackedLayout, steps: int, bare: bool = False, apart: int = 0, suffix: str = "") -> Any:
    """A macro that adds one run of channels to a tile: `length` steps of KR channels.

    row[0:MR] are the addresses of the rows, of which `offset` channels are skipped; `start` is the number of packed
    channels before the run, of one step at least; r and q are the loops around the runs, which make up K. While a block
    of weights is used (in so many steps of all its tiles), the next one is fetched into L2, evenly spread: ahead[0] is
    the next element. Rows that are `apart` elements apart are all found by row[0], the first one's address, and take
    one register. With bare there is no bias. A function that has tiles of several kinds tells their blocks apart by a
    suffix.

    With GC = KR each row's next KR channels are held as a vector (blocks "gather" before the run, "rotate" behind the
    last use of the ones before), so that a step begins with what it needs in registers. The last step is code of its
    own (blocks "…_last"), as there is no next one to read.
    """
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    tile = layout.tile
    MR, NR, KR, PF = tile.mr, tile.nr, tile.kr, tile.pf
    STRIDE = -(-layout.block // max(1, steps))
    LINES = -(-STRIDE // LINE) if tile.st else 0
    F32 = PointerType(PrimType("float32"))
    BIAS = layout.k_blocks == 1 and not bare  # what sums begin with needs no addition

    def base(i: Any) -> Any:
        """Which address finds row i."""
        return 0 if apart else i

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
    def multiply_by_memory(acc, bias, g, p, row, weights, ahead, start, offset, r, q, length):
        steps: T.let[T.int32] = unforeseen(length)
        for co in range(steps):
            fetch_panel(weights, ahead, "")
            for ci in range(KR):
                fetch_weights(weights, start, co, ci, "")
                for i, j in T.grid(MR, NR):
                    with T.sblock(f"update{suffix}"):
                        vi, vj, _r, _q, vco, vci = T.axis.remap("SSRRRR", [i, j, r, q, co, ci])
                        T.reads(row[base(vi)])
                        T.writes(acc[vi, vj])
                        with T.init():
                            acc[vi, vj] = bias_or_zero(BIAS, bias, g, p, vj)
                        k: T.let[T.int32] = vco * KR + vci
                        data: T.let[T.handle("float32")] = T.reinterpret(F32, row[base(vi)])
                        A = T.decl_buffer((layout.channels,), "float32", data=data, align=4)
                        acc[vi, vj] = acc[vi, vj] + A[vi * apart + offset + k] * weights[(start + k) * NR + vj]

    @T.inline
    def hold(held, row, vi, vl, first):
        data: T.let[T.handle("float32")] = T.reinterpret(F32, row[base(vi)])
        A = T.decl_buffer((layout.channels,), "float32", data=data, align=4)
        held[vi, vl] = A[T.cast(first, "int64") + vi * apart + vl]

    @T.inline
    def multiply_by_registers(acc, bias, g, p, row, weights, ahead, start, offset, r, q, length):
        held = T.alloc_buffer((MR, KR), "float32", scope="local", annotations=ON_STACK)
        for i, lane in T.grid(MR, KR):
            with T.sblock(f"gather{suffix}"):
                vi, vl, _r, _q = T.axis.remap("SSSS", [i, lane, r, q])
                T.reads(row[base(vi)])
                T.writes(held[vi, vl])
                hold(held, row, vi, vl, offset)
        # Without anything between the loads and the loop, LLVM would make one load at the loop's beginning of these and
        # those at its end, and each step would wait for it.
        with T.sblock(f"gathered{suffix}"):
            T.reads()
            T.writes()
            T.evaluate(prefetch(weights[start * NR], _L1))
        for co in range(length - 1):
            fetch_panel(weights, ahead, "")
            for ci in range(KR):
                fetch_weights(weights, start, co, ci, "")
                for i in range(MR):
                    for j in range(NR):
                        with T.sblock(f"update{suffix}"):
                            vi, vj, _r, _q, vco, vci = T.axis.remap("SSRRRR", [i, j, r, q, co, ci])
                            T.reads(held[vi, vci])
                            T.writes(acc[vi, vj])
                            with T.init():
                                acc[vi, vj] = bias_or_zero(BIAS, bias, g, p, vj)
                            k: T.let[T.int32] = vco * KR + vci
                            acc[vi, vj] = acc[vi, vj] + held[vi, vci] * weights[(start + k) * NR + vj]
                    for lane in range(KR):
                        with T.sblock(f"rotate{suffix}"):
                            vi, vl, vco, vci = T.axis.remap("SSSS", [i, lane, co, ci])
                            T.reads(row[base(vi)])
                            T.writes(held[vi, vl])
                            if vci == KR - 1:
                                hold(held, row, vi, vl, offset + (vco + 1) * KR)
        for co in range(1):
            fetch_panel(weights, ahead, "_last")
            for ci in range(KR):
                fetch_weights(weights, start + (length - 1) * KR, co, ci, "_last")
                for i, j in T.grid(MR, NR):
                    with T.sblock(f"update_last{suffix}"):
                        vi, vj, _r, _q, vco, vci = T.axis.remap("SSSSSS", [i, j, r, q, co, ci])
                        T.reads()
                        T.writes()
                        k: T.let[T.int32] = (length - 1) * KR + vci
                        acc[vi, vj] = acc[vi, vj] + held[vi, vci] * weights[(start + k) * NR + vj]

    return multiply_by_registers if tile.gc > 1 else multiply_by_memory


def bias_or_zero(there: bool, bias: Any, g: Any, p: Any, j: Any) -> Any:
    """The bias of a column, where it is there to be added."""
    from tvm.script import tirx as T

    return bias[g, p, j] if there else T.float32(0)


def unforeseen(steps: Any) -> Any:
    """As many steps of a loop, but LLVM does not know how many when it compiles, so that a few of them stay a loop.

    Unrolled as a whole, their loads move up until there are no registers left, and an accumulator is kept in memory.
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

"""The end of a register tile: sums go to rows of y, with bias, partial sums and clamp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.microkernel.packing import PackedLayout
from tvmconv.algorithms.microkernel.program import NO_CLAMP, ON_STACK, constant
from tvmconv.algorithms.microkernel.register_tile import bias_or_zero
from tvmconv.target.tile import Tile


@dataclass(frozen=True)
class Destination:
    """The destination of a tile: buffer y; m, from which `place` of write_back_block finds rows of y; rows: the first
    and the end of the tile's rows that are written."""

    y: Any
    m: Any
    rows: tuple[Any, Any]


def write_back_block(
    layout: PackedLayout[Tile],
    place: Callable[[Any, int], Any] = lambda m, i: m + i,
    bare: bool = False,
    suffix: str = "",
) -> Any:
    """A macro write_back(acc, buffers, panel, to, kb) that ends a tile: row i of acc becomes row place(to.m, i) of y.

    Of several blocks of K the first adds the bias, later ones the partial sum in y; the last one clamps. NaN stays NaN,
    since the bounds come first in min and max. The last panel, where NR does not divide OC, is written in pieces
    (blocks "write_back_0", "write_back_1", …) as wide as powers of two, so that each consists of vectors. With bare
    there is neither bias nor clamp: y is then a part of a sum.
    """
    from tvm.script import tirx as T

    MR, NR, oc, k_blocks = layout.tile.mr, layout.tile.nr, layout.oc, layout.k_blocks
    PANELS, PART = layout.panels, layout.oc % layout.tile.nr
    BIAS = k_blocks > 1 and not bare
    SUM = layout.dtype.accumulator
    LEAST, MOST = constant(-NO_CLAMP, SUM), constant(NO_CLAMP, SUM)

    @T.inline
    def store(dst, total, limits, m, column):
        dst[m, column] = total if bare else T.max(limits[0], T.min(limits[1], total))

    def columns(first: int, width: int, piece: str) -> Any:
        """A macro for `width` columns of a panel from `first` on."""

        @T.inline
        def write_columns(acc, bias, limits, panel, to, kb):
            column: T.let[T.int32] = panel.g * oc + panel.p * NR
            if kb == 0:
                for i, j in T.grid(MR, width):
                    with T.sblock(f"write_back{piece}{suffix}"):
                        vi, vj = T.axis.remap("SS", [i, j])
                        T.reads(acc[vi, first + vj])
                        T.writes()
                        if T.And(vi >= to.rows[0], vi < to.rows[1]):
                            total: T.let = acc[vi, first + vj] + bias_or_zero(BIAS, bias, panel, first + vj)
                            store(to.y, total, limits, place(to.m, vi), column + first + vj)
            if kb > 0:
                for i, j in T.grid(MR, width):
                    with T.sblock(f"write_back_sum{piece}{suffix}"):
                        vi, vj = T.axis.remap("SS", [i, j])
                        T.reads(acc[vi, first + vj])
                        T.writes()
                        if T.And(vi >= to.rows[0], vi < to.rows[1]):
                            total: T.let = acc[vi, first + vj] + to.y[place(to.m, vi), column + first + vj]
                            store(to.y, total, limits, place(to.m, vi), column + first + vj)

        return write_columns

    def last_panel(first: int = 0, number: int = 0) -> Any:
        """A macro for its columns from `first` on."""
        width = 1 << (PART - first).bit_length() - 1
        head = columns(first, width, f"_{number}")
        if first + width == PART:
            return head
        rest = last_panel(first + width, number + 1)

        @T.inline
        def both(acc, bias, limits, panel, to, kb):
            head(acc, bias, limits, panel, to, kb)
            rest(acc, bias, limits, panel, to, kb)

        return both

    whole = columns(0, NR, "")
    partial = last_panel() if PART else whole

    @T.inline
    def write_back(acc, buffers, panel, to, kb):
        limits = T.alloc_buffer((2,), SUM, scope="local", annotations=ON_STACK)
        with T.sblock(f"limits{suffix}"):
            T.reads()
            T.writes(limits[0:2])
            limits[0] = T.if_then_else(kb == k_blocks - 1, buffers.bounds[0], LEAST)
            limits[1] = T.if_then_else(kb == k_blocks - 1, buffers.bounds[1], MOST)
        if PART == 0:
            whole(acc, buffers.bias, limits, panel, to, kb)
        elif PANELS == 1:
            partial(acc, buffers.bias, limits, panel, to, kb)
        elif panel.p < PANELS - 1:
            whole(acc, buffers.bias, limits, panel, to, kb)
        else:
            partial(acc, buffers.bias, limits, panel, to, kb)

    return write_back

"""The schedule moves that every kernel with a register tile shares, whatever the instruction set."""

from __future__ import annotations

import itertools
from typing import Any

from tvmconv.algorithms.direct import TileKind


def vectorize_columns(sch: Any, block: Any, lanes: int) -> Any:
    """Vectors along the block's last loop, the one before it unrolled; returns the loops further out."""
    *outer, rows, columns = sch.get_loops(block)
    vectors, lane = sch.split(columns, [None, min(lanes, int(sch.get(columns).extent))])
    sch.vectorize(lane)
    sch.unroll(vectors)
    sch.unroll(rows)
    return outer


def register_tiles(sch: Any, lanes: int) -> None:
    """The function's register tiles: `direct` has several kinds, whose blocks have different suffixes."""
    for suffix in [kind.value for kind in TileKind]:
        if present(sch, f"update{suffix}"):
            _register_tile(sch, lanes, suffix)


def _register_tile(sch: Any, lanes: int, suffix: str) -> None:
    """acc[MR][NR] in registers: MR·NR/lanes accumulators, one broadcast a row and channel.

    The zeroing is split off last: vectorize refuses a reduction whose initial value stands outside.
    """
    update = sch.get_sblock(f"update{suffix}")
    taps, *_, channels = vectorize_columns(sch, update, lanes)
    sch.unroll(channels)
    for block in present(sch, f"update_last{suffix}"):
        sch.unroll(vectorize_columns(sch, block, lanes)[-1])
    for block in present(sch, f"gather{suffix}", f"rotate{suffix}"):
        sch.vectorize(sch.get_loops(block)[-1])
    for block in present(sch, f"gather{suffix}"):
        sch.unroll(sch.get_loops(block)[-2])
    once_a_row = (
        "pixels",
        "rows",
        "run_rows",
        "zero_rows",
        "prefetch_panel",
        "prefetch_weights",
        "prefetch_panel_last",
        "prefetch_weights_last",
    )
    for block in present(sch, *(f"{name}{suffix}" for name in once_a_row)):
        sch.unroll(sch.get_loops(block)[-1])
    pieces = (f"_{number}{suffix}" for number in itertools.count())  # of a last panel that is not full
    for piece in (suffix, *itertools.takewhile(lambda name: present(sch, f"write_back{name}"), pieces)):
        for block in present(sch, f"write_back{piece}", f"write_back_sum{piece}"):
            vectorize_columns(sch, block, lanes)
    sch.decompose_reduction(update, taps)


def pixel_tile(sch: Any, lanes: int) -> None:
    """acc[MR][V] vectors in registers: everything that is done for each of them unrolled."""
    for product in present(sch, "product", "product_masked"):
        for loop in sch.get_loops(product)[-3:]:
            sch.unroll(loop)
    for block in present(sch, "column", "column_masked"):
        sch.unroll(sch.get_loops(block)[-1])
    for block in present(sch, "hold", "hold_masked"):
        vectors, lane = sch.split(sch.get_loops(block)[-1], [None, lanes])
        sch.unroll(vectors)
        sch.vectorize(lane)
    for block in present(sch, "zero", "write_back_pixels", "write_back_pixels_masked"):
        for loop in sch.get_loops(block)[-2:]:
            sch.unroll(loop)


def present(sch: Any, *names: str) -> list[Any]:
    """The named blocks that the function has; a last panel in pieces, for example, exists only where NR does not divide
    OC."""
    from tvm.s_tir.schedule.analysis import has_block

    return [sch.get_sblock(name) for name in names if has_block(sch, name)]

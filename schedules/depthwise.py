"""Depthwise kernels: schedule moves for tvmconv/algorithms/depthwise.py, and the choice of a tile.

For each row of taps a tile of MR×NR keeps its sums and that row's weights in registers, and each input until its last
use: MR + KW − 1 loads of x and KW of weights for KW·MR multiply-adds a vector (3x3, MR = 8: 13 to 24).
"""

from __future__ import annotations

import itertools
from typing import Any

from tvmconv.schedules import gemm
from tvmconv.target.dtype import DType
from tvmconv.target.isa import Isa
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

_PIXELS = 8  # sums enough to hide the latency of multiply-adds; most widths are multiples of 7 or 8
_PANELS = 4  # of a group: pieces of whole cache lines, side by side; wider ones would push their weights out of L1
_UNITS = 8  # pieces of work that a layer has at least, for threads


def present(sch: Any) -> bool:
    return bool(gemm.present(sch, "taps_0"))


def register_tile(sch: Any, lanes: int) -> None:
    """Each stretch's tile in registers, with all taps of a row unrolled, so that neighbours share what they load."""
    for stretch in itertools.takewhile(lambda number: gemm.present(sch, f"taps_{number}"), itertools.count()):
        update = sch.get_sblock(f"taps_{stretch}")
        *_, taps, pixels = gemm.vectorize_columns(sch, update, lanes)
        sch.unroll(pixels)
        gemm.vectorize_columns(sch, sch.get_sblock(f"write_back_{stretch}"), lanes)
        sch.decompose_reduction(update, taps)


def best_registers(shape: ConvShape, isa: Isa, dtype: DType) -> tuple[int, int]:
    """MR and NR: an output row in equal tiles; panels as wide as fits the registers and wastes least by overlap.

    A vector of NR needs MR sums, KW weights and two inputs: one in use, one on its way.
    """
    mr = -(-shape.ow // -(-shape.ow // _PIXELS))
    most = max(1, isa.registers // (mr + shape.kw + 2))
    lanes = isa.lanes(dtype)
    widths = [min(vectors * lanes, shape.oc) for vectors in range(most, 0, -1)]
    whole = [width for width in widths if width % lanes == 0] or widths[-1:]  # vectors, or all channels
    return mr, min(whole, key=lambda width: -(-shape.oc // width) * width)


def completed(shape: ConvShape, mr: int, nr: int) -> Tile:
    """The tile with its other sizes: groups of panels, and blocks of rows where there are few groups."""
    channels = _PANELS * nr
    blocks = -(-_UNITS // (shape.mb * -(-shape.oc // channels)))
    rows = -(-shape.oh // blocks)
    return Tile(mr, nr, kr=1, mc=rows * shape.ow if blocks > 1 else 0, kc=channels, prefetch_distance=0, stream_l2=0)

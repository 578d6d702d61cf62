"""The overlapping patches of Winograd convolution, and the bands in which they are processed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.microkernel.program import phase_function
from tvmconv.target.dtype import DType
from tvmconv.workload.shape import ConvShape

PATCH, STEP = 4, 2  # pixels in a row of a patch; of its outputs, by which patches are apart
PLACES = PATCH * PATCH


@dataclass(frozen=True)
class Patches:
    """The patches of an image: rows of so many columns, worked off in bands of `band` rows; the last may have fewer."""

    rows: int
    columns: int
    band: int

    @classmethod
    def of(cls, shape: ConvShape, most: int) -> Patches:
        """Bands of about equal size with at most `most` patches, or of a single row of them; 0 makes one band."""
        rows, columns = -(-shape.oh // STEP), -(-shape.ow // STEP)
        bands = -(-rows // max(1, most // columns)) if most > 0 else 1
        return cls(rows, columns, -(-rows // bands))

    @property
    def bands(self) -> int:
        return -(-self.rows // self.band)

    @property
    def count(self) -> int:
        """Patches of a band."""
        return self.band * self.columns

    @property
    def plane_stride(self) -> int:
        """Rows from one of a band's 16 planes to the next. An even number would map all planes to few sets of L1."""
        return self.count | 1

    @property
    def plane_rows(self) -> int:
        """Rows of a band's 16 planes together."""
        return PLACES * self.plane_stride


def patch_phase(symbol: str, patches: Patches, work: Any, dtype: DType, noalias: bool = True) -> Any:
    """The phase that does some work for patches first … last−1 of a band.

    work(x, operand, packed, y, workspace, m, n, oh, ow) is a macro, for patch m of the band, which is one of image n,
    and whose first output is (oh, ow).
    """
    from tvm.script import tirx as T

    @T.inline
    def body(x, operand, packed, y, workspace, address, image, first, last):
        for number in range(last - first):
            with T.sblock("patch"):
                m = T.axis.spatial(patches.count, first + number)
                T.reads()
                T.writes()
                row: T.let[T.int32] = image % patches.bands * patches.band + m // patches.columns
                if row < patches.rows:
                    oh: T.let[T.int32] = row * STEP
                    ow: T.let[T.int32] = m % patches.columns * STEP
                    work(x, operand, packed, y, workspace, m, image // patches.bands, oh, ow)

    return phase_function(symbol, body, dtype, noalias)

"""The algorithms, as values. Each file is one family; TVM is imported only when a module is made."""

from __future__ import annotations

from dataclasses import replace

from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.direct import Direct, DirectNchw
from tvmconv.algorithms.gemm import Gemm, GemmNchw
from tvmconv.algorithms.im2col import Im2col, Im2row
from tvmconv.algorithms.indirect import Indirect
from tvmconv.algorithms.kn2col import Kn2col, Kn2colAs
from tvmconv.algorithms.kn2row import Kn2row, Kn2rowAa, Kn2rowAs
from tvmconv.algorithms.winograd import Winograd
from tvmconv.support.text import unknown
from tvmconv.target.dtype import FLOAT32, DType

ALGORITHMS: tuple[Algorithm, ...] = (
    *(Indirect(), Im2row(), Gemm(), Direct(), Kn2col(), Kn2colAs(), Winograd()),
    *(Im2col(), Kn2row(), Kn2rowAs(), Kn2rowAa(), GemmNchw(), DirectNchw()),
)


def algorithm(name: str, layout: str | None = None, dtype: DType = FLOAT32) -> Algorithm:
    """The algorithm of that name for that layout and element type; without a layout nhwc, or nchw where it knows only
    that.

    Raises ValueError for an unknown name, and for a layout that the algorithm does not know.
    """
    named = [known for known in ALGORITHMS if known.name == name]
    if not named:
        raise ValueError(unknown("algorithm", name, list(dict.fromkeys(known.name for known in ALGORITHMS))))
    for known in sorted(named, key=lambda known: known.layout, reverse=True):
        if layout in (None, known.layout):
            return replace(known, dtype=dtype)
    raise ValueError(f"{name} has no {layout} form: use layout {named[0].layout}")

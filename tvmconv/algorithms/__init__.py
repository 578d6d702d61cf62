"""The algorithms, as values. Each file is one family; TVM is imported only when a module is made."""

from __future__ import annotations

from tvmconv.algorithms.direct import Direct
from tvmconv.algorithms.gemm import Gemm
from tvmconv.algorithms.im2col import Im2row
from tvmconv.algorithms.indirect import Indirect
from tvmconv.algorithms.ir import Algorithm
from tvmconv.algorithms.kn2col import Kn2col, Kn2colAs
from tvmconv.names import unknown

ALGORITHMS: tuple[Algorithm, ...] = (Indirect(), Im2row(), Gemm(), Direct(), Kn2col(), Kn2colAs())


def algorithm(name: str) -> Algorithm:
    """The algorithm of that name. Raises ValueError for an unknown one."""
    for known in ALGORITHMS:
        if known.name == name:
            return known
    raise ValueError(unknown("algorithm", name, [known.name for known in ALGORITHMS]))

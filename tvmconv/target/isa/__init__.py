"""The vector instruction sets, one a file; best first for each architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tvmconv.target.isa.avx2 import AVX2
from tvmconv.target.isa.avx512 import AVX512
from tvmconv.target.isa.base import Isa
from tvmconv.target.isa.costs import GemmCosts, PixelCosts
from tvmconv.target.isa.neon import NEON
from tvmconv.target.isa.sse4 import SSE4

__all__ = ["AVX2", "AVX512", "ISAS", "NEON", "SSE4", "GemmCosts", "Isa", "PixelCosts", "of_arch"]

ISAS: Sequence[Isa] = (AVX512, AVX2, SSE4, NEON)
_BY_ARCH: Mapping[str, Sequence[Isa]] = {
    arch: tuple(isa for isa in ISAS if isa.arch == arch) for arch in dict.fromkeys(isa.arch for isa in ISAS)
}


def of_arch(arch: str) -> Sequence[Isa]:
    """The instruction sets of an architecture, as uname has it, best first; none for one that is unknown."""
    return _BY_ARCH.get(arch, ())

"""AVX2 and FMA: 16 registers of 8 lanes. x86-64-v3.

6x16 needs 15 registers, 4x24 all 16. Both hide the latency of multiply-adds on two ports, and need fewer loads than
multiply-adds.
"""

from __future__ import annotations

from tvmconv.target.isa import x86
from tvmconv.target.isa.base import Isa
from tvmconv.target.isa.costs import GemmCosts

AVX2 = Isa(
    name="avx2",
    triple=x86.TRIPLE,
    target="x86-64-v3",
    mcpu="x86-64-v3",
    l2=256 * 1024,  # Haswell
    features=x86.V3,
    vector_bytes=32,
    registers=16,
    # weight and row are fitted to measurements of the tiles, the bandwidth is measured. The latency is 5 cycles on
    # Haswell and 4 on later cores.
    gemm=GemmCosts({1: 12, 2: 6, 3: 4, 4: 2}, latency=5, weight=0.1, row=0.03),
    pixels=x86.PIXELS_OF_16_REGISTERS,
    probe_flags=("-mavx2", "-mfma"),
    assembled=True,
)

"""SSE4.2: 16 registers of 4 lanes, and no multiply-add. x86-64-v2."""

from __future__ import annotations

from tvmconv.target.isa import x86
from tvmconv.target.isa.base import Isa
from tvmconv.target.isa.costs import GemmCosts

SSE4 = Isa(
    name="sse4",
    triple=x86.TRIPLE,
    target="x86-64-v2",
    mcpu="x86-64-v2",
    l2=256 * 1024,  # Haswell, as for x86-64-v3
    features=x86.V2,
    vector_bytes=16,
    registers=16,
    gemm=GemmCosts({1: 10, 2: 5, 3: 3}, latency=4, weight=0.2, row=0.2),
    pixels=x86.PIXELS_OF_16_REGISTERS,
    probe_flags=("-msse4.2",),
    fused=False,
    assembled=True,
)

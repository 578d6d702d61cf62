"""AVX-512: 32 registers of 16 lanes, and mask registers. x86-64-v4.

6x64 needs 29 registers and holds 6 addresses; 9x48 and 14x32 fit, too. Which of them is best depends on what they waste
on the layer's remainders, the weights they stream (NR a channel) and the addresses they hold (MR).
"""

from __future__ import annotations

from tvmconv.target.isa import x86
from tvmconv.target.isa.base import Isa
from tvmconv.target.isa.costs import GemmCosts, PixelCosts

AVX512 = Isa(
    name="avx512",
    triple=x86.TRIPLE,
    target="x86-64-v4",
    mcpu="x86-64-v4",
    l2=1024 * 1024,  # Skylake-SP
    features=x86.V4,
    vector_bytes=64,
    registers=32,
    # weight and row are fitted to measurements of the tiles, the bandwidth is measured.
    gemm=GemmCosts({1: 12, 2: 12, 3: 8, 4: 6}, latency=4, weight=0.2, row=0.2),
    pixels=PixelCosts({1: 14, 2: 13, 3: 9, 4: 6}),
    # LLVM 22 turns AVX512DQ's vpmovd2m and a kmovd into vmovmskps without a look at the register, which must be one of
    # the first 16 (llvm/llvm-project#191304). No loop that matters needs AVX512DQ.
    avoided=("-avx512dq",),
    probe_flags=("-mavx512f",),
    assembled=True,
)

"""The instruction sets of x86-64, each a level of the psABI (section 3.1.1, "Processor Architecture").

A level includes the features of those before it. Features have the names of /proc/cpuinfo.
"""

from __future__ import annotations

from tvmconv.target.isa.costs import PixelCosts

# Of tiles in NCHW where there are 16 registers and no mask registers: each vector's mask takes a register too.
PIXELS_OF_16_REGISTERS = PixelCosts({1: 8, 2: 5, 3: 3})

TRIPLE = "x86_64-unknown-linux-gnu"

V2 = ("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3")
V3 = (*V2, "abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave")
V4 = (*V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

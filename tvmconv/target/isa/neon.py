"""NEON: 32 registers of 4 lanes, and multiply-adds that take one lane of a vector. aarch64.

A row's channels are loaded four at a time, as one vector whose lanes `fmla v.4s, v.4s, v.s[lane]` takes one by one. A
tile of MR×NR needs MR·NR/4 accumulators, NR/4 registers for weights, MR for the rows and one for the next weights: 9x8,
7x12, 5x16 and 4x20 use 30 to 32 registers. Weights and rows of the next step are loaded after their last use in this
one, which in-order cores need. Nothing is prefetched: weights are read in order, and each prfm takes the place of a
multiply-add on cores that start two or three instructions a cycle.
"""

from __future__ import annotations

from dataclasses import replace

from tvmconv.target.isa.base import Isa
from tvmconv.target.isa.costs import GemmCosts, PixelCosts

# Tiles rated by llvm-mca 22, as Neoverse N1 and Cortex-A55.
_OUT_OF_ORDER = GemmCosts(
    rows={1: 9, 2: 8, 3: 6, 4: 5},
    latency=4,
    weight=0.25,
    row=0.11,
    gathered={1: 12, 2: 9, 3: 6, 4: 5, 5: 4},
    l2_bandwidth=16,
    ahead=0,
    streams=False,
    longest=1024,  # LLVM adds once a row and step for an offset of more than 4095 bytes, which is no immediate operand
)
# For in-order cores LLVM repeats the loop's body and loads further ahead, which spills larger tiles. Weights and rows
# cost what they do in instructions of whole layers.
_IN_ORDER = replace(
    _OUT_OF_ORDER,
    rows={1: 7, 2: 5, 3: 4, 4: 4},
    weight=0.3,
    row=0.2,
    gathered={1: 10, 2: 7, 3: 5, 4: 4},
    l2_bandwidth=8,
)

NEON = Isa(
    name="neon",
    triple="aarch64-unknown-linux-gnu",
    target="aarch64",
    mcpu="generic",
    l2=256 * 1024,
    features=("asimd",),
    vector_bytes=16,
    registers=32,
    gemm=_OUT_OF_ORDER,
    in_order=_IN_ORDER,
    pixels=PixelCosts({1: 24, 2: 8, 3: 4, 4: 4}, held=4, long=16, row=0.025, vector=1, tile=60),
    prefetches=False,
    frame_pointer=True,
    baseline=frozenset({"fp-armv8", "neon"}),
)

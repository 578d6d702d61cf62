"""Hand-written schedules for NEON: one recipe, and what differs between cores as data.

A row's channels come four at a time, as one vector whose lanes `fmla v.4s, v.4s, v.s[lane]` takes one by one. A tile
of MR×NR needs MR·NR/4 accumulators, NR/4 registers for weights, MR for the rows and one for the next weights: of 32
registers 9x8, 7x12, 5x16 and 4x20 use 30 to 32. Weights and rows for the next step are loaded behind their last use in
this one, which in-order cores need. Nothing is prefetched: weights are read in order, and each prfm takes the place of
a multiply-add on cores that start two or three instructions a cycle.
"""

from __future__ import annotations

from dataclasses import replace

from schedules import tiles
from schedules.program import schedule
from schedules.tiles import Costs
from tvmconv.algorithms.base import Algorithm
from tvmconv.target.cores import BY_NAME
from tvmconv.target.targets import Target
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

__all__ = ["choose_tile", "schedule"]

# Tiles rated by llvm-mca 22, as Neoverse N1 and Cortex-A55.
_OUT_OF_ORDER = Costs(
    rows={1: 9, 2: 8, 3: 6, 4: 5},
    latency=4,
    weight=0.25,
    row=0.11,
    gathered={1: 12, 2: 9, 3: 6, 4: 5, 5: 4},
    l2_bandwidth=16,
    ahead=0,
    streams=False,
    longest=1024,  # a distance of more than 4095 bytes is no immediate operand, and LLVM then adds once a row and step
)
# For in-order cores LLVM repeats the loop's body and loads further ahead: larger tiles would be spilled. Weights and
# rows cost what they do in instructions of whole layers.
_IN_ORDER = replace(
    _OUT_OF_ORDER,
    rows={1: 7, 2: 5, 3: 4, 4: 4},
    weight=0.3,
    row=0.2,
    gathered={1: 10, 2: 7, 3: 5, 4: 4},
    l2_bandwidth=8,
)
_FLOPS = 8  # of one multiply-add of four lanes


def choose_tile(algorithm: Algorithm, shape: ConvShape, target: Target, wanted: Tile | None) -> Tile:
    """As tiles.choose_tile."""
    return tiles.choose_tile(algorithm, shape, target, wanted, _costs(target))


def _costs(target: Target) -> Costs:
    core = BY_NAME.get(target.mcpu)  # none for generic, which LLVM schedules as it does for cores out of order
    costs = _IN_ORDER if core and core.in_order else _OUT_OF_ORDER
    return replace(costs, ports=core.flops // _FLOPS) if core and core.flops else costs

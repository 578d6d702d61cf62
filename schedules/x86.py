"""Hand-written schedules for x86: one recipe, and what differs between the instruction sets as data (`_COSTS`).

A tile of MR×NR needs MR·NR/lanes accumulators, NR/lanes registers for weights and one for the broadcast element
(`Isa.fits`). With AVX-512's 32 registers of 16 lanes that leaves 6x64, 9x48, 14x32, with AVX2's 16 of 8 lanes 6x16 and
4x24: all of them hide FMA's latency on two ports and need fewer loads than FMAs. What tells them apart is what they
waste on the layer's tails, the weights they stream (NR a channel) and the addresses they hold (MR).
"""

from __future__ import annotations

from schedules import tiles
from schedules.program import schedule
from schedules.tiles import Costs
from tvmconv.algorithms.base import Algorithm
from tvmconv.target.targets import Target
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

__all__ = ["choose_tile", "schedule"]

# Cycles for weights and rows are fitted to measurements of the tiles, the bandwidth is measured.
_COSTS = {
    "avx512": Costs({1: 12, 2: 12, 3: 8, 4: 6}, 4, 0.2, 0.2),
    "avx2": Costs({1: 12, 2: 6, 3: 4, 4: 2}, 5, 0.1, 0.03),  # 5 cycles on Haswell, 4 on what came later
    "sse4": Costs({1: 10, 2: 5, 3: 3}, 4, 0.2, 0.2),
}


def choose_tile(algorithm: Algorithm, shape: ConvShape, target: Target, wanted: Tile | None) -> Tile:
    """As tiles.choose_tile."""
    return tiles.choose_tile(algorithm, shape, target, wanted, _COSTS[target.isa.name])

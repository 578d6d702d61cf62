"""The cost model's features of a kernel, computed from its shape and tile.

Lowering a module to count its stores takes 0.2 to 0.5 s, most of it to parse TVMScript, and a batch of the search
weighs hundreds of tiles; these figures take a tenth of a millisecond, and mean the same for layers of any size.
"""

from __future__ import annotations

import functools
import math

from tvmconv.algorithms import ALGORITHMS
from tvmconv.algorithms.base import Algorithm
from tvmconv.target.targets import Target
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

_ALGORITHMS = {(known.name, known.layout): float(number) for number, known in enumerate(ALGORITHMS)}


def features(algorithm: Algorithm, shape: ConvShape, target: Target, tile: Tile) -> tuple[float, ...]:
    """Figures of one kernel, sizes and ratios as logarithms, always as many and in the same order."""
    isa, dtype = target.isa, algorithm.dtype
    work, panels, channels, taps = _structure(
        algorithm, shape, Tile(tile.mr, tile.nr, lanes=tile.lanes, a_vector=tile.a_vector)
    )
    vectors = tile.nr / isa.lanes(dtype)
    kc = tile.kc if tile.kc > 0 and not shape.depthwise else channels
    rows = tile.mc if tile.mc > 0 else shape.m
    multiply_adds = tile.mr * vectors
    of_weights, of_rows = kc * taps * tile.nr * dtype.bytes, rows * kc * dtype.bytes
    needed = shape.flops / 2 / shape.mb
    computed = max(1.0, work * panels * channels * tile.mr * tile.nr)
    return (
        _ALGORITHMS[algorithm.name, algorithm.layout],
        float(tile.mr),
        vectors,
        multiply_adds,
        float(isa.registers - isa.registers_of(tile, dtype)),
        (tile.mr + vectors) / multiply_adds,  # loads of a multiply-add
        float(tile.kr),
        float(tile.prefetch_distance),
        float(tile.stream_l2),
        _log(kc),
        _log(channels / kc),
        _log(rows / tile.mr),
        _log(shape.m / rows),
        _log(of_weights),
        _log(of_weights / target.l2),
        _log(of_rows / target.l2),
        _log(computed / needed),
        _log(panels),
        _log(work),
        _log(taps),
        _log(channels),
        _log(shape.oc),
        _log(shape.m),
        float(shape.sw),
        _log(shape.flops),
    )


@functools.lru_cache(maxsize=4096)
def _structure(algorithm: Algorithm, shape: ConvShape, tile: Tile) -> tuple[float, int, int, int]:
    """Taps over all tiles of one image, panels, channels and taps of a run."""
    layout = algorithm.view(shape, tile).layout
    return algorithm.work(shape, tile), layout.panels * layout.groups, layout.channels, layout.taps


def _log(number: float) -> float:
    return math.log2(number)

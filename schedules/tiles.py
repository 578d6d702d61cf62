"""Chooses a register tile by its estimated cycles on a core, tails of the layer included."""

from __future__ import annotations

from dataclasses import replace

from tvmconv.algorithms.base import Algorithm
from tvmconv.schedules import depthwise, nchw
from tvmconv.schedules.unsuited import Unsuited
from tvmconv.target.isa import GemmCosts
from tvmconv.target.targets import Target
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

_STEP = 4  # channels unrolled
_SHORTEST_BLOCK = 16  # channels; below that a block of K costs more than it saves
_L2_PART = 0.3  # of L2 for one block of weights: the next one streams through the rest


def choose_tile(algorithm: Algorithm, shape: ConvShape, target: Target, wanted: Tile | None) -> Tile:
    """The wanted tile with its open sizes filled in, or the one that wastes least on the tails of this layer.

    Raises ValueError for a tile that does not fit the instruction set, Unsuited for one that fits, but not this layer.
    """
    if algorithm.layout == "nchw":
        return nchw.choose_tile(algorithm, shape, target, wanted)
    isa, costs, dtype = target.isa, target.gemm_costs, algorithm.dtype
    lanes = isa.lanes(dtype)
    mr, nr = (wanted.mr, wanted.nr) if wanted else _best_registers(algorithm, shape, target, costs)
    if shape.depthwise:
        chosen = depthwise.completed(shape, mr, nr)
    else:
        chosen = _completed(algorithm, shape, target, mr, nr, costs)
    tile = replace(chosen, **wanted.decided) if wanted else chosen
    if not shape.depthwise and costs.gathered and (wanted is None or "a_vector" not in wanted.decided):
        gathered = replace(tile, a_vector=lanes)
        tile = gathered if tile.kr == lanes and isa.fits(gathered, dtype) else replace(tile, a_vector=1)
    if not isa.fits(tile, dtype):
        fitting = "x".join(map(str, _best_registers(algorithm, shape, target, costs)))
        raise ValueError(
            f"tile {tile} needs {isa.registers_of(tile, dtype)} vector registers and {isa.name} has {isa.registers}; "
            f"{fitting} would fit"
        )
    if nr % lanes and not (shape.depthwise and nr < lanes):
        raise ValueError(f"tile {tile}: NR must be a multiple of the {lanes} lanes of {isa.name}")
    if tile.a_vector > 1 and (tile.a_vector, tile.kr) != (lanes, lanes):
        raise ValueError(f"tile {tile}: GC must be 1, or KR and the {lanes} lanes of {isa.name}")
    layout = algorithm.view(shape, tile).layout
    if layout.channels % layout.kc or layout.kc % tile.kr:
        raise Unsuited(f"tile {tile}: KC must divide the layer's {layout.channels} channels, and KR must divide KC")
    if shape.depthwise and nr > shape.oc:
        raise Unsuited(f"tile {tile}: NR must not be more than the {shape.oc} channels of a depthwise layer")
    return tile


def _best_registers(algorithm: Algorithm, shape: ConvShape, target: Target, costs: GemmCosts) -> tuple[int, int]:
    """MR and NR that suit the layer best."""
    if shape.depthwise:
        return depthwise.best_registers(shape, target.isa, algorithm.dtype)
    return _least_waste(algorithm, shape, target, costs)


def _completed(algorithm: Algorithm, shape: ConvShape, target: Target, mr: int, nr: int, costs: GemmCosts) -> Tile:
    """The tile with its other sizes; K is blocked so that the weights of one block stay in L2."""
    layout, block = algorithm.view(shape, Tile(mr, nr)).layout, int(_L2_PART * target.l2)
    lanes = target.isa.lanes(algorithm.dtype)
    unit = lanes if _gathers(layout.channels, lanes, costs) else 1
    most = min(block // (layout.taps * nr * algorithm.dtype.bytes), costs.longest)
    kc = unit * _largest_divisor(layout.channels // unit, most // unit)
    if kc < _SHORTEST_BLOCK:  # a prime number of channels, say
        kc = layout.channels
    return Tile(
        mr,
        nr,
        kr=_largest_divisor(kc, _STEP),
        kc=0 if kc == layout.channels else kc,
        prefetch_distance=costs.ahead // nr,
        stream_l2=int(costs.streams and layout.bytes > 2 * block),
        **_row_sizes(algorithm, shape, target),
    )


def _row_sizes(algorithm: Algorithm, shape: ConvShape, target: Target) -> dict[str, int]:
    """MC: all rows, as panels of weights stay in L2; a band where bands of rows are made, and VL, to make them with."""
    band = algorithm.band(shape, target.l2)
    return {"mc": 0} if band is None else {"mc": band, "lanes": target.isa.lanes(algorithm.dtype)}


def _least_waste(algorithm: Algorithm, shape: ConvShape, target: Target, costs: GemmCosts) -> tuple[int, int]:
    """MR and NR with the fewest estimated cycles for the layer, tails computed in full; of equals the tallest."""
    isa, sizes = target.isa, _row_sizes(algorithm, shape, target)
    lanes = isa.lanes(algorithm.dtype)
    gathered = _gathers(algorithm.view(shape, Tile(1, lanes)).layout.channels, lanes, costs)
    of_row = lanes if gathered else 1

    def cost(mr: int, vectors: int) -> float:
        tile = Tile(mr, vectors * lanes, **sizes)
        panels = algorithm.view(shape, tile).layout.panels
        return algorithm.work(shape, tile) * panels * costs.cycles(isa.vector_bytes, mr, vectors, of_row)

    rows = costs.gathered if gathered else costs.rows
    choices = [(mr, vectors) for vectors, most in rows.items() for mr in range(1, most + 1)]
    mr, vectors = min(choices, key=lambda choice: (round(cost(*choice), 6), -choice[0]))
    return mr, vectors * lanes


def _gathers(channels: int, lanes: int, costs: GemmCosts) -> bool:
    """Whether rows are held as vectors of channels."""
    return bool(costs.gathered) and channels % lanes == 0


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(max(1, min(number, limit)), 0, -1) if number % d == 0)

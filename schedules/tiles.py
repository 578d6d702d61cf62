"""The choice of a register tile: by what a tile costs on a core, and by what it wastes on the layer's tails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from schedules import depthwise, nchw, winograd
from schedules.unsuited import Unsuited
from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.program import BYTES
from tvmconv.algorithms.winograd import Winograd
from tvmconv.target.targets import Isa, Target
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

_STEP = 4  # channels unrolled
_SHORTEST_BLOCK = 16  # channels; below that a block of K costs more than it saves
_L2_PART = 0.3  # of L2 for one block of weights: the next one streams through the rest


@dataclass(frozen=True)
class Costs:
    """What a channel of a register tile costs on a core; rows are found by reading LLVM 22's code.

    rows: vectors of NR → most rows that stay in registers with four channels unrolled; gathered: the same where rows
    are held as vectors of channels, empty where that does not pay. ports: multiply-adds a cycle. latency: of a
    multiply-add, in cycles: as many cycles a channel takes at least. weight, row: cycles a channel for each weight
    vector and each row beside the multiply-adds. l2_bandwidth: bytes a cycle. ahead: weights fetched into L1 ahead of
    their use, in elements. streams: whether fetching the next block of weights into L2 pays. longest: channels of one
    run at most.
    """

    rows: Mapping[int, int]
    latency: int
    weight: float
    row: float
    gathered: Mapping[int, int] = field(default_factory=dict)
    ports: int = 2
    l2_bandwidth: int = 26
    ahead: int = 256
    streams: bool = True
    longest: int = 2**31

    def cycles(self, isa: Isa, mr: int, vectors: int, gathered: bool = False) -> float:
        """Estimated cycles of one channel of one tile: FMA ports, two load ports, weights from L2."""
        multiply_adds, weights = mr * vectors / self.ports, vectors * isa.vector_bytes / self.l2_bandwidth
        loads = (mr / (isa.lanes if gathered else 1) + vectors) / 2
        return max(multiply_adds, loads, self.latency, weights) + self.weight * vectors + self.row * mr


def choose_tile(algorithm: Algorithm, shape: ConvShape, target: Target, wanted: Tile | None, costs: Costs) -> Tile:
    """The wanted tile with its open sizes filled in, or the one that wastes least on the tails of this layer.

    Raises ValueError for a tile that does not fit the instruction set, Unsuited for one that fits, but not this layer.
    """
    if algorithm.layout == "nchw":
        return nchw.choose_tile(algorithm, shape, target, wanted)
    isa = target.isa
    mr, nr = (wanted.mr, wanted.nr) if wanted else _best_registers(algorithm, shape, target, costs)
    if shape.depthwise:
        chosen = depthwise.completed(shape, mr, nr)
    else:
        chosen = _completed(algorithm, shape, target, mr, nr, costs)
    tile = replace(chosen, **wanted.decided) if wanted else chosen
    if not shape.depthwise and costs.gathered and (wanted is None or "gc" not in wanted.decided):
        gathered = replace(tile, gc=isa.lanes)
        tile = gathered if tile.kr == isa.lanes and isa.fits(gathered) else replace(tile, gc=1)
    if not isa.fits(tile):
        fitting = "x".join(map(str, _best_registers(algorithm, shape, target, costs)))
        raise ValueError(
            f"tile {tile} needs {isa.registers_of(tile)} vector registers and {isa.name} has {isa.registers}; "
            f"{fitting} would fit"
        )
    if nr % isa.lanes and not (shape.depthwise and nr < isa.lanes):
        raise ValueError(f"tile {tile}: NR must be a multiple of the {isa.lanes} lanes of {isa.name}")
    if tile.gc > 1 and (tile.gc, tile.kr) != (isa.lanes, isa.lanes):
        raise ValueError(f"tile {tile}: GC must be 1, or KR and the {isa.lanes} lanes of {isa.name}")
    layout = algorithm.view(shape, tile).layout
    if layout.channels % layout.kc or layout.kc % tile.kr:
        raise Unsuited(f"tile {tile}: KC must divide the layer's {layout.channels} channels, and KR must divide KC")
    if shape.depthwise and nr > shape.oc:
        raise Unsuited(f"tile {tile}: NR must not be more than the {shape.oc} channels of a depthwise layer")
    return tile


def _best_registers(algorithm: Algorithm, shape: ConvShape, target: Target, costs: Costs) -> tuple[int, int]:
    """MR and NR that suit the layer best."""
    if shape.depthwise:
        return depthwise.best_registers(shape, target.isa)
    return _least_waste(algorithm, shape, target, costs)


def _completed(algorithm: Algorithm, shape: ConvShape, target: Target, mr: int, nr: int, costs: Costs) -> Tile:
    """The tile with its other sizes; K is blocked so that the weights of one block stay in L2."""
    layout, block = algorithm.view(shape, Tile(mr, nr)).layout, int(_L2_PART * target.l2)
    unit = target.isa.lanes if _gathers(layout.channels, target.isa, costs) else 1
    most = min(block // (layout.taps * nr * BYTES), costs.longest)
    kc = unit * _largest_divisor(layout.channels // unit, most // unit)
    if kc < _SHORTEST_BLOCK:  # a prime number of channels, say
        kc = layout.channels
    return Tile(
        mr,
        nr,
        kr=_largest_divisor(kc, _STEP),
        kc=0 if kc == layout.channels else kc,
        pf=costs.ahead // nr,
        st=int(costs.streams and layout.elements * BYTES > 2 * block),
        **_row_sizes(algorithm, shape, target),
    )


def _row_sizes(algorithm: Algorithm, shape: ConvShape, target: Target) -> dict[str, int]:
    """MC: all rows, as panels of weights stay in L2; a band where bands of rows are made, and VL, to make them with."""
    if algorithm.name != Winograd.name:
        return {"mc": 0}
    return {"mc": winograd.band(shape, target), "vl": target.isa.lanes}


def _least_waste(algorithm: Algorithm, shape: ConvShape, target: Target, costs: Costs) -> tuple[int, int]:
    """MR and NR with the fewest estimated cycles for the layer, tails computed in full; of equals the tallest."""
    isa, sizes = target.isa, _row_sizes(algorithm, shape, target)
    gathered = _gathers(algorithm.view(shape, Tile(1, isa.lanes)).layout.channels, isa, costs)

    def cost(mr: int, vectors: int) -> float:
        tile = Tile(mr, vectors * isa.lanes, **sizes)
        panels = algorithm.view(shape, tile).layout.panels
        return algorithm.work(shape, tile) * panels * costs.cycles(isa, mr, vectors, gathered)

    rows = costs.gathered if gathered else costs.rows
    choices = [(mr, vectors) for vectors, most in rows.items() for mr in range(1, most + 1)]
    mr, vectors = min(choices, key=lambda choice: (round(cost(*choice), 6), -choice[0]))
    return mr, vectors * isa.lanes


def _gathers(channels: int, isa: Isa, costs: Costs) -> bool:
    """Whether rows are held as vectors of channels."""
    return bool(costs.gathered) and channels % isa.lanes == 0


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(max(1, min(number, limit)), 0, -1) if number % d == 0)

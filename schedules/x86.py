"""Hand-written schedules for x86: one recipe, and what differs between the instruction sets as data (`_COSTS`).

A tile of MR×NR needs MR·NR/lanes accumulators, NR/lanes registers for weights and one for the broadcast element
(`Isa.fits`). With AVX-512's 32 registers of 16 lanes that leaves 6x64, 9x48, 14x32, with AVX2's 16 of 8 lanes 6x16 and
4x24: all of them hide FMA's latency on two ports and need fewer loads than FMAs. What tells them apart is what they
waste on the layer's tails, the weights they stream (NR a channel) and the addresses they hold (MR).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from schedules import depthwise, gemm, x86_nchw
from schedules.unsuited import Unsuited
from tvmconv.algorithms.ir import BYTES, Algorithm, Program
from tvmconv.shape import ConvShape
from tvmconv.target import Isa, Target
from tvmconv.tile import Tile


@dataclass(frozen=True)
class Costs:
    """What a channel of a register tile costs on an instruction set; rows are found by reading LLVM 22's code.

    rows: vectors of NR → most rows that stay in registers with four channels unrolled. latency: of a multiply-add, in
    cycles: two ports need twice as many accumulators. weight, row: cycles a channel for each weight vector and each
    row beside the multiply-adds, fitted to measurements of the tiles.
    """

    rows: Mapping[int, int]
    latency: int
    weight: float
    row: float


_COSTS = {
    "avx512": Costs({1: 12, 2: 12, 3: 8, 4: 6}, 4, 0.2, 0.2),
    "avx2": Costs({1: 12, 2: 6, 3: 4, 4: 2}, 5, 0.1, 0.03),  # 5 cycles on Haswell, 4 on what came later
    "sse4": Costs({1: 10, 2: 5, 3: 3}, 4, 0.2, 0.2),
    "neon": Costs({2: 12, 3: 8, 4: 6}, 4, 0.1, 0.1),
}
_STEP = 4  # channels unrolled
_AHEAD = 256  # weights fetched into L1 ahead of their use, in elements
_SHORTEST_BLOCK = 16  # channels; below that a block of K costs more than it saves
_L2_BANDWIDTH = 26  # bytes a cycle, as measured here
_L2_PART = 0.3  # of L2 for one block of weights: the next one streams through the rest


def schedule(program: Program, target: Target) -> dict[str, Any]:
    """The program's functions, scheduled: a register tile where there is one, else as LLVM vectorises the loops."""
    return {name: _schedule(name, function, target.isa.lanes) for name, function in program.functions.items()}


def _schedule(name: str, function: Any, lanes: int) -> Any:
    import tvm
    from tvm.s_tir import Schedule

    sch = Schedule(tvm.IRModule({name: function}))
    sch.work_on(name)
    gemm.register_tiles(sch, lanes)
    if gemm.present(sch, "product"):
        gemm.pixel_tile(sch)
    if depthwise.present(sch):
        depthwise.register_tile(sch, lanes)
    return sch.mod[name]


def cycles(isa: Isa, mr: int, vectors: int) -> float:
    """Estimated cycles of one channel of one tile: two FMA ports, two load ports, weights from L2."""
    costs, weights = _COSTS[isa.name], vectors * isa.vector_bytes / _L2_BANDWIDTH
    return max(mr * vectors / 2, (mr + vectors) / 2, costs.latency, weights) + costs.weight * vectors + costs.row * mr


def choose_tile(algorithm: Algorithm, shape: ConvShape, target: Target, wanted: Tile | None) -> Tile:
    """The wanted tile with its open sizes filled in, or the one that wastes least on the tails of this layer.

    Raises ValueError for a tile that does not fit the instruction set, Unsuited for one that fits, but not this layer.
    """
    if algorithm.layout == "nchw":
        return x86_nchw.choose_tile(algorithm, shape, target, wanted)
    isa = target.isa
    best = depthwise.best_registers(shape, isa) if shape.depthwise else _least_waste(algorithm, shape, isa)
    mr, nr = (wanted.mr, wanted.nr) if wanted else best
    chosen = depthwise.completed(shape, mr, nr) if shape.depthwise else _completed(algorithm, shape, target, mr, nr)
    tile = replace(chosen, **wanted.decided) if wanted else chosen
    if not isa.fits(tile):
        raise ValueError(
            f"tile {tile} needs {isa.registers_of(tile)} vector registers and {isa.name} has {isa.registers}; "
            f"{'x'.join(map(str, best))} would fit"
        )
    if nr % isa.lanes and not (shape.depthwise and nr < isa.lanes):
        raise ValueError(f"tile {tile}: NR must be a multiple of the {isa.lanes} lanes of {isa.name}")
    layout = algorithm.view(shape, tile).layout
    if layout.channels % layout.kc or layout.kc % tile.kr:
        raise Unsuited(f"tile {tile}: KC must divide the layer's {layout.channels} channels, and KR must divide KC")
    if shape.depthwise and nr > shape.oc:
        raise Unsuited(f"tile {tile}: NR must not be more than the {shape.oc} channels of a depthwise layer")
    return tile


def _completed(algorithm: Algorithm, shape: ConvShape, target: Target, mr: int, nr: int) -> Tile:
    """The tile with its other sizes; K is blocked so that the weights of one block stay in L2."""
    layout, block = algorithm.view(shape, Tile(mr, nr)).layout, int(_L2_PART * target.l2)
    kc = _largest_divisor(layout.channels, block // (layout.taps * nr * BYTES))
    if kc < _SHORTEST_BLOCK:  # a prime number of channels, say
        kc = layout.channels
    return Tile(
        mr,
        nr,
        kr=_largest_divisor(kc, _STEP),
        mc=0,
        kc=0 if kc == layout.channels else kc,
        pf=_AHEAD // nr,
        st=int(layout.elements * BYTES > 2 * block),
    )


def _least_waste(algorithm: Algorithm, shape: ConvShape, isa: Isa) -> tuple[int, int]:
    """MR and NR with the fewest estimated cycles for the layer, tails computed in full; of equals the tallest."""

    def cost(mr: int, vectors: int) -> float:
        tile = Tile(mr, vectors * isa.lanes)
        return algorithm.work(shape, tile) * algorithm.view(shape, tile).layout.panels * cycles(isa, mr, vectors)

    choices = [(mr, vectors) for vectors, most in _COSTS[isa.name].rows.items() for mr in range(1, most + 1)]
    mr, vectors = min(choices, key=lambda choice: (round(cost(*choice), 6), -choice[0]))
    return mr, vectors * isa.lanes


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(max(1, min(number, limit)), 0, -1) if number % d == 0)

"""Isa: the record of a vector instruction set."""

from __future__ import annotations

from dataclasses import dataclass, field

from tvmconv.target.dtype import DType
from tvmconv.target.isa.costs import GemmCosts, PixelCosts
from tvmconv.target.tile import Tile


@dataclass(frozen=True)
class Isa:
    """A vector instruction set and the generic target that stands for it.

    triple, mcpu: LLVM's, of code for every machine that has the instruction set; target: the name of that target;
    l2: bytes of the second-level cache of the smallest common core.
    features: what a machine must show in /proc/cpuinfo.
    vector_bytes: of one register; registers: number of vector registers.
    gemm, pixels: costs of tiles in NHWC and NCHW; in_order: those in NHWC on cores that execute in order, if they
    differ. prefetches: whether software prefetch is worth searching for.
    baseline: LLVM's features that code may use beside a core's own, where mcpu implies more than machines show;
    None where mcpu is exact. avoided: LLVM's features that code does without, as LLVM has them with their sign.
    probe_flags: for the C compiler of the peak's probe. fused: whether it multiplies and adds in one instruction.
    assembled: whether objects are assembled from LLVM's text, since its object writer takes instructions that have no
    encoding; frame_pointer: whether functions keep one, by which profilers walk the stack.
    """

    name: str
    triple: str
    target: str
    mcpu: str
    l2: int
    features: tuple[str, ...]
    vector_bytes: int
    registers: int
    gemm: GemmCosts = field(hash=False)
    pixels: PixelCosts = field(hash=False)
    in_order: GemmCosts | None = field(default=None, hash=False)
    prefetches: bool = True
    baseline: frozenset[str] | None = None
    avoided: tuple[str, ...] = ()
    probe_flags: tuple[str, ...] = ()
    fused: bool = True
    assembled: bool = False
    frame_pointer: bool = False

    @property
    def arch(self) -> str:
        """The architecture as uname has it: x86_64 or aarch64."""
        return self.triple.partition("-")[0]

    def lanes(self, dtype: DType) -> int:
        """Sums of one vector."""
        return self.vector_bytes // dtype.accumulator_bytes

    def registers_of(self, tile: Tile, dtype: DType) -> int:
        """Vector registers that a tile's inner loop keeps live.

        MR·NR/lanes accumulators, one row of NR/lanes weight vectors, one broadcast element of x that is used before
        the next one is loaded, and the product where that is added by an instruction of its own. Where rows are held
        as vectors of channels: these rows and the next weight vector in the place of the element.
        """
        vectors = -(-tile.nr // self.lanes(dtype))
        of_rows = tile.mr + 1 if tile.a_vector > 1 else 1
        return tile.mr * vectors + vectors + of_rows + (0 if self.fused else 1)

    def fits(self, tile: Tile, dtype: DType) -> bool:
        """Whether the tile's inner loop needs no more registers than there are, so that nothing is spilled."""
        return self.registers_of(tile, dtype) <= self.registers

"""Targets: what the compiler and the choice of a register tile must know of a machine. Tables, no tvm."""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass
from pathlib import Path

from tvmconv.names import unknown
from tvmconv.tile import Tile

# CPU features by the names that Linux gives them in /proc/cpuinfo; each level includes those before it
# (x86-64 psABI, section 3.1.1 "Processor Architecture").
_V2 = ("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3")
_V3 = (*_V2, "abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")


@dataclass(frozen=True)
class Isa:
    """A vector instruction set: bytes of a vector, number of vector registers, the features that it stands for.

    fused: whether it multiplies and adds in one instruction.
    """

    name: str
    vector_bytes: int
    registers: int
    features: tuple[str, ...]
    fused: bool = True

    @property
    def lanes(self) -> int:
        """f32 elements of one vector."""
        return self.vector_bytes // 4

    def registers_of(self, tile: Tile) -> int:
        """Vector registers that a tile's inner loop keeps live.

        MR·NR/lanes accumulators, one row of NR/lanes weight vectors, one broadcast element of x that is used before
        the next one is loaded, and the product where that is added by an instruction of its own.
        """
        vectors = -(-tile.nr // self.lanes)
        return tile.mr * vectors + vectors + (1 if self.fused else 2)

    def fits(self, tile: Tile) -> bool:
        """Whether the tile's inner loop needs no more registers than there are, so that nothing is spilled."""
        return self.registers_of(tile) <= self.registers


@dataclass(frozen=True)
class Target:
    """What code is made for: LLVM's triple and core, the instruction set, L2 cache in bytes (of one core)."""

    name: str
    isa: Isa
    triple: str
    mcpu: str
    l2: int
    mattr: tuple[str, ...] = ()  # LLVM's features beside those of mcpu: +name, -name

    @property
    def features(self) -> tuple[str, ...]:
        """CPU features that a machine must have to run code made for this target, named as in /proc/cpuinfo."""
        return self.isa.features


SSE4 = Isa("sse4", 16, 16, _V2, fused=False)
AVX2 = Isa("avx2", 32, 16, _V3)
AVX512 = Isa("avx512", 64, 32, _V4)
NEON = Isa("neon", 16, 32, ("asimd",))

_KB = 1024
_X86 = "x86_64-unknown-linux-gnu"
_ARM = "aarch64-unknown-linux-gnu"

# Best first: native is the first of these whose features the machine has. Cache sizes are those of the smallest
# common core of the level (L2: Skylake-SP 1 MB, Haswell 256 kB).
TARGETS: tuple[Target, ...] = (
    Target("x86-64-v4", AVX512, _X86, "x86-64-v4", 1024 * _KB),
    Target("x86-64-v3", AVX2, _X86, "x86-64-v3", 256 * _KB),
    Target("x86-64-v2", SSE4, _X86, "x86-64-v2", 256 * _KB),
    Target("aarch64", NEON, _ARM, "generic", 256 * _KB),
    Target("cortex-a55", NEON, _ARM, "cortex-a55", 128 * _KB),
    Target("cortex-a57", NEON, _ARM, "cortex-a57", 1024 * _KB),
    Target("cortex-a76", NEON, _ARM, "cortex-a76", 256 * _KB),
    Target("cortex-x1", NEON, _ARM, "cortex-x1", 512 * _KB),
)


@functools.cache
def host_features() -> frozenset[str]:
    """The CPU features that Linux reports for this machine (flags on x86, Features on aarch64)."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def native() -> Target:
    """The best target that this machine runs. Raises ValueError where there is none."""
    if platform.machine() == "x86_64":
        for target in TARGETS:
            if host_features().issuperset(target.features):
                return target
    raise ValueError(f"no target for this machine ({platform.machine()}): it needs x86-64-v2 at least")


def parse(name: str) -> Target:
    """The target of that name; native is this machine's best. Raises ValueError for an unknown name."""
    if name == "native":
        return native()
    for target in TARGETS:
        if target.name == name:
            return target
    raise ValueError(unknown("target", name, ["native", *(target.name for target in TARGETS)]))

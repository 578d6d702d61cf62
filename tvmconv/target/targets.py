"""Targets: what the compiler and the choice of a register tile must know of a machine. Tables, no tvm."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tvmconv.support.text import unknown
from tvmconv.target import features
from tvmconv.target.cores import CORES, Core
from tvmconv.target.devices import DEVICES, Cluster, Device
from tvmconv.target.tile import Tile

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
        the next one is loaded, and the product where that is added by an instruction of its own. Where rows are held
        as vectors of channels, those, and a weight vector on its way, in the place of the element.
        """
        vectors = -(-tile.nr // self.lanes)
        of_rows = tile.mr + 1 if tile.gc > 1 else 1
        return tile.mr * vectors + vectors + of_rows + (0 if self.fused else 1)

    def fits(self, tile: Tile) -> bool:
        """Whether the tile's inner loop needs no more registers than there are, so that nothing is spilled."""
        return self.registers_of(tile) <= self.registers


@dataclass(frozen=True)
class Target:
    """What code is made for: LLVM's triple and core, the instruction set, L2 cache in bytes (of one core).

    extensions: what the code may use beside `isa`, by LLVM's names, with all that they need.
    """

    name: str
    isa: Isa
    triple: str
    mcpu: str
    l2: int
    extensions: frozenset[str] = frozenset()

    @property
    def arch(self) -> str:
        """The architecture as uname has it: x86_64 or aarch64."""
        return self.triple.partition("-")[0]

    @property
    def mattr(self) -> tuple[str, ...]:
        """LLVM's features beside those of mcpu: +name, -name.

        x86's levels are exact. AArch64's cores imply dozens of extensions, some of which not all chips have that LLVM
        takes for such a core, and some that systems hide: all are taken away but those that are asked for.
        """
        if self.arch == "aarch64":
            return features.exactly(self.arch, _NEON | self.extensions)
        return tuple(f"+{name}" for name in sorted(self.extensions))

    @property
    def features(self) -> tuple[str, ...]:
        """CPU features that a machine must have to run code made for this target, named as in /proc/cpuinfo."""
        return tuple(dict.fromkeys([*self.isa.features, *features.cpuinfo(self.arch, self.extensions)]))

    @property
    def missing_here(self) -> str | None:
        """Why this machine cannot run code made for this target, to follow a colon; None if it can."""
        if self.arch != platform.machine():
            return f"it is {platform.machine()}, not {self.arch}"
        missing = [feature for feature in self.features if feature not in host_features()]
        return f"it lacks {', '.join(missing)}" if missing else None


SSE4 = Isa("sse4", 16, 16, _V2, fused=False)
AVX2 = Isa("avx2", 32, 16, _V3)
AVX512 = Isa("avx512", 64, 32, _V4)
NEON = Isa("neon", 16, 32, ("asimd",))

_KB = 1024
_MACHINES = "x86_64 or aarch64"
_X86 = "x86_64-unknown-linux-gnu"
_ARM = "aarch64-unknown-linux-gnu"
_NEON = frozenset({"fp-armv8", "neon"})

# Best first: native is the first of these whose features the machine has. Cache sizes are those of the smallest
# common core of the level (L2: Skylake-SP 1 MB, Haswell 256 kB).
_LEVELS = (
    Target("x86-64-v4", AVX512, _X86, "x86-64-v4", 1024 * _KB),
    Target("x86-64-v3", AVX2, _X86, "x86-64-v3", 256 * _KB),
    Target("x86-64-v2", SSE4, _X86, "x86-64-v2", 256 * _KB),
)
_GENERIC = Target("aarch64", NEON, _ARM, "generic", 256 * _KB)


def _of_core(core: Core) -> Target:
    return Target(core.name, NEON, _ARM, core.name, core.l2, frozenset(core.features))


def _of_cluster(device: Device, cluster: Cluster) -> Target:
    l2 = cluster.l2 or cluster.core.l2
    return Target(f"{device.name}/{cluster.name}", NEON, device.triple, cluster.mcpu, l2, frozenset(device.features))


def _of_device(device: Device) -> Target:
    """For all cores of a device, whichever the system picks: their common features, the weakest one's order of
    instructions, as big cores find an order of their own and little ones do not, and the smallest cache."""
    clusters = [_of_cluster(device, cluster) for cluster in device.clusters]
    return replace(clusters[-1], name=device.name, l2=min(target.l2 for target in clusters))


def _targets_of(device: Device) -> list[Target]:
    clusters = device.clusters if len(device.clusters) > 1 else ()
    return [_of_device(device), *(_of_cluster(device, cluster) for cluster in clusters)]


TARGETS: tuple[Target, ...] = (
    *_LEVELS,
    _GENERIC,
    *(target for device in DEVICES for target in _targets_of(device)),
    *(_of_core(core) for core in CORES if core.name not in {device.name for device in DEVICES}),
)
_BY_NAME: Mapping[str, Target] = {target.name: target for target in TARGETS}


@functools.cache
def host_features() -> frozenset[str]:
    """The CPU features that Linux reports for this machine (flags on x86, Features on aarch64)."""
    for name, value in _cpuinfo():
        if name in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


@functools.cache
def host_parts() -> frozenset[str]:
    """The kinds of core that Linux reports for this machine, as Core.parts has them; none on x86."""
    values = {name: [value for key, value in _cpuinfo() if key == name] for name in ("CPU implementer", "CPU part")}
    pairs = zip(*values.values(), strict=True)
    return frozenset(f"{int(implementer, 16):02x}:{int(part, 16):03x}" for implementer, part in pairs)


def _cpuinfo() -> list[tuple[str, str]]:
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    return [(name.strip(), value.strip()) for name, _, value in lines]


def native() -> Target:
    """The best target that this machine runs. Raises ValueError where there is none."""
    return fitting(platform.machine(), host_features(), host_parts())


def fitting(machine: str, shown: frozenset[str], parts: frozenset[str]) -> Target:
    """The best target for all cores of a machine, as uname has it, that shows these features and kinds of core.

    Both as host_features and host_parts have them. Raises ValueError where there is none.
    """
    needs = {"x86_64": "x86-64-v2", "aarch64": "asimd"}
    candidates = {"x86_64": _LEVELS, "aarch64": (_weakest_core(shown, parts), _GENERIC)}
    for target in candidates.get(machine, ()):
        if shown.issuperset(target.features):
            return target
    raise ValueError(
        f"no target for a machine like this ({machine}): it needs {needs.get(machine, _MACHINES)} at least"
    )


def _weakest_core(shown: frozenset[str], parts: frozenset[str]) -> Target:
    """The weakest of these kinds of core, as _of_device has it, less what the system hides; generic where one is not
    known."""
    known = {part: core for core in CORES for part in core.parts}
    cores = [known[part] for part in parts if part in known]
    if not cores or len(cores) < len(parts):
        return _GENERIC
    weakest = min(cores, key=lambda core: (not core.in_order, core.flops or 0, core.name))
    hidden = [name for name in weakest.features if not shown.issuperset(features.cpuinfo("aarch64", frozenset({name})))]
    return parse(weakest.name + "".join(f"-{name}" for name in sorted(hidden)))


def parse(name: str) -> Target:
    """The target of that name; native is this machine's best.

    NAME[/CLUSTER], and behind it changes of its features as LLVM calls them: +dotprod,-fullfp16. Raises ValueError for
    a name or a feature that is unknown, for features that contradict each other, and for one that cannot go.
    """
    base, text = features.split(name, ("native", *_BY_NAME))
    target = native() if base == "native" else _find(base)
    changes = features.parse_changes(text, target.arch)
    if base == "native" and not text:
        return target
    kept = changes.applied(target.arch, target.extensions)
    for removed in changes.removed:
        if set(features.cpuinfo(target.arch, frozenset({removed}))) & {*target.isa.features, "fp"}:
            raise ValueError(f"{base} is {target.isa.name} code, which needs {removed}: name a target without it")
    return replace(target, name=f"{target.name}{changes}", extensions=kept) if str(changes) else target


def _find(name: str) -> Target:
    if name in _BY_NAME:
        return _BY_NAME[name]
    device, slash, cluster = name.partition("/")
    if slash and device in _BY_NAME:
        clusters = [known.removeprefix(f"{device}/") for known in _BY_NAME if known.startswith(f"{device}/")]
        if not clusters:
            raise ValueError(f"{device} has one kind of core: leave /{cluster} out")
        raise ValueError(unknown(f"cluster of {device}", cluster, clusters))
    raise ValueError(unknown("target", name, ["native", *_BY_NAME], "tvmconv list targets"))

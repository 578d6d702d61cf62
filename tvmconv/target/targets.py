"""Targets: the properties of a machine that compiler and schedules need. Tables, no TVM."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tvmconv.support.text import unknown
from tvmconv.target import features
from tvmconv.target.cores import BY_NAME, CORES, Core
from tvmconv.target.devices import DEVICES, Cluster, Device
from tvmconv.target.dtype import FLOAT32
from tvmconv.target.isa import ISAS, NEON, GemmCosts, Isa


@dataclass(frozen=True)
class Target:
    """The target of code: LLVM's triple and core, the instruction set, L2 cache in bytes (of one core).

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
        if self.isa.baseline is not None:
            return features.exactly(self.arch, self.isa.baseline | self.extensions)
        return tuple(f"+{name}" for name in sorted(self.extensions))

    @property
    def gemm_costs(self) -> GemmCosts:
        """Costs of register tiles in NHWC on the target's core."""
        core = BY_NAME.get(self.mcpu)  # none for generic targets, which LLVM schedules as cores out of order
        costs = self.isa.in_order if core and core.in_order and self.isa.in_order else self.isa.gemm
        return replace(costs, ports=core.flops // (2 * self.isa.lanes(FLOAT32))) if core and core.flops else costs

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


_ARM = NEON.triple

# Of any machine that has an instruction set. Best first: native is the first whose features the machine has.
_GENERIC = tuple(Target(isa.target, isa, isa.triple, isa.mcpu, isa.l2) for isa in ISAS)


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
    *_GENERIC,
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
    generic = [target for target in _GENERIC if target.arch == machine]
    weakest = _weakest_core(shown, parts) if machine == NEON.arch else None
    for target in [weakest, *generic] if weakest else generic:
        if shown.issuperset(target.features):
            return target
    if generic:
        needs = f"{generic[-1].name} at least ({', '.join(generic[-1].features)})"
    else:
        needs = " or ".join(dict.fromkeys(target.arch for target in _GENERIC))
    raise ValueError(f"no target for a machine like this ({machine}): it needs {needs}")


def _weakest_core(shown: frozenset[str], parts: frozenset[str]) -> Target | None:
    """The weakest of these kinds of core, as _of_device has it, less what the system hides; None where one is not
    known."""
    known = {part: core for core in CORES for part in core.parts}
    cores = [known[part] for part in parts if part in known]
    if not cores or len(cores) < len(parts):
        return None
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

"""What a device reports of itself, which kernels it can run, and which of its CPUs form a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvmconv.rpc.errors import DeviceError
from tvmconv.support.text import unknown
from tvmconv.target.cpu_list import cpu_list
from tvmconv.target.devices import Device


@dataclass(frozen=True)
class DeviceCluster:
    """CPUs of one kind; part, implementer: of the core, as /proc/cpuinfo has them; max_mhz: None if hidden."""

    cpus: tuple[int, ...]
    part: str | None = None
    max_mhz: float | None = None
    implementer: str | None = None


@dataclass(frozen=True)
class Described:
    """A device as its server describes it. None and empty are what is not known: TVM's own server says little."""

    server: str = "TVM's own server"
    machine: str | None = None
    features: frozenset[str] | None = None
    cpus: tuple[int, ...] = ()
    clusters: tuple[DeviceCluster, ...] = ()
    has_threads: bool = False
    can_pin: bool = False
    tvm_ffi: str | None = None
    libc: str | None = None

    @property
    def parts(self) -> frozenset[str]:
        """The kinds of its cores, as target.host_parts has them; none where the system hides one."""
        if not all(each.part and each.implementer for each in self.clusters):
            return frozenset()
        numbers = ((int(str(each.implementer), 16), int(str(each.part), 16)) for each in self.clusters)
        return frozenset(f"{implementer:02x}:{part:03x}" for implementer, part in numbers)

    def refuses(self, description: Mapping[str, Any]) -> str | None:
        """Why a kernel of that description cannot run there; None if it can, as far as is known."""
        made_for = description["triple"].partition("-")[0]
        if self.machine and made_for != self.machine:
            return f"the kernel was made for {made_for}, and the device is {self.machine}: give another -t"
        missing = [name for name in description["features"] if self.features is not None and name not in self.features]
        if missing:
            return (
                f"the kernel was made for {description['target']}, and the device lacks {', '.join(missing)}: give "
                "another -t"
            )
        return None


def parse(text: str) -> Described:
    """The device by what tvmconv-server's tvmconv.describe says. Raises DeviceError for what is nothing of the kind."""
    try:
        said = json.loads(text)
        return Described(
            server=str(said["server"]),
            machine=str(said["machine"]),
            features=frozenset(map(str, said["features"])),
            cpus=() if said["cpus"] == "" else cpu_list(said["cpus"]),  # where the system tells none
            clusters=tuple(
                DeviceCluster(cpu_list(each["cpus"]), each.get("part"), each.get("max_mhz"), each.get("implementer"))
                for each in said.get("clusters", ())
            ),
            tvm_ffi=said.get("tvm_ffi"),
            libc=said.get("libc"),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DeviceError(
            "failed", f"the server's description of the device is damaged ({error}): start it again"
        ) from None


def cpus_of(names: Sequence[str], row: Device | None, described: Described) -> tuple[int, ...]:
    """The CPUs of clusters, by the names that the device's line in the table gives them.

    The line has the fastest first; the server knows their clocks, or at least their CPUs, which Linux counts from the
    slowest on. Raises ValueError.
    """
    if row is None:
        raise ValueError(f"--cpus {'+'.join(names)}: the device is none of `list devices`; give a list such as 4-7")
    known = [cluster.name for cluster in row.clusters]
    for name in names:
        if name not in known:
            raise ValueError(unknown(f"cluster of {row.name}", name, known))
    if len(described.clusters) != len(known):
        raise ValueError(
            f"--cpus {'+'.join(names)}: the server tells {len(described.clusters)} clusters apart, and {row.name} has "
            f"{len(known)}: give a list such as 4-7"
        )
    fastest_first = sorted(described.clusters, key=lambda each: (each.max_mhz or 0, each.cpus), reverse=True)
    by_name = dict(zip(known, fastest_first, strict=True))
    return tuple(cpu for name in names for cpu in by_name[name].cpus)

"""Opens the device that --device names for the duration of a command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tvmconv.bench.plan import Setting
from tvmconv.cli.output import Output
from tvmconv.cli.setting import setting_of
from tvmconv.rpc.address import Where, parse_address
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.device_info import Described, cpus_of
from tvmconv.rpc.errors import DeviceError

_SECONDS = 30.0  # of the session that asks what the device is


@dataclass(frozen=True)
class Work:
    """The setting of a command, and its device if that is reached through RPC."""

    setting: Setting
    remote: Remote | None = None

    @property
    def machine(self) -> dict[str, Any] | None:
        """The machine that runs the kernels, for a context row; None for this machine."""
        if self.remote is None:
            return None
        where, described = self.remote.where, self.remote.described
        parts = ", ".join(dict.fromkeys(cluster.part for cluster in described.clusters if cluster.part))
        cpu = where.row.chip if where.row else parts or described.machine or "unknown"
        return {"cpu": cpu, "features": sorted(described.features or ()), "server": described.server}


@contextmanager
def at_work(options: argparse.Namespace, output: Output) -> Iterator[Work]:
    """The setting of the options, and the device ready for it.

    Raises ValueError where they contradict the machine, the device, or each other; DeviceError where the device cannot
    be had. Nothing that was started for it outlives the `with`.
    """
    if options.where is None:
        yield Work(setting_of(options, output, runs_here=True))
        return
    with started(options.where, output) as where, Remote(where, output.note, output.warn) as remote:
        setting = setting_of(options, output, runs_here=False)
        remote.begin(_SECONDS)
        remote.leave()
        described = remote.described
        output.note(f"{where.name}: {described.server}, {described.machine or 'of a machine that it does not name'}")
        _check(setting, described, where)
        remote.cpus = _cpus(options, where, described)
        if remote.cpus and not described.can_pin:
            output.warn(f"TVM's own server at {where.name} cannot pin: kernels run on any of its CPUs")
        yield Work(replace(setting, cpus=remote.cpus), remote)


@contextmanager
def started(where: Where, output: Output) -> Iterator[Where]:
    """The device, started if it is an emulated one. Raises DeviceError where it cannot be."""
    if not where.emulated:
        yield where
        return
    from tvmconv.rpc.deploy.local_device import EmulatedDevice

    with ExitStack() as running:
        try:
            device = running.enter_context(EmulatedDevice(say=output.note))
        except RuntimeError as error:
            raise DeviceError("unreachable", f"{where.name} cannot be started here: {error}") from None
        yield replace(where, key=device.key, tracker=parse_address(device.tracker))


def _check(setting: Setting, described: Described, where: Where) -> None:
    """Raises ValueError where the device cannot do what is asked for."""
    target = setting.target
    needs = {"triple": target.triple, "target": target.name, "features": target.features}
    if reason := described.refuses(needs):
        raise ValueError(f"--device {where.name}: {reason}")
    if setting.threads > 1 and not described.has_threads:
        raise ValueError(
            f"--threads {setting.threads}: TVM's own server at {where.name} has no threads for kernels; start "
            "tvmconv's with `tvmconv rpc serve`, or use --threads 1"
        )
    if described.cpus and setting.threads > len(described.cpus):
        raise ValueError(
            f"--threads {setting.threads} needs as many CPUs, and {where.name} has {len(described.cpus)} for kernels"
        )


def _cpus(options: argparse.Namespace, where: Where, described: Described) -> tuple[int, ...]:
    """The CPUs of --cpus, or those of the device's cluster; empty for any."""
    asked = options.cpus
    if asked is None and where.cluster:
        if not described.clusters:
            return ()
        asked = (where.cluster,)
    if asked is None:
        return ()
    cpus = tuple(asked) if isinstance(asked[0], int) else cpus_of(asked, where.row, described)
    missing = sorted(set(cpus).difference(described.cpus)) if described.cpus else []
    if missing:
        raise ValueError(
            f"--cpus: {where.name} has no CPU {missing[0]} for kernels, only {', '.join(map(str, described.cpus))}"
        )
    if len(cpus) < options.threads:
        raise ValueError(f"--threads {options.threads} needs as many CPUs, and --cpus names {len(cpus)}")
    return cpus

"""The setting of a command: machine, kernels and logs, as its options say."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from tvmconv.bench.plan import Setting
from tvmconv.database.log import Logs, folders
from tvmconv.database.tuned import TUNED
from tvmconv.target import targets
from tvmconv.target.devices import EMULATOR

if TYPE_CHECKING:
    from tvmconv.cli.output import Output


def setting_of(options: argparse.Namespace, output: Output, *, runs_here: bool) -> Setting:
    """The setting of the common options; `output` warns of tuning logs that are not used.

    The CPUs of a device that is reached through RPC are left out: only the device knows them. Raises ValueError where
    they contradict the machine, or each other.
    """
    if options.tile and TUNED in options.schedule:
        raise ValueError("--schedule tuned brings the tiles of its records: leave --tile out, or say --schedule hand")
    emulated = runs_here and options.device == EMULATOR
    if emulated:
        _check_emulator(options.target)
    cpus = () if emulated or options.where else cpus_of(options.cpus, options.threads)
    if runs_here and not emulated and (reason := options.target.missing_here):
        foreign = platform.machine() != options.target.arch == "aarch64"
        other = "`verify --device emulator` can" if foreign else "use --target native"
        raise ValueError(f"this machine cannot run {options.target.name}: {reason}; {other}")
    return Setting(
        target=options.target,
        layout=options.layout,
        device=options.device,
        threads=options.threads,
        cpus=cpus,
        schedules=options.schedule,
        tile=options.tile,
        max_workspace=getattr(options, "max_workspace", None),
        logs=_logs(options, output),
        where=options.where,
    )


def _logs(options: argparse.Namespace, output: Output) -> Logs:
    return Logs(log_folders(options), output.note if options.verbose else None, output.warn)


def log_folders(options: argparse.Namespace) -> tuple[Path, ...]:
    """The folders of tuning logs. Raises ValueError where --log-dir is no folder; `tune` makes one."""
    if options.log_dir and not options.log_dir.is_dir() and options.command != "tune":
        raise ValueError(f"--log-dir {options.log_dir}: there is no such folder")
    return folders(options.log_dir)


def _check_emulator(target: targets.Target) -> None:
    """Raises ValueError where the emulator is not installed, or cannot run the target's code."""
    from tvmconv.runtime import emulator

    emulator.require()
    if target.arch != "aarch64":
        raise ValueError(f"the emulator is an aarch64, and {target.name} is not: use -t aarch64 (`list targets`)")


def cpus_of(asked: tuple[int, ...] | tuple[str, ...] | None, threads: int) -> tuple[int, ...]:
    """One CPU for each thread: those asked for, else the first that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    cpus = tuple(allowed) if asked is None else tuple(cpu for cpu in asked if isinstance(cpu, int))
    if not cpus:
        raise ValueError(
            f"--cpus {asked and '+'.join(map(str, asked))}: clusters are a device's; give a list, as in 0,2-3"
        )
    forbidden = sorted(set(cpus).difference(allowed))
    if forbidden:
        raise ValueError(f"--cpus: no CPU {forbidden[0]} for this process, it may use {', '.join(map(str, allowed))}")
    if len(cpus) < threads:
        raise ValueError(
            f"--threads {threads} needs as many CPUs, but there are only {len(cpus)}: use --threads {len(cpus)}"
        )
    return cpus[:threads]

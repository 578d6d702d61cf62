"""tvmconv list: networks, algorithms, targets, devices, schedules, peers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from tvmconv.algorithms import ALGORITHMS
from tvmconv.cli.output import Output
from tvmconv.target import targets
from tvmconv.target.devices import DEVICES, EMULATED, EMULATOR, LOCAL
from tvmconv.workload import networks
from tvmconv.workload.resolve import resolve

Item = dict[str, Any]


def run(options: argparse.Namespace, output: Output) -> int:
    if (options.what == "layers") != (options.network is not None):
        raise ValueError("`list layers NETWORK` needs a network or a .onnx file, and no other list takes one")
    items = _ITEMS[options.what](options, output)
    found = [item for item in items if options.match is None or options.match.search(item["name"])]
    for item in found:
        output.row({"kind": "result", **item})
    if found:
        output.show(import_module("tvmconv.report.tables").listing(found))
        return int(all(item.get("reason") for item in found))
    output.warn(f"no name of {options.what} matches {options.match.pattern!r}")
    return 1


def _networks(options: argparse.Namespace, output: Output) -> Iterator[Item]:
    for name in networks.NETWORKS:
        network = networks.network(name)
        macs = sum(layer.count * layer.shape.flops // 2 for layer in network.layers)
        yield {
            "name": name,
            "distinct": len(network.layers),
            "layers": sum(layer.count for layer in network.layers),
            "gmac": round(macs / 1e9, 3),
            "gflop": round(2 * macs / 1e9, 3),
            "definition": network.definition,
        }


def _layers(options: argparse.Namespace, output: Output) -> Iterator[Item]:
    layers = resolve([options.network], output.warn)
    some_rejected = any(layer.reason for layer in layers)
    for layer in layers:
        yield {
            "name": layer.name or layer.source,
            "count": layer.count,
            "workload": str(layer.shape) if layer.shape else None,
            "gflop": round(layer.shape.flops / 1e9, 3) if layer.shape else None,
            **({"reason": layer.reason} if some_rejected else {}),
        }


def _algorithms(options: argparse.Namespace, output: Output) -> Iterator[Item]:
    for algorithm in ALGORITHMS:
        yield {"name": algorithm.name, "layout": algorithm.layout, "summary": algorithm.summary}


def _schedules(options: argparse.Namespace, output: Output) -> Iterator[Item]:
    from tvmconv import schedules

    for schedule in schedules.SCHEDULES:
        yield {"name": schedule.name, "isas": list(schedule.isas), "summary": schedule.summary}


def _targets(options: argparse.Namespace, output: Output) -> Iterator[Item]:
    for target in targets.TARGETS:
        missing = target.missing_here
        yield {
            "name": target.name,
            "isa": target.isa.name,
            "triple": target.triple,
            "mcpu": target.mcpu,
            "features": sorted(target.extensions),
            "here": f"no: {missing}" if missing else "native" if target == targets.native() else "runs",
        }


def _devices(options: argparse.Namespace, output: Output) -> Iterator[Item]:
    native = targets.native()
    yield _device(LOCAL, "this machine", "linux", None, len(os.sched_getaffinity(0)), native.mcpu, None, None, None)
    yield _device(EMULATOR, "Unicorn, in this process: for verify", "linux", None, 1, "cortex-a72", None, None, None)
    yield _device(EMULATED, "qemu-user, as a device behind a tracker", "linux", None, 1, "generic", None, None, None)
    for device in DEVICES:
        for cluster in device.clusters:
            caches = [size and size // 1024 for size in (cluster.l1d, cluster.l2)]
            name, own = device.name, (cluster.name, cluster.cores, cluster.mcpu, *caches, cluster.flops_per_cycle)
            yield _device(name, device.chip, device.system, *own)


def _device(name: str, chip: str, system: str, *cluster: str | int | None) -> Item:
    """A line for each cluster; caches in kilobytes, the peak in f32 operations a cycle and core."""
    columns = ("cluster", "cores", "mcpu", "l1d_kb", "l2_kb", "flops_per_cycle")
    return {"name": name, "chip": chip, "system": system, **dict(zip(columns, cluster, strict=True))}


def _peers(options: argparse.Namespace, output: Output) -> Iterator[Item]:
    from tvmconv.measure import peers

    for peer in peers.PEERS:
        version = peers.available(peer)
        yield {"name": peer.name, "version": version, "install": None if version else peers.install_line(peer)}


_ITEMS = {
    "networks": _networks,
    "layers": _layers,
    "algorithms": _algorithms,
    "schedules": _schedules,
    "targets": _targets,
    "devices": _devices,
    "peers": _peers,
}

"""tvmconv rpc deploy: installs the server on a device, or removes it."""

from __future__ import annotations

import argparse
import os
from functools import partial

from tvmconv.cli.commands.rpc_doctor import report
from tvmconv.cli.output import Output
from tvmconv.rpc.address import Address, parse, tracker_address
from tvmconv.rpc.deploy import bundle
from tvmconv.rpc.deploy.deploy import deploy, find, key_of, row_of, stop
from tvmconv.target import targets


def run(options: argparse.Namespace, output: Output) -> int:
    tracker = _tracker(options)
    machine = find(options.where)
    if options.stop:
        if not stop(machine):
            output.warn(f"{machine.name}: nothing was deployed there")
        return 0
    model = machine.model()
    row = row_of(model)
    target = options.target or targets.parse(row or "aarch64")
    key = options.key or os.environ.get("TVM_KEY") or row or key_of(model)
    found = deploy(machine, target, partial(bundle.cached, say=output.warn), key, tracker, output.warn)
    where = parse(found.device, str(tracker) if tracker else None, key)
    assert where
    code = report(where, output)
    output.text(f"\n{model}: {found.options}\n`tvmconv rpc deploy {machine.name} --stop` ends it")
    return code


def _tracker(options: argparse.Namespace) -> Address | None:
    """The tracker that is asked for. Raises ValueError for one that the device could not reach through adb."""
    if not (options.tracker or os.environ.get("TVM_TRACKER_HOST")):
        return None
    tracker = tracker_address(options.tracker)
    if options.where.startswith("adb") and tracker.host not in ("127.0.0.1", "localhost"):
        raise ValueError(f"adb leads to this machine alone: start a tracker on 127.0.0.1 here, not at {tracker}")
    return tracker

"""tvmconv rpc doctor: diagnoses the connection to a device."""

from __future__ import annotations

import argparse
import os

from rich.text import Text

from tvmconv.cli.device import started
from tvmconv.cli.output import Output
from tvmconv.report.table_layout import Paragraph
from tvmconv.rpc.address import Where, parse, tracker_address
from tvmconv.rpc.client.tracker_client import TrackerClient, first_of
from tvmconv.rpc.doctor import Finding, examine
from tvmconv.rpc.errors import DeviceError


def run(options: argparse.Namespace, output: Output) -> int:
    device = options.examined or options.key or os.environ.get("TVM_KEY")
    if not device:
        try:
            device = _only_device(options.tracker)
        except DeviceError as device_error:
            return _show(Finding("tracker", "failed", str(device_error)), None, output)
    where = parse(device, options.tracker, options.key)
    if where is None:
        raise ValueError(f"--device {device} needs no server, so that there is nothing to examine")
    with started(where, output) as there:
        return report(there, output)


def report(where: Where, output: Output) -> int:
    """Examine a device, show each finding at once; the exit code."""
    return max([_show(finding, where.name, output) for finding in examine(where, output.note)])


def _show(finding: Finding, device: str | None, output: Output) -> int:
    output.row({"kind": "result", "device": device, **vars(finding)})
    if finding.text:
        head = f"{finding.status:8}{finding.step:22}"
        output.show(Paragraph(Text(finding.text), head, hanging=len(head)))
    return int(finding.status == "failed")


def _only_device(tracker: str | None) -> str:
    """The key of the only device. Raises DeviceError where there is no tracker, ValueError for any other number."""
    address = tracker_address(tracker)
    with TrackerClient(address) as client:
        keys = list(client.queues())
    if len(keys) != 1:
        known = f"several devices, so name one: --device {first_of(keys)}" if keys else "no device: start one's server"
        raise ValueError(f"the tracker {address} knows {known}")
    return keys[0]

"""tvmconv import: results of other tools as rows of peers."""

from __future__ import annotations

import argparse

from tvmconv.bench import importers
from tvmconv.bench.importers.rows import Origin, rows
from tvmconv.cli.commands.bench import results
from tvmconv.cli.output import Output, exit_code
from tvmconv.report import tables
from tvmconv.target.devices import DEVICES, LOCAL
from tvmconv.workload.resolve import resolve


def run(options: argparse.Namespace, output: Output) -> int:
    profiles = importers.read(options.file)
    layers = resolve(options.workloads, output.warn)
    if any(profile.peer == "ncnn" for profile in profiles):
        output.warn("ncnn computes in fp16 on ARM where the CPU has it, and does not say so: compare f32 with care")
    if options.made_on != LOCAL:
        output.machine = {"cpu": _chip(options.made_on), "features": []}
    output.table_at_end(tables.import_table)
    with results(options.output) as file:
        if file:
            file.begin(output.context())
        for row in rows(profiles, layers, Origin(options.file.name, options.made_on, options.threads)):
            output.row(row)
            if file:
                file.append(row)
    return exit_code(output.rows)


def _chip(device: str) -> str:
    """The chip of the device, from the table of devices."""
    return next((known.chip for known in DEVICES if known.name == device.partition("/")[0]), "unknown")

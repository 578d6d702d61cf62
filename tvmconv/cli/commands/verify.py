"""tvmconv verify: checks that kernels are exact."""

from __future__ import annotations

import argparse
from functools import partial
from itertools import islice

from tvmconv.bench.batch import verified
from tvmconv.bench.plan import plan
from tvmconv.cli import values
from tvmconv.cli.build import build
from tvmconv.cli.device import Work, at_work
from tvmconv.cli.output import Output, exit_code
from tvmconv.report import tables
from tvmconv.workload.resolve import resolve

# Tasks built before the first of them is verified: enough that starting the compilers costs little beside them.
_CHUNK = 64


def run(options: argparse.Namespace, output: Output) -> int:
    with at_work(options, output) as work:
        return _verify(options, output, work)


def _verify(options: argparse.Namespace, output: Output, work: Work) -> int:
    output.machine = work.machine
    algorithms = options.algorithm or values.all_algorithms(options.layout)
    tasks = list(plan(resolve(options.workloads, output.warn), algorithms.names, work.setting))
    output.table_at_end(partial(tables.verify_table, unnamed=algorithms.unnamed(options.verbose)))

    remaining = iter(tasks)
    while chunk := list(islice(remaining, _CHUNK)):
        built = build(chunk, work.setting, options.jobs, output)
        with output.progress("verify") as progress:
            for row in verified(built, work.setting, options.jobs, work.remote):
                output.row(row)
                progress(len(output.rows), len(tasks))
    return exit_code(output.rows, algorithms.required)

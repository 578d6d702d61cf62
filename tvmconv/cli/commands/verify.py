"""tvmconv verify: are the kernels exact?"""

from __future__ import annotations

import argparse
from itertools import islice

from tvmconv import report
from tvmconv.batch import verified
from tvmconv.cli import arguments
from tvmconv.cli.build import build
from tvmconv.cli.output import Output, exit_code
from tvmconv.plan import plan
from tvmconv.workload import resolve

# Tasks built before the first of them is verified: enough that starting the compilers costs little beside them.
_CHUNK = 64


def run(options: argparse.Namespace, output: Output) -> int:
    setting = arguments.setting(options, output, runs_here=True)
    algorithms = options.algorithm or arguments.all_algorithms(options.layout)
    tasks = list(plan(resolve(options.workloads, output.warn), algorithms.names, setting))
    output.table_at_end(report.verify_table)

    remaining = iter(tasks)
    while chunk := list(islice(remaining, _CHUNK)):
        built = build(chunk, setting, options.jobs, output)
        with output.progress("verify") as progress:
            for row in verified(built, setting, options.jobs):
                output.row(row)
                progress(len(output.rows), len(tasks))
    return exit_code(output.rows, algorithms.required)

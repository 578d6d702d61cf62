"""tvmconv show: a layer, its extra memory, or its code."""

from __future__ import annotations

import argparse

from tvmconv import report
from tvmconv.builder import assembly, module_text
from tvmconv.choose import AUTO
from tvmconv.cli import values
from tvmconv.cli.output import Output, exit_code
from tvmconv.cli.setting import setting_of
from tvmconv.plan import Setting, Task, blank_row, finished, plan
from tvmconv.record import Row
from tvmconv.workload import resolve


def run(options: argparse.Namespace, output: Output) -> int:
    setting = setting_of(options, output, runs_here=False)
    code = options.tir or options.asm
    default = values.Algorithms((AUTO,), named=False) if code else values.all_algorithms(options.layout)
    algorithms = options.algorithm or default
    if not code:
        output.table_at_end(report.workspace_table if options.workspace else report.layer_tables)
    for task in plan(resolve(options.workloads, output.warn), algorithms.names, setting):
        row = _row(task, setting, options)
        output.row(row)
        if code:
            output.text(
                f"# {row['workload']} {row['algorithm']} {row['schedule'] or ''} {row['tile'] or row['reason']}"
            )
            output.text(row.get("tir") or row.get("asm") or "")
    return exit_code(output.rows, algorithms.required)


def _row(task: Task, setting: Setting, options: argparse.Namespace) -> Row:
    row = blank_row(task.layer, setting, algorithm=task.algorithm, schedule=task.schedule)
    request = task.request
    if request is None:
        return finished(row, "rejected", task.reason)
    assert request.tile is not None
    row |= {"schedule": request.schedule, "tile": str(request.tile), "tuned_by": task.tuned_by}
    if options.tir:
        return finished(row, "ok", tir=module_text(request))
    if options.asm:
        return finished(row, "ok", asm=assembly(request))
    workspace = request.defined_by.workspace(request.shape, request.tile, setting.threads)
    return finished(row, "ok", workspace_bytes=workspace, flops=request.shape.flops)

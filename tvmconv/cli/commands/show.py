"""tvmconv show: a layer, its extra memory, its code, or an estimate for another core."""

from __future__ import annotations

import argparse
import functools

from tvmconv.bench.plan import Setting, Task, blank_row, finished, plan
from tvmconv.cli import values
from tvmconv.cli.output import Output, exit_code
from tvmconv.cli.setting import setting_of
from tvmconv.compiler.builder import Request, assembly, build_path, module_text
from tvmconv.database.heuristic import AUTO
from tvmconv.database.rows import Row
from tvmconv.measure import mca
from tvmconv.report import tables
from tvmconv.runtime import emulator, session
from tvmconv.target.targets import Target
from tvmconv.workload.resolve import resolve

_PATIENCE = 120.0  # seconds for counting one layer's instructions, some millions a second

_TABLES = {
    "workspace": tables.workspace_table,
    "estimate": tables.estimate_table,
}


def run(options: argparse.Namespace, output: Output) -> int:
    setting = setting_of(options, output, runs_here=False)
    code = options.tir or options.asm
    if options.estimate and setting.target.arch != "aarch64":
        raise ValueError(f"--estimate is for aarch64, such as -t cortex-a76; bench measures {setting.target.name}")
    one = values.Algorithms((AUTO,), named=False)
    algorithms = options.algorithm or (one if code or options.estimate else values.all_algorithms(options.layout))
    if not code:
        asked = next((name for name in _TABLES if getattr(options, name)), None)
        unnamed = algorithms.unnamed(options.verbose)
        output.table_at_end(functools.partial(_TABLES[asked], unnamed=unnamed) if asked else tables.layer_tables)
    for task in plan(resolve(options.workloads, output.warn), algorithms.names, setting):
        row = _row(task, setting, options, output)
        output.row(row)
        if code:
            output.text(
                f"# {row['workload']} {row['algorithm']} {row['schedule'] or ''} {row['tile'] or row['reason']}"
            )
            output.text(row.get("tir") or row.get("asm") or "")
    return exit_code(output.rows, algorithms.required)


def _row(task: Task, setting: Setting, options: argparse.Namespace, output: Output) -> Row:
    row = blank_row(task.layer, setting, algorithm=task.algorithm, schedule=task.schedule)
    request = task.request
    if request is None:
        return finished(row, "rejected", task.reason)
    assert request.tile is not None
    row |= task.kernel
    if options.tir:
        return finished(row, "ok", tir=module_text(request))
    if options.asm:
        return finished(row, "ok", asm=assembly(request))
    if options.estimate:
        try:
            return finished(row, "ok", **_rated(request, setting.target, output), **_counted(request, output))
        except emulator.Fault as error:
            return finished(row, "error", f"the kernel {error}")
    workspace = request.defined_by.workspace(request.shape, request.tile, setting.threads)
    return finished(row, "ok", workspace_bytes=workspace, flops=request.shape.flops)


def _rated(request: Request, target: Target, output: Output) -> Row:
    """The hot loop's part of a row; only nulls where there is no llvm-mca, which is said once."""
    row: Row = dict.fromkeys(("hot_loop_model", "hot_loop_peak_fraction", "hot_loop_bottleneck"))
    loop = mca.hot_loop(assembly(request))
    row["hot_loop_stack_accesses"] = loop.stack_accesses if loop else None
    try:
        rating = mca.rate(loop, target) if loop else None
    except ValueError as error:
        _warn_once(output, f"hot loops are not rated: {error}")
        return row
    if rating:
        row |= {
            "hot_loop_model": rating.model,
            "hot_loop_peak_fraction": rating.fraction,
            "hot_loop_bottleneck": rating.bottleneck,
        }
    return row


def _counted(request: Request, output: Output) -> Row:
    """The instructions' part of a row; null where the emulator is not installed or takes too long, which is said."""
    count = None
    try:
        emulator.require()
        count = session.instructions(build_path(request), _PATIENCE)
    except ValueError as error:
        _warn_once(output, f"instructions are not counted: {error}")
    except TimeoutError:
        output.warn(f"{request.shape}: its instructions could not be counted within {_PATIENCE:.0f} s")
    per_flop = count / request.shape.flops if count else None
    return {"instructions": count, "instructions_per_flop": per_flop, "flops": request.shape.flops}


@functools.cache
def _warn_once(output: Output, sentence: str) -> None:
    output.warn(sentence)

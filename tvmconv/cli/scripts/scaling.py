"""scripts/thread_scaling: measures thread scaling on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Group, RenderableType

from tvmconv.bench.batch import llvm_version
from tvmconv.bench.claims import mean_in_words
from tvmconv.bench.layer import measured_peak
from tvmconv.bench.plan import Setting
from tvmconv.bench.scaling import ScalingBench, trials
from tvmconv.cli.measuring import rules_of
from tvmconv.cli.output import Output, exit_code, within_layer
from tvmconv.cli.setting import cpus_of
from tvmconv.compiler.builder import build_all
from tvmconv.database.rows import Row
from tvmconv.measure.interleaved import Best
from tvmconv.report import tables
from tvmconv.target import targets
from tvmconv.workload.resolve import resolve


def run(options: argparse.Namespace, output: Output) -> int:
    setting = Setting(targets.native(), threads=options.threads, cpus=cpus_of(options.cpus, options.threads))
    asked = list(trials(resolve(options.workloads, output.warn), setting))
    with output.progress("build") as progress:
        requests = [request for trial in asked for request in trial.kernels.values()]
        files = build_all(requests, len(setting.cpus), progress)
    alone, together = (measured_peak(setting.target.isa, cpus) for cpus in (setting.cpus[:1], setting.cpus))
    output.context(llvm_version(file for file in files.values() if isinstance(file, Path)), together)
    output.table_at_end(partial(scaling_table, bound=together / alone))

    bench = ScalingBench(setting, rules_of(options), Best(together))
    with output.progress("measure") as progress:
        for index, trial in enumerate(asked):
            output.row(bench.row(trial, files, partial(within_layer, progress, index, len(asked))))
    return exit_code(output.rows)


def scaling_table(rows: Sequence[Row], bound: float) -> RenderableType:
    """Each layer's best time on one thread and on all, their mean ratio, and what the machine itself would give."""
    measured = [row for row in rows if row["status"] == "ok"]
    table = tables.new_table("layer")
    for title in ("1 thread", "ms", "all threads", "ms", "of peak", "ratio"):
        table.add_column(title, justify="right")
    for row in measured:
        threads, one, all_of_them = row["threads"], row["alone"], row["algorithm"]
        seconds = {key: found["median"] for key, found in row["seconds"].items()}
        together = seconds[f"{all_of_them}.{threads}"]
        table.add_row(
            tables.layer_title(row),
            one,
            tables.milliseconds(seconds[f"{one}.1"]),
            all_of_them,
            tables.milliseconds(together),
            f"{row['flops'] / together / 1e9 / row['peak_gflops']:.0%}",
            f"{'' if row['alike'] else '~'}{row['ratio']:.2f}",
        )
    turns, slow = (sum(row["rounds"][key] for row in measured) for key in ("n", "slow"))
    worst = min((row["ratio"] for row in measured), default=float("nan"))
    return Group(
        table,
        f"{mean_in_words(measured)}; the lowest {worst:.2f}",
        f"multiply-adds in registers alone: {bound:.2f}",
        f"in {slow} of {turns} rounds the cores had less to offer than they had at their best",
        *([] if all(row["alike"] for row in measured) else ["~: the cores offered one of the two more than the other"]),
        tables.remarks(rows),
    )

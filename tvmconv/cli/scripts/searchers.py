"""scripts/compare_searchers: compares searchers with the same number of trials."""

from __future__ import annotations

import argparse
import itertools
import math
import os
from collections.abc import Sequence

from rich.console import Group, RenderableType

from tvmconv.bench.compare_searchers import Comparison, ready
from tvmconv.bench.plan import Setting, blank_row, finished, plan
from tvmconv.cli.output import Output, exit_code
from tvmconv.cli.setting import cpus_of
from tvmconv.database.rows import Row
from tvmconv.database.tuned import HAND
from tvmconv.report import tables
from tvmconv.support.install import install_line
from tvmconv.target import targets
from tvmconv.tune import TUNE_TASKS
from tvmconv.tune.runner import LocalTrialRunner
from tvmconv.workload.resolve import resolve


def run(options: argparse.Namespace, output: Output) -> int:
    setting = Setting(targets.native(), cpus=cpus_of(options.cpus, 1), schedules=(HAND,))
    try:
        ready(options.searchers)
    except ImportError as error:
        raise ValueError(f"{error.name or 'xgboost'} cannot be imported ({error}): {install_line('tune')}") from error
    tasks = list(plan(resolve(options.workloads, output.warn), options.algorithm.names, setting))
    output.context()
    output.table_at_end(searchers_table)
    made, jobs = itertools.count(1), len(os.sched_getaffinity(0))
    with output.progress("trials") as progress, LocalTrialRunner(1, setting.cpus, jobs, setting.target.isa) as runner:
        seeds = range(options.seeds)
        comparison = Comparison(options.searchers, seeds, options.trials, runner, lambda: progress(next(made), total))
        total = comparison.total * sum(task.request is not None for task in tasks)
        for task in tasks:
            row = blank_row(task.layer, setting, algorithm=task.algorithm, schedule=HAND)
            row |= {"found": []}
            if task.request is None:
                output.row(finished(row, "rejected", task.reason))
            else:
                output.row(comparison.row(row, task.request.check()))
    return exit_code(output.rows)


def searchers_table(rows: Sequence[Row]) -> RenderableType:
    """Each searcher's kernels beside that by hand: seed by seed, and the mean of all layers."""
    measured = [row for row in rows if row["status"] == "ok"]
    table = tables.new_table("layer", "algorithm", "searcher")
    for title in ("over hand, by seed", "mean", "trials a minute", "failed"):
        table.add_column(title, justify="right")
    for row in measured:
        for searcher, found in _by_searcher([row]).items():
            table.add_row(
                tables.layer_title(row),
                row["algorithm"],
                searcher,
                " ".join(map(_gain, found)),
                _mean(found),
                f"{60 * sum(each['trials'] for each in found) / sum(each['search_seconds'] for each in found):.0f}",
                str(sum(each["failed"] for each in found)),
            )
    means = [f"{searcher} {_mean(found)}" for searcher, found in _by_searcher(measured).items()]
    summary = f"over hand, geometric mean of {len(measured)} layers: {', '.join(means)}"
    legend = [f"{TUNE_TASKS} begins without the kernel by hand, the others with it"]
    if any(each["alike"] is False for row in measured for each in row["found"]):
        legend.append("~: slow rounds of one of the two alone; such are in no mean")
    return Group(table, tables.remarks(rows), *legend, summary)


def _gain(each: Row) -> str:
    return f"{'' if each['alike'] else '~'}{each['gain']:.3f}" if each["gain"] else "failed"


def _by_searcher(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        for each in row["found"]:
            found.setdefault(each["searcher"], []).append(each)
    return found


def _mean(found: Sequence[Row]) -> str:
    """Mean over the results that did not fail in the final and were measured like the default kernel."""
    gains = [math.log(each["gain"]) for each in found if each["gain"] and each["alike"]]
    return f"{math.exp(sum(gains) / len(gains)):.3f}" if gains else "–"

"""scripts/indirect_vs_im2row: measures the indirect paper's claim on this machine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Group, RenderableType

from tvmconv.bench.batch import llvm_version
from tvmconv.bench.claims import POINTWISE, ClaimBench, claims, mean_in_words
from tvmconv.bench.layer import measured_peak
from tvmconv.bench.plan import Setting
from tvmconv.cli.measuring import rules_of
from tvmconv.cli.output import Output, exit_code, within_layer
from tvmconv.compiler.builder import build_all
from tvmconv.database.rows import Row
from tvmconv.measure.interleaved import Best
from tvmconv.report import tables
from tvmconv.target import targets
from tvmconv.workload.resolve import resolve

# The columns of either table, each with what it shows of a row.
_Columns = tuple[tuple[str, Callable[[Row], str]], ...]


def _time(name: str) -> tuple[str, Callable[[Row], str]]:
    return name, lambda row: tables.milliseconds(row["seconds"][name]["median"])


def _share(title: str, key: str) -> tuple[str, Callable[[Row], str]]:
    return title, lambda row: f"{row[key]:.0%}"


def _ratio(title: str) -> tuple[str, Callable[[Row], str]]:
    return title, lambda row: f"{'' if row['alike'] else '~'}{row['ratio']:.2f}"


_TILE = ("tile", lambda row: str(row["tile"]))
_AGAINST: dict[str, _Columns] = {
    "im2row": (
        _TILE,
        _time("indirect"),
        _time("im2row"),
        _ratio("im2row/indirect"),
        ("copy, GB/s", lambda row: f"{row['copy_gb_per_s']:.1f}"),
        _share("of memcpy", "copy_share"),
        _share("GEMM phase", "run_peak_fraction"),
        _share("gemm", "gemm_peak_fraction"),
    ),
    "gemm": (
        _TILE,
        _time("indirect"),
        _time("gemm"),
        _ratio("gemm/indirect"),
    ),
}

_LEGEND = """\
times in ms, all with the register tile that indirect chooses
copy: GB/s written by im2row's copy; it reads less than memcpy, mostly from caches, and can so be above 100 %
GEMM phase: im2row without its copy; gemm: the same product, given the patches; both in % of the measured FMA peak"""


def run(options: argparse.Namespace, output: Output) -> int:
    cpus = sorted(os.sched_getaffinity(0))
    setting = Setting(targets.native(), cpus=(cpus[0],))
    layers = resolve(options.workloads, output.warn)
    asked = claims(layers, [*layers, *resolve(POINTWISE, output.warn)], setting)
    output.table_at_end(claims_table)

    with output.progress("build") as progress:
        files = build_all([request for claim in asked for request in claim.kernels.values()], len(cpus), progress)
    peak = measured_peak(setting.target.isa, setting.cpus)
    output.context(llvm_version(file for file in files.values() if isinstance(file, Path)), peak)
    bench = ClaimBench(setting, rules_of(options), Best(peak))
    with output.progress("measure") as progress:
        for index, claim in enumerate(asked):
            output.row(bench.row(claim, files, partial(within_layer, progress, index, len(asked))))
    return exit_code(output.rows)


def claims_table(rows: Sequence[Row]) -> RenderableType:
    """A table for either rival, each with its mean, and whatever went wrong."""
    measured = [row for row in rows if row["status"] == "ok"]
    parts: list[RenderableType] = []
    for rival, columns in _AGAINST.items():
        if own := [row for row in measured if row["rival"] == rival]:
            parts += [
                _table(own, columns),
                f"{rival}/indirect: {mean_in_words(own)}\n",
            ]
    turns, slow = (sum(row["rounds"][key] for row in measured) for key in ("n", "slow"))
    if slow:
        parts.append(f"in {slow} of {turns} rounds the core had less to offer than it had at its best")
    if not all(row["alike"] for row in measured):
        parts.append("~: the core offered one of the two more than the other")
    return Group(*parts, tables.remarks(rows), _LEGEND)


def _table(rows: Sequence[Row], columns: _Columns) -> RenderableType:
    table = tables.new_table("layer")
    for title, _ in columns:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(tables.layer_title(row), *(cell(row) for _, cell in columns))
    return table

"""tvmconv log: what the tuning logs hold, and what of it counts here."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import RenderableType

from tvmconv import figure, log_plot, log_report
from tvmconv.cli.output import Output
from tvmconv.cli.setting import log_folders
from tvmconv.files import write_whole
from tvmconv.log import Log, Record, Sourced
from tvmconv.log.merge import deciding, merged
from tvmconv.record import Row


def run(options: argparse.Namespace, output: Output) -> int:
    _check_output(options)
    folders = log_folders(options)
    files = _files(options.files or [folder for folder in folders if folder.is_dir()])
    if not files:
        where = " or ".join(map(str, options.files or folders))
        output.warn(f"there is no tuning log in {where}: `tvmconv tune` makes them")
        return 1
    return _ACTIONS[options.what](options, output, files)


def _check_output(options: argparse.Namespace) -> None:
    """Raises ValueError for a file that cannot be put where -o wants it."""
    if options.what == "plot":
        figure.check(options.output, "-o")
    elif options.what == "merge" and not options.output.parent.is_dir():
        raise ValueError(f"-o {options.output}: there is no folder {options.output.parent}; make it first")


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files among the paths and all logs in the folders among them. Raises ValueError for what is not there."""
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder")
    found = [sorted(path.rglob("*.jsonl")) if path.is_dir() else [path] for path in paths]
    return [*dict.fromkeys(file for own in found for file in own)]


def _found(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> list[Sourced]:
    """The records of the files that --match lets through. Raises BadFile for a line that is none."""
    found = log_report.sourced({path: Log(path, output.warn).entries() for path in files})
    return [item for item in found if options.match is None or options.match.search(str(item.record.key))]


def _show(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> int:
    return _print(map(log_report.record_row, _found(options, output, files)), log_report.show_table, output)


def _best(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> int:
    return _print(log_report.best_rows(_found(options, output, files)), log_report.best_table, output)


def _lines_checked(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> int:
    """1 if a line is no record; that one is of no use here is no fault of the file."""
    entries = {path: Log(path, output.warn).lines() for path in files}
    _print(log_report.check_rows(entries), log_report.check_table, output)
    return int(any(row["status"] == "error" for row in output.rows))


def _merge(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> int:
    target = Log(options.output, output.warn)
    with target.closed_to_others():  # a tuner that writes to it waits, and loses nothing
        there = options.output.exists()
        logs = [target if there and path.samefile(options.output) else Log(path, output.warn) for path in files]
        entries = [entry for log in logs for entry in log.entries()]
        if options.finals:
            entries = [*deciding(entry for entry in entries if isinstance(entry, Record))]
        content = merged(entries)
        write_whole(options.output, content)
    count = len(content.splitlines())
    output.show(f"{options.output}: {count} records of {len(files)} files")
    return 0


def _plot(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> int:
    records = [item.record for item in _found(options, output, files)]
    if not any(record.stage == "trial" for record in records):
        output.warn(f"there is no trial to draw in {options.output}")
        return 1
    log_plot.draw_convergence(records, options.output)
    return 0


def _print(rows: Iterable[Row], table: Callable[[Sequence[Row]], RenderableType], output: Output) -> int:
    """Prints the rows as a table at the end; 1 if there are none."""
    output.table_at_end(table)
    for row in rows:
        output.row(row)
    return int(not output.rows)


_ACTIONS: Mapping[str, Callable[[argparse.Namespace, Output, Sequence[Path]], int]] = {
    "show": _show,
    "best": _best,
    "merge": _merge,
    "check": _lines_checked,
    "plot": _plot,
}

"""tvmconv log: shows, checks, merges and plots tuning logs."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import RenderableType

from tvmconv.cli.output import Output
from tvmconv.cli.setting import log_folders
from tvmconv.database import best_rows
from tvmconv.database.log import SHIPPED, Foreign, Key, Log, Record, Sourced
from tvmconv.database.log.merge import deciding, merged
from tvmconv.database.log.places import SUFFIX
from tvmconv.database.rows import Row
from tvmconv.report import figure, log_plot
from tvmconv.report import log as log_report
from tvmconv.support.filesystem.files import write_lines

_EXAMPLES = 3  # keys or files that are named where there are more
_TABLE = 2000  # records up to which `show` makes a table


def run(options: argparse.Namespace, output: Output) -> int:
    _check_output(options)
    folders = log_folders(options)
    files = _files(options.files or [folder for folder in folders if folder.is_dir()], output)
    if not files:
        where = " or ".join(map(str, options.files or folders))
        output.warn(f"there is no tuning log in {where}: `tvmconv tune` makes them")
        return 1
    with _paused_collector():
        return _ACTIONS[options.what](options, output, files)


@contextmanager
def _paused_collector() -> Iterator[None]:
    """Pauses the cyclic garbage collector: records form no cycles, and it would visit each of 200,000 many times."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _check_output(options: argparse.Namespace) -> None:
    """Raises ValueError for a file that cannot be put where -o wants it."""
    if options.what == "plot":
        figure.check(options.output, "-o")
    elif options.what == "merge" and not options.output.parent.is_dir():
        raise ValueError(f"-o {options.output}: there is no folder {options.output.parent}; make it first")


def _files(paths: Sequence[Path], output: Output) -> list[Path]:
    """The files among the paths and all logs in the folders among them. Raises ValueError for what is not there."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder")
        for file in sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]:
            if path.is_dir() and not file.is_file():
                output.warn(f"{file} is no plain file, and is left out")
            else:
                found[file] = None
    return [*found]


def _found(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> list[Sourced]:
    """The records of the files; what is shipped ranks behind the rest. Raises BadFile for a line that is none."""
    found: list[Sourced] = []
    for path in files:
        rank = int(SHIPPED in path.resolve().parents)
        found += [Sourced(record, path, rank) for record in Log(path, output.warn).records()]
    if not found:
        output.warn(f"there is no tuning record in {_named(files)}: `tvmconv tune` makes them")
    elif not any(_is_wanted(options, item.record.key) for item in found):
        keys = dict.fromkeys(item.record.key for item in found)
        such = "; ".join(map(str, [*keys][:_EXAMPLES]))
        where = f"none of the {len(keys)} keys in {_named(files)}"
        output.warn(f"--match {options.match.pattern} is found in {where}, which are such as: {such}")
    return found


def _named(files: Sequence[Path]) -> str:
    more = f" and {len(files) - _EXAMPLES} other files" if len(files) > _EXAMPLES else ""
    return ", ".join(map(str, files[:_EXAMPLES])) + more


def _is_wanted(options: argparse.Namespace, key: Key) -> bool:
    """Whether --match lets the records of a key through."""
    return options.match is None or options.match.search(str(key)) is not None


def _wanted(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> list[Sourced]:
    """The records that --match selects."""
    found = _found(options, output, files)
    wanted = {key: _is_wanted(options, key) for key in {item.record.key for item in found}}
    return [item for item in found if wanted[item.record.key]]


def _show(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> int:
    found = _wanted(options, output, files)
    if options.json:
        output.passing(map(log_report.record_row, found))
    elif found:
        records = [item.record for item in found]
        if len(records) <= _TABLE:
            output.show(log_report.show_table(records))
        else:
            for line in log_report.show_lines(records):
                output.text(line)
    return int(not found)


def _best(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> int:
    rows = best_rows.best_rows(_found(options, output, files), partial(_is_wanted, options))
    return _print(rows, log_report.best_table, output)


def _lines_checked(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> int:
    """1 if a line is no record, or none is; that one is of no use here is no fault of the file."""
    rows = (row for path in files for row in log_report.check_rows(Log(path, output.warn)))
    if _print(rows, log_report.check_table, output):
        output.warn(f"there is no tuning record in {_named(files)}: `tvmconv tune` makes them")
        return 1
    return int(any(row["status"] == "error" for row in output.rows))


def _merge(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> int:
    target = Log(options.output, output.warn)
    with target.closed_to_others():  # a tuner that writes to it waits, and loses nothing
        there = options.output.exists()
        logs = [target if there and path.samefile(options.output) else Log(path, output.warn) for path in files]
        entries: Iterable[Record | Foreign] = (entry for log in logs for entry in log.each())
        if options.finals:
            entries = deciding(entry for entry in entries if isinstance(entry, Record))
        count = write_lines(options.output, merged(entries))
    output.show(f"{options.output}: {count} records of {len(files)} files")
    return 0


def _plot(options: argparse.Namespace, output: Output, files: Sequence[Path]) -> int:
    records = [item.record for item in _wanted(options, output, files)]
    if not any(record.stage == "trial" for record in records):
        if records:
            output.warn(f"there is no trial to draw in {_named(files)}: the records that match are finals")
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

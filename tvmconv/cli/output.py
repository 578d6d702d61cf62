"""Output of commands: rows and tables to stdout, warnings and progress to stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from tvmconv.database import rows as record
from tvmconv.database.rows import Row
from tvmconv.rpc.errors import DeviceError

if TYPE_CHECKING:
    from rich.console import RenderableType

Progress = Callable[[float, float], None]
Step = Callable[[float, float, str], None]


class Output:
    """Collects the rows of a run. With --json prints each at once, the context first; else a table at the end."""

    def __init__(self, argv: Sequence[str], options: argparse.Namespace) -> None:
        self.argv = argv
        self.rows: list[Row] = []
        self._verbose: int = options.verbose
        self._json: bool = options.json
        self._quiet: bool = options.quiet
        self._table: Callable[[list[Row]], RenderableType] | None = None
        self._context: Row | None = None
        self.machine: Row | None = None  # that kernels run on, None for this one

    def __enter__(self) -> Output:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Print the table, of the rows there are if Ctrl-C came, a disk is full, or a device is gone."""
        told = kind is None or (
            issubclass(kind, (KeyboardInterrupt, OSError, DeviceError)) and kind is not BrokenPipeError
        )
        if self._json or self._table is None or not self.rows or not told:
            return
        self.show(self._table(self.rows))

    def context(self, llvm: str | None = None, peak_gflops: float | None = None) -> Row:
        """The context of this run, printed the first time."""
        if self._context is None:
            self._context = record.context(self.argv, llvm, peak_gflops, self.machine)
            self._print_json(self._context)
        return self._context

    def row(self, row: Row) -> None:
        self.context()
        self.rows.append(row)
        self._print_json(row)

    def passing(self, rows: Iterable[Row]) -> None:
        """Rows that are not collected, as they are too many for a table: for --json alone."""
        if self._json:
            self.context()
            for row in rows:
                self._print_json(row)

    def table_at_end(self, table: Callable[[list[Row]], RenderableType]) -> None:
        """Without --json, show this of all rows when the command ends."""
        self._table = table

    def _print_json(self, row: Row) -> None:
        if self._json:
            sys.stdout.write(record.line(row))
            sys.stdout.flush()

    def show(self, text: RenderableType) -> None:
        """For people: not with --json."""
        if not self._json:
            from tvmconv.report.tables import show

            show(text)

    def text(self, text: str) -> None:
        """Prints text unchanged, for code."""
        if not self._json:
            print(text)

    def note(self, sentence: str) -> None:
        """For those who said -v."""
        if self._verbose:
            print(f"tvmconv: {sentence}", file=sys.stderr)

    def warn(self, sentence: str) -> None:
        if not self._quiet:
            print(f"tvmconv: {sentence}", file=sys.stderr)

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """A bar that is given (done, total), on a terminal only."""
        if self._quiet or not sys.stderr.isatty():
            yield lambda done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        # Seldom enough that drawing does not disturb what is measured.
        with Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=2) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    @contextmanager
    def steps(self, what: str, some: int) -> Iterator[Step]:
        """A bar with the time that is left, given (done, total, how it stands); where there is no terminal, with -v a
        line after `some` steps, and the last one."""
        if self._quiet or not sys.stderr.isatty():

            def say(done: float, total: float, standing: str) -> None:
                if done % some == 0 or done == total:
                    self.note(f"{what}: {done:.0f}/{total:.0f} {standing}")

            yield say
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), "{task.fields[now]}")
        texts = [TextColumn(column) if isinstance(column, str) else column for column in columns]
        with Bar(*texts, console=Console(stderr=True), transient=True, refresh_per_second=2) as bar:
            task = bar.add_task(what, total=None, now="")
            yield lambda done, total, standing: bar.update(task, completed=done, total=total, now=standing)


def within_layer(progress: Progress, layer: int, layers: int, done: int, wanted: int) -> None:
    """Progress in layers, from one layer's progress in rounds."""
    progress(layer + done / max(1, wanted), layers)  # nobody wants a round once all have failed


def exit_code(rows: Sequence[Row], required: Sequence[str] = ()) -> int:
    """1 if anything was wrong or failed, nothing was ok, or one of the `required` algorithms never was."""
    statuses = {row["status"] for row in rows}
    if "ok" not in statuses or statuses & {"mismatch", "error"}:
        return 1
    done = {row["algorithm"] for row in rows if row["status"] != "rejected"}
    return int(not done.issuperset(required))

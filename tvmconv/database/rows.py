"""Rows of results: what commands print with --json, and the file that collects them."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tvmconv.support import jsonlines
from tvmconv.support.filesystem.files import append_whole
from tvmconv.support.jsonlines import BadFile
from tvmconv.target.targets import host_features
from tvmconv.version import __version__

# One JSON object: the first of a run has kind "context", all others kind "result".
Row = dict[str, Any]

SCHEMA = 1

# What would come out again.
SETTLED = ("ok", "rejected")

# What makes two measurements comparable: the same code, on the same machine.
_SAME_CONTEXT = ("schema", "tvmconv", "tvm", "llvm", "cpu", "features")
_SAME_ROW = (
    "workload",
    "algorithm",
    "peer",
    "layout",
    "target",
    "device",
    "threads",
    "cpus",
    "schedule",
    "tile",
    "cold",
    "kernel",  # holds a hash of all that decides the code
    "peer_package",
)
# What a measurement adds to a row: None as long as it is not known, False where nothing else is said.
FIGURES: Row = {
    **dict.fromkeys(
        (
            *("seconds", "rounds", "flops", "gflops", "peak_fraction", "workspace_bytes", "indirection_bytes"),
            *("packed_weight_bytes", "verified", "exact", "max_error", "peer_package", "peer_version", "overhead_us"),
            "whole_call_seconds",  # of a peer whose own profile counts: `seconds` is less, unless all rounds were slow
            "sensors",  # clocks and temperatures of a device, before and after
        )
    ),
    "cold": False,
    "emulated": False,  # whether its times mean nothing
}
# What a row is asked for by, whatever it measures.
_NAMES = ("source", "name", "count", "chosen_by", "schedule_asked", "tuned_by")

_BLOCK = 4096  # bytes, some rows, by which a file must be able to grow

# What every row begins with, by which the first half of one is told from a file of something else.
_START = b'{"kind": "'


def context(
    argv: Sequence[str], llvm: str | None, peak_gflops: float | None = None, machine: Mapping[str, Any] | None = None
) -> Row:
    """The context row of a run. `llvm` is TVM's LLVM version, `peak_gflops` the FMA peak of the cores used, `machine`
    the cpu and features of the device that kernels run on, None for this machine."""
    return {
        "kind": "context",
        "schema": SCHEMA,
        "argv": list(argv),
        "tvmconv": __version__,
        "tvm": _version("apache-tvm"),
        "llvm": llvm,
        **(machine or _machine()),
        "peak_gflops": peak_gflops,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def here() -> Row:
    """The fields of a context that describe this machine."""
    return {"schema": SCHEMA, **_machine()}


def _machine() -> Row:
    return {"cpu": _cpu_name(), "features": sorted(host_features())}


def _cpu_name() -> str:
    """The processor as Linux names it; x86 alone has a name there, others get the machine's."""
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = text.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def identity(row: Row) -> str:
    """The identity of a row's measurement: rows of one context with the same identity measure the same.

    A peer's layout is not asked for: it chooses that itself.
    """
    return json.dumps([row.get(key) for key in _SAME_ROW if key != "layout" or row["algorithm"]])


def line(row: Row) -> str:
    """The row as one line of JSON, with its newline. Raises ValueError for NaN and infinity, which JSON has not."""
    assert next(iter(row)) == "kind"
    return jsonlines.line(row)


class ResultFile:
    """A file of JSON lines that grows: context, its results, the next context, its results.

    Opening it keeps what is there. A last line that was cut off in the middle of writing is removed. Raises BadFile,
    with one sentence, if another line is no row, OSError, naming the file, if nothing can be added to it. As a context
    manager it closes the file at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._runs: list[dict[str, Row]] = []
        new = not path.exists()
        with _naming(path):
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                with self._locked():
                    self._rows = _read_repaired(path)
                    _check_room(self._file)
            except BaseException:
                os.close(self._file)
                if new:
                    path.unlink()
                raise

    def begin(self, context: Row) -> None:
        """Results from now on, known and appended, are those of this context."""
        self._context = context
        self._announced = False
        same = {key: context.get(key) for key in _SAME_CONTEXT}
        self._runs, self._all = runs(self._rows, same), runs(self._rows, same, settled=False)

    def known(self, rows: Sequence[Row]) -> list[Row] | None:
        """The results of the latest comparable run that has all of `rows`, under their names.

        None if no single run has all of them: times are compared side by side only if taken so. Failures are forgotten.
        """
        for run in reversed(self._runs):
            if all(identity(row) in run for row in rows):
                return [_named_as(row, run[identity(row)]) for row in rows]
        return None

    def append(self, *rows: Row) -> None:
        """Adds the results that no earlier run has left, all at once: they were measured side by side.

        So a run that ends in the middle leaves all of a layer or nothing, and the next one measures none of it twice.
        Raises OSError, naming the file, where they cannot be written; then nothing of them stays.
        """
        new = [row for row in rows if not self._has(row)]
        if not new:
            return
        announced = [] if self._announced else [self._context]
        with _naming(self.path), self._locked():
            append_whole(self._file, "".join(map(line, (*announced, *new))).encode())
        self._announced = True

    def _has(self, row: Row) -> bool:
        """Whether a comparable run has left this row, or said of it what `row` says, settled or not."""
        return any(identity(row) in run and _named_as(row, run[identity(row)]) == row for run in self._all)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Meanwhile no other process adds to the file."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._file)


def runs(rows: Sequence[Row], context: Mapping[str, Any], settled: bool = True) -> list[dict[str, Row]]:
    """The results of each run whose context says what `context` does, by identity; `settled`: those alone."""
    found: list[dict[str, Row]] = []
    same = False
    for row in rows:
        if row["kind"] == "context":
            same = all(row.get(key) == value for key, value in context.items())
            found += [{}] if same else []
        elif same and (row.get("status") in SETTLED or not settled):
            found[-1][identity(row)] = row
    return found


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Meanwhile an OSError names the file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error


def _check_room(file: int) -> None:
    """Raises OSError where the file cannot grow by a block, before anything is measured for it."""
    size = os.fstat(file).st_size
    append_whole(file, _START.ljust(_BLOCK))  # to a reader, a line that was cut off
    os.ftruncate(file, size)


def _named_as(row: Row, earlier: Row) -> Row:
    """An earlier result under the name that it is asked for by now."""
    return {**earlier, **{key: row[key] for key in _NAMES if key in row}}


def read(path: Path) -> list[Row]:
    """The rows of a file of results. A last line that was cut off is left out; BadFile for what is no row."""
    rows, _ = _read(path)
    return rows


def _read_repaired(path: Path) -> list[Row]:
    """The rows of the file; a last line that was cut off is removed from it."""
    rows, whole = _read(path)
    if whole < path.stat().st_size:
        os.truncate(path, whole)
    return rows


def _read(path: Path) -> tuple[list[Row], int]:
    """The rows of the file, and how many bytes its whole lines have. Raises BadFile if it is one of something else."""
    data = path.read_bytes()
    lines, torn = jsonlines.split(data)
    rows = [_parse(text, path, number) for number, text in enumerate(lines, start=1)]
    if not jsonlines.is_torn(torn, _START):
        raise BadFile(f"{path} is not a file of tvmconv's results: give another name")
    return rows, len(data) - len(torn)


def _parse(text: bytes, path: Path, number: int) -> Row:
    row = jsonlines.parse(text)
    if row is None or row.get("kind") not in ("context", "result"):
        raise bad_line(path, number)
    return row


def bad_line(path: Path, number: int) -> BadFile:
    """The error for a line that is no row; lines count from 1, and each is one of read's rows."""
    return BadFile(f"{path}:{number} is not one of tvmconv's results: give another file name, or remove the line")

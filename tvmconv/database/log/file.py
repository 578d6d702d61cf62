"""The file of a tuning log: whole lines are appended under a lock; torn lines are repaired."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from tvmconv.database.log.format.line import START, Damaged, Entry, Foreign, parse
from tvmconv.database.log.format.record import Record
from tvmconv.database.log.locked import lock, locked, opened
from tvmconv.support import jsonlines
from tvmconv.support.filesystem.files import append_whole
from tvmconv.support.jsonlines import BadFile

_BLOCK, _LINE = 1 << 16, 1 << 12  # bytes that are read at once: of many lines, of one
_LONGEST = 1 << 20  # bytes of a line; records have about a thousand


class Line(NamedTuple):
    """A line and what it holds. number: from 1; start, end: where it begins and where the next one does, in bytes."""

    number: int
    start: int
    end: int
    entry: Entry


class Log:
    """A tuning log at `path`, which need not exist yet. `note` is called with a sentence for each torn line, and with
    other remarks on the file.

    Nothing is kept open between calls, and writers hold the file's lock (flock) for one addition at a time, so that
    several processes can write to one file. A last line that was cut off, by a kill or a full disk, is left out when
    the file is read, and removed before the next line is written. Whatever opens the file raises OSError, naming it,
    where that fails or others keep it locked, and BadFile for what is no plain file.
    """

    def __init__(self, path: Path, note: Callable[[str], None] = lambda sentence: None) -> None:
        self.path = path
        self.note = note
        self._held: int | None = None  # the file's descriptor while it is closed to others

    def append(self, *records: Record) -> None:
        """Adds a line for each, all or none, which are on the disk when this returns; folders are made.

        Raises OSError, naming the file, where it cannot be written (no half of a line stays); BadFile where the file
        ends in something else.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as descriptor:
                self._repair(descriptor)
                append_whole(descriptor, b"".join(record.line() for record in records))
        except OSError as error:
            raise type(error)(error.errno, f"cannot be written: {error.strerror}", str(self.path)) from error

    @contextmanager
    def closed_to_others(self) -> Iterator[None]:
        """Meanwhile nobody else adds to the file, if there is one: it may be read by this object, and replaced."""
        if not self.path.exists():
            yield
            return
        with locked(self.path, os.O_RDWR, fcntl.LOCK_EX) as self._held:
            try:
                yield
            finally:
                self._held = None

    def records(self) -> list[Record]:
        """The records of this schema, in order; none if there is no file. Errors as for entries."""
        return [entry for entry in self.entries() if isinstance(entry, Record)]

    def entries(self) -> list[Record | Foreign]:
        """The entry of each line, in order. Raises BadFile, naming file and line, for a line that is no record."""
        return [*self.each()]

    def each(self) -> Iterator[Record | Foreign]:
        """The same, one after the other."""
        for line in self.lines():
            if isinstance(line.entry, Damaged):
                raise self.bad_line(line.number, line.entry.reason)
            yield line.entry

    def bad_line(self, number: int, reason: str) -> BadFile:
        """The error for a line that is no record."""
        what = f"{self.path}:{number} is not a tuning record"
        return BadFile(f"{what}: remove the line, or name another file ({reason})")

    def lines(self, start: int = 0, number: int = 0) -> Iterator[Line]:
        """The whole lines that the file has now, damaged ones too, in order: those behind its first `start` bytes,
        which are `number` lines. None if there is no file. Raises BadFile for a torn line of something else."""
        if not self.path.exists():
            return
        with nullcontext(self._held) if self._held else opened(self.path, os.O_RDONLY) as descriptor:
            end, torn = self._end(descriptor)
            for behind, text in _texts(descriptor, start, end):
                number += 1
                yield Line(number, start, behind, parse(text))
                start = behind
        if torn:
            self.note(f"{self.path}:{number + 1} was cut off in the middle of writing, and is left out")

    def at(self, starts: Iterable[int]) -> Iterator[Entry]:
        """The entries of the lines that begin at these byte offsets."""
        with self.opened() as descriptor, open(descriptor, "rb", buffering=_LINE, closefd=False) as file:
            for start in starts:
                file.seek(start)
                yield parse(file.readline(_LONGEST).rstrip(b"\n"))

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The file's descriptor, to read from."""
        with opened(self.path, os.O_RDONLY) as descriptor:
            yield descriptor

    def _end(self, descriptor: int) -> tuple[int, bool]:
        """Bytes of the whole lines, which no writer changes any more, and whether a torn line follows."""
        with nullcontext() if descriptor == self._held else lock(self.path, descriptor, fcntl.LOCK_SH):
            size = os.fstat(descriptor).st_size
            end = _end_of_lines(descriptor, size)
            self._check_torn(os.pread(descriptor, len(START), end))
        return end, end < size

    def _repair(self, descriptor: int) -> None:
        """Removes a last line that has no end."""
        size = os.fstat(descriptor).st_size
        end = _end_of_lines(descriptor, size)
        if end == size:
            return
        self._check_torn(os.pread(descriptor, len(START), end))
        number = sum(1 for _ in _texts(descriptor, 0, end)) + 1
        os.ftruncate(descriptor, end)
        self.note(f"{self.path}:{number} was cut off in the middle of writing, and is removed")

    def _check_torn(self, torn: bytes) -> None:
        """Raises BadFile for the first bytes of a torn line that are not those of a record."""
        if not jsonlines.is_torn(torn, START):
            raise BadFile(f"{self.path} is not a tuning log: name another file")


def _end_of_lines(descriptor: int, size: int) -> int:
    """Offset of the end of the last whole line."""
    place = size
    while place:
        first = max(0, place - _BLOCK)
        if found := os.pread(descriptor, place - first, first).rfind(b"\n") + 1:
            return first + found
        place = first
    return 0


def _texts(descriptor: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The whole lines between two places of a file, without their ends, each with the place behind it; no text in the
    place of a line that is too long for a record. It ends before a line that has been cut off meanwhile."""
    with open(descriptor, "rb", buffering=_BLOCK, closefd=False) as file:
        file.seek(start)
        while start < end:
            text = part = file.readline(_LONGEST)
            start += len(part)
            while len(part) == _LONGEST and not part.endswith(b"\n"):
                text, part = b"\n", file.readline(_LONGEST)
                start += len(part)
            if not part.endswith(b"\n"):
                return
            yield start, text[:-1]

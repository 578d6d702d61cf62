"""The file of a tuning log: it grows by whole lines, whoever else writes to it and however its writers die."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tvmconv import jsonlines
from tvmconv.files import append_whole
from tvmconv.jsonlines import BadFile
from tvmconv.log.record import START, Foreign, Record, parse

_MODE = 0o644  # of a new file: readable by everybody
_BLOCK = 1 << 16


class Log:
    """A tuning log at `path`, which need not exist yet. `note` hears one sentence of each torn line that is met, and
    what else there is to say of the file.

    Nothing is kept open between calls, and writers hold the file's lock (flock) for one addition at a time, so that
    several processes can write to one file. A last line that was cut off, by a kill or a full disk, is left out when
    the file is read, and removed before the next line is written.
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
            with _locked(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as descriptor:
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
        with _locked(self.path, os.O_RDWR, fcntl.LOCK_EX) as self._held:
            try:
                yield
            finally:
                self._held = None

    def records(self) -> list[Record]:
        """The records of this schema, in order; none if there is no file. Errors as for entries."""
        return [entry for entry in self.entries() if isinstance(entry, Record)]

    def entries(self) -> list[Record | Foreign]:
        """What each line holds, in order. Raises BadFile, naming file and line, for a line that is no record."""
        found = []
        for number, entry in enumerate(self.lines(), start=1):
            if entry is None:
                raise BadFile(f"{self.path}:{number} is not a tuning record: remove the line, or name another file")
            found.append(entry)
        return found

    def lines(self) -> list[Record | Foreign | None]:
        """The same with None for each line that is no record. Raises BadFile for a torn line of something else."""
        if not self.path.exists():
            return []
        with nullcontext(self._held) if self._held else _locked(self.path, os.O_RDONLY, fcntl.LOCK_SH) as descriptor:
            lines, torn = jsonlines.split(_content(descriptor))
        if torn:
            self._check_torn(torn)
            self.note(f"{self.path}:{len(lines) + 1} was cut off in the middle of writing, and is left out")
        return [parse(text) for text in lines]

    def _repair(self, descriptor: int) -> None:
        """Removes a last line that has no end."""
        size = os.fstat(descriptor).st_size
        if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
            return
        lines, torn = jsonlines.split(_content(descriptor))
        self._check_torn(torn)
        os.ftruncate(descriptor, size - len(torn))
        self.note(f"{self.path}:{len(lines) + 1} was cut off in the middle of writing, and is removed")

    def _check_torn(self, torn: bytes) -> None:
        if not jsonlines.is_torn(torn, START):
            raise BadFile(f"{self.path} is not a tuning log: name another file")


@contextmanager
def _locked(path: Path, flags: int, lock: int) -> Iterator[int]:
    """The open file, locked: closing it unlocks it, and so does the death of this process."""
    descriptor = _opened(path, flags, lock)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(path: Path, flags: int, lock: int) -> int:
    """A descriptor of the file that has this name when it is locked: another may have taken its place meanwhile."""
    while True:
        descriptor = os.open(path, flags, _MODE)
        fcntl.flock(descriptor, lock)
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)


def _content(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return b"".join(iter(lambda: os.read(descriptor, _BLOCK), b""))

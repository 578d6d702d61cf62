"""An index of a large log, kept in the cache: where each key's lines begin, so that a command reads only these.

An index holds places, no results: what is read there is parsed and checked like any other line. It is extended where
the file has grown, and made again where the file is another one or was changed otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmconv.database.log.file import Log
from tvmconv.database.log.format.key import Key
from tvmconv.database.log.format.line import Damaged, Foreign
from tvmconv.database.log.format.record import Record
from tvmconv.database.log.format.versions import SCHEMA
from tvmconv.native.toolchain import cache
from tvmconv.support.filesystem.files import write_whole
from tvmconv.support.filesystem.user_folders import CACHE
from tvmconv.support.jsonlines import BadFile
from tvmconv.version import __version__

_FORM = f"{__version__}, schema {SCHEMA}, form 1"  # all that decides what an index means
_FOLDER = "logs"  # of the cache
_SAMPLE = 1 << 12  # bytes at each end of what is indexed, by which it is known again
_UNREADABLE = (ArithmeticError, AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError)


@dataclass
class Index:
    """The index of the first `end` bytes of a file, which are `lines` whole lines. starts: where the lines of each key
    begin; foreign: how many lines each other schema has; damaged: the number of the line behind these if it is no
    record, and why not."""

    end: int = 0
    lines: int = 0
    starts: dict[Key, list[int]] = field(default_factory=dict)
    foreign: Counter[int] = field(default_factory=Counter)
    damaged: tuple[int, str] | None = None

    def extend(self, log: Log) -> None:
        """Adds the lines behind `end`, as far as they are records. Raises as Log.lines does."""
        self.damaged = None
        for line in log.lines(self.end, self.lines):
            if isinstance(line.entry, Damaged):
                self.damaged = line.number, line.entry.reason
                return
            if isinstance(line.entry, Foreign):
                self.foreign[line.entry.schema] += 1
            else:
                self.starts.setdefault(line.entry.key, []).append(line.start)
            self.end, self.lines = line.end, line.number

    def content(self) -> dict[str, Any]:
        """The index as JSON has it."""
        keys = [vars(key) for key in self.starts]
        return {**vars(self), "foreign": [*self.foreign.items()], "keys": keys, "starts": [*self.starts.values()]}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Index:
        """The index of that content. Raises one of _UNREADABLE where it is none."""
        keys = [Key(**{**fields, "features": tuple(fields["features"])}) for fields in content["keys"]]
        starts = dict(zip(keys, content["starts"], strict=True))
        if any(type(count) is not int for counts in content["foreign"] for count in counts):
            raise ValueError("a count is no whole number")
        return cls(content["end"], content["lines"], starts, Counter(dict(content["foreign"])), content["damaged"])


class IndexedRecords(Mapping[Key, "list[Record]"]):
    """The records of a large log by key, read when they are asked for.

    Raises BadFile, naming file and line, where a line is no record, or where the file changes all the time.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._read: dict[Key, list[Record]] = {}
        self._make(anew=False)

    @property
    def foreign(self) -> Mapping[int, int]:
        return self._index.foreign

    def __getitem__(self, key: Key) -> list[Record]:
        if key not in self._read:
            found = self._records(key)
            if found is None:
                self._make(anew=True)
                found = self._records(key)
            if found is None:
                raise BadFile(f"{self._log.path} was changed while it was read: try again")
            self._read[key] = found
        return self._read[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._index.starts)

    def __len__(self) -> int:
        return len(self._index.starts)

    def _make(self, *, anew: bool) -> None:
        self._index = _indexed(self._log, anew)
        if self._index.damaged:
            raise self._log.bad_line(*self._index.damaged)

    def _records(self, key: Key) -> list[Record] | None:
        """The records of a key; None where the index does not fit the file."""
        try:
            entries = [*self._log.at(self._index.starts[key])]
        except _UNREADABLE:
            return None
        found = [entry for entry in entries if isinstance(entry, Record) and entry.key == key]
        return found if len(found) == len(entries) else None


def _indexed(log: Log, anew: bool) -> Index:
    """The index of a log as it is now; with `anew` whatever the cache has. What cannot be kept is made each time."""
    place = _place(log.path)
    with log.opened() as descriptor:
        kept = None if anew or place is None else _kept(place, descriptor)
        index = kept or Index()
        known = index.end
        index.extend(log)
        if place and (kept is None or index.end > known):
            _keep(place, descriptor, index)
    return index


def _place(path: Path) -> Path | None:
    """The file of a log's index; None where there is no cache."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    with suppress(OSError, ValueError):
        return cache() / _FOLDER / f"{name}.json"
    return None


def _kept(place: Path, descriptor: int) -> Index | None:
    """The cached index, if it is of the open file and that is unchanged or has grown."""
    try:
        content = json.loads(place.read_bytes())
        index = Index.of(content)
        then, now = content["state"], _state(descriptor, index.end)
        has_grown = then["size"] < now["size"]
    except _UNREADABLE:
        return None
    may_differ = ("size", "modified") if has_grown else ()
    return index if all(then.get(name) == now[name] for name in now if name not in may_differ) else None


def _keep(place: Path, descriptor: int, index: Index) -> None:
    content = {**index.content(), "state": _state(descriptor, index.end)}
    with suppress(OSError):
        write_whole(CACHE.made(_FOLDER) / place.name, json.dumps(content).encode())


def _state(descriptor: int, end: int) -> dict[str, Any]:
    """Identity and state of an open file, by which a change is detected. end: of what is indexed."""
    status = os.fstat(descriptor)
    samples = os.pread(descriptor, min(_SAMPLE, end), 0), os.pread(descriptor, min(_SAMPLE, end), max(0, end - _SAMPLE))
    return {
        "form": _FORM,
        "device": status.st_dev,
        "inode": status.st_ino,
        "sample": hashlib.sha256(b"".join(samples)).hexdigest(),
        "size": status.st_size,
        "modified": status.st_mtime_ns,
    }

"""Merges tuning logs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from tvmconv.database.log.best import Sourced, decide
from tvmconv.database.log.format.key import Key
from tvmconv.database.log.format.line import Foreign
from tvmconv.database.log.format.record import Record


def merged(entries: Iterable[Record | Foreign]) -> Iterator[bytes]:
    """The lines of a log of all entries, each once, in order of time.

    Those of one second keep their order; lines of another schema, whose time is not known, come last.
    """
    own: list[Record] = []
    foreign: list[Foreign] = []
    for entry in entries:
        if isinstance(entry, Record):
            own.append(entry)
        else:
            foreign.append(entry)
    own.sort(key=lambda record: record.time)
    yield from _once(chain((record.line() for record in own), (line.line() for line in foreign)))


def _once(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without those that were there before, which are remembered by their digests."""
    known: set[bytes] = set()
    for line in lines:
        digest = hashlib.blake2b(line, digest_size=16).digest()
        if digest not in known:
            known.add(digest)
            yield line


def deciding(records: Iterable[Record]) -> list[Record]:
    """The finals that count: of each key and CPU those of the last run."""
    groups: dict[tuple[Key, str], list[Sourced]] = {}
    for record in records:
        if record.stage == "final":
            groups.setdefault((record.key, record.cpu), []).append(Sourced(record, Path()))
    found = [decide(group, cpu) for (_, cpu), group in groups.items()]
    return [item.record for comparison in found if comparison for item in comparison.records]

"""Several tuning logs as one."""

from __future__ import annotations

from collections.abc import Iterable

from tvmconv.log.record import Foreign, Record


def merged(entries: Iterable[Record | Foreign]) -> bytes:
    """The content of a log of all entries, each once, in order of time.

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
    lines = [*(record.line() for record in own), *(line.line() for line in foreign)]
    return b"".join(dict.fromkeys(lines))

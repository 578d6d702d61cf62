"""A tuning record: the measured time of one tile for one key, with what is needed to judge and repeat it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache, cached_property
from typing import Any, Literal

from tvmconv.database import rows
from tvmconv.database.log.format.fields import PROTOCOL, RECORD
from tvmconv.database.log.format.key import Key
from tvmconv.database.log.format.versions import Versions
from tvmconv.support import jsonlines
from tvmconv.target.devices import EMULATED

Status = Literal["ok", "wrong", "error"]
Stage = Literal["trial", "final"]


@cache
def this_cpu() -> str:
    """The processor of this machine, as Linux names it."""
    return str(rows.here()["cpu"])


def now() -> str:
    """The time, as records have it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class Protocol(dict[str, Any]):
    """The way a record was measured. Not to be changed. Raises ValueError for what no line can have."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        if not PROTOCOL.holds(fields):
            raise ValueError(f"a record has as its protocol {PROTOCOL.words}")
        super().__init__(fields)

    @cached_property
    def text(self) -> str:
        """One line of text, independent of the order of the fields."""
        return jsonlines.line(dict(sorted(self.items()))).rstrip()


@dataclass(frozen=True, slots=True)
class Record:
    """One measurement. Raises ValueError, with one sentence, for one that contradicts itself.

    tile: as str(Tile) has it; status: "wrong" where the result was, "error" where there was none; reason: why, or None;
    seconds: median, p20, p80 of one call and their number n, None unless the status is ok; stage: "final" for those
    that were measured again at the end, interleaved with the default; trial: which of its key, from 0, and of a final
    which trial it repeats; seed: of the search; default: whether it is the hand-written schedule's tile; searcher: who
    proposed it; protocol: how it was measured; cpu: the processor as Linux names it; time: ISO 8601, the same for all
    finals of one interleaved run.
    """

    key: Key
    tile: str
    status: Status
    reason: str | None
    seconds: Mapping[str, float] | None
    gflops: float | None
    stage: Stage
    trial: int
    seed: int
    default: bool
    searcher: str
    protocol: Mapping[str, Any] = field(default_factory=dict)
    device: str = "local"
    versions: Versions = field(default_factory=Versions.here)
    cpu: str = field(default_factory=this_cpu)
    time: str = field(default_factory=now)

    def __post_init__(self) -> None:
        RECORD.check(self)
        if not isinstance(self.protocol, Protocol):
            object.__setattr__(self, "protocol", Protocol(self.protocol))
        if (self.seconds is not None, self.gflops is not None) != (self.status == "ok",) * 2:
            raise ValueError(f"a record of status {self.status} has {'its' if self.status == 'ok' else 'no'} time")

    @classmethod
    def of_checked(cls, *fields: Any) -> Record:
        """The record of all its fields in their order, which the caller has checked as the constructor does."""
        record = object.__new__(cls)
        for put, value in zip(_SETTERS, fields, strict=True):
            put(record, value)
        return record

    @property
    def median(self) -> float:
        """Seconds of one call; infinite where there is no time."""
        return self.seconds["median"] if self.seconds else math.inf

    @property
    def method(self) -> str:
        """The protocol in one line; trials of different methods are not comparable."""
        assert isinstance(self.protocol, Protocol)
        return self.protocol.text

    @property
    def foreign(self) -> str | None:
        """Why its time says nothing about kernels that are made here; None if it does."""
        if self.device == EMULATED:
            return "it was measured on an emulated device, whose times mean nothing"
        return self.versions.foreign_to(Versions.here())

    def fields(self) -> dict[str, Any]:
        """Fields by name, in the order of a line; key and versions as nested objects."""
        own = {name: getattr(self, name) for name in self.__slots__}
        return own | {"key": vars(self.key), "versions": vars(self.versions)}

    def line(self) -> bytes:
        """The record as a line of a log."""
        return jsonlines.line(self.fields()).encode()


_SETTERS = [getattr(Record, name).__set__ for name in Record.__slots__]

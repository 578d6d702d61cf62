"""A tuning record: what one tile was worth for one key, with all that is needed to judge and to repeat it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache, cached_property, lru_cache
from typing import Any, Literal, NamedTuple

from tvmconv import jsonlines
from tvmconv import record as results
from tvmconv.device import EMULATED
from tvmconv.log.fields import PROTOCOL, RECORD, VERSION, check
from tvmconv.log.key import Key
from tvmconv.log.versions import SCHEMA, Versions

START = b'{"key": {"workload": "'  # of every line, by which half of one is told from a file of something else

Status = Literal["ok", "wrong", "error"]
Stage = Literal["trial", "final"]


@cache
def _cpu() -> str:
    return str(results.here()["cpu"])


def now() -> str:
    """The time, as records have it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class Protocol(dict[str, Any]):
    """How a record was measured. Not to be changed. Raises ValueError for what no line can have."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        if not PROTOCOL.holds(self):
            raise ValueError(f"a record has as its protocol {PROTOCOL.words}")

    @cached_property
    def text(self) -> str:
        """In one line, whatever the order of the fields."""
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
    cpu: str = field(default_factory=_cpu)
    time: str = field(default_factory=now)

    def __post_init__(self) -> None:
        check(self, RECORD)
        if not isinstance(self.protocol, Protocol):
            object.__setattr__(self, "protocol", Protocol(self.protocol))
        if (self.seconds is not None, self.gflops is not None) != (self.status == "ok",) * 2:
            raise ValueError(f"a record of status {self.status} has {'its' if self.status == 'ok' else 'no'} time")

    @property
    def median(self) -> float:
        """Seconds of one call; infinite where there is no time."""
        return self.seconds["median"] if self.seconds else math.inf

    @property
    def method(self) -> str:
        """How it was measured, in one line: trials of different methods say nothing of each other."""
        assert isinstance(self.protocol, Protocol)
        return self.protocol.text

    @property
    def foreign(self) -> str | None:
        """Why its time says nothing about kernels that are made here; None if it does."""
        if self.device == EMULATED:
            return "it was measured on an emulated device, whose times mean nothing"
        return self.versions.foreign_to(Versions.here())

    def fields(self) -> dict[str, Any]:
        """By name, in the order of a line; those of key and versions as objects of their own."""
        own = {name: getattr(self, name) for name in self.__slots__}
        return own | {"key": vars(self.key), "versions": vars(self.versions)}

    def line(self) -> bytes:
        """The record as a line of a log."""
        return jsonlines.line(self.fields()).encode()


@dataclass(frozen=True)
class Foreign:
    """A line of another schema, kept as it is."""

    text: bytes
    schema: int

    def line(self) -> bytes:
        return self.text + b"\n"


@dataclass(frozen=True)
class Damaged:
    """A line that is no record, and why."""

    reason: str


Entry = Record | Foreign | Damaged


def parse(text: bytes) -> Entry:
    """What a line of a log holds."""
    if not text.startswith(START):
        return Damaged("it does not begin as a record does")
    with suppress(*_UNREADABLE):
        return _parse_in_parts(text)
    content = jsonlines.parse(text)
    if content is None:
        return Damaged("it is no JSON object")
    try:
        versions = content["versions"]
        if (schema := versions["schema"]) != SCHEMA and VERSION.holds(schema):
            return Foreign(text, schema)
        key, circumstances = _key(content.pop("key")), _Circumstances.of(content)
        return Record(key=key, **circumstances._asdict(), **content)
    except ValueError as error:
        return Damaged(str(error))
    except _UNREADABLE:
        return Damaged("it has not the fields of a record, or others")


_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)


class _Circumstances(NamedTuple):
    """What the records of one tuner have in common."""

    protocol: Protocol
    device: str
    versions: Versions
    cpu: str

    @classmethod
    def of(cls, content: dict[str, Any]) -> _Circumstances:
        """Takes these fields out of a line's content."""
        protocol, device, versions, cpu = map(content.pop, cls._fields)
        return cls(Protocol(protocol), device, Versions(**versions), cpu)


def _key(fields: Mapping[str, Any]) -> Key:
    return Key(**{**fields, "features": tuple(fields["features"])})


def _parse_in_parts(text: bytes) -> Record:
    """The record of a line as tvmconv writes it. Its key and its circumstances, which many lines share, are parsed once.

    The line is cut behind fields. Where each part is an object, once it is in brackets, the line holds what they hold
    together. Raises one of _UNREADABLE for a line of another form, which may be a record nevertheless.
    """
    tile, protocol, time = text.find(b', "tile": '), text.rfind(b', "protocol": '), text.rfind(b', "time": ')
    key = _shared_key(text[:tile] + b"}")
    circumstances = _shared_circumstances(b"{" + text[protocol + 2 : time] + b"}")
    own = _object(b"{" + text[tile + 2 : protocol] + text[time:])
    if (*own,) != _OWN:
        raise ValueError("not a record's own fields")
    *values, made = own.values()
    return Record(key, *values, *circumstances, made)


_OWN = ("tile", "status", "reason", "seconds", "gflops", "stage", "trial", "seed", "default", "searcher", "time")


@lru_cache(maxsize=1 << 13)
def _shared_key(text: bytes) -> Key:
    (fields,) = _object(text).values()
    return _key(fields)


@lru_cache(maxsize=1 << 10)
def _shared_circumstances(text: bytes) -> _Circumstances:
    content = _object(text)
    circumstances = _Circumstances.of(content)
    if content or circumstances.versions.schema != SCHEMA:
        raise ValueError("not the circumstances of a record of this schema")
    return circumstances


def _object(text: bytes) -> dict[str, Any]:
    content = jsonlines.parse(text)
    if content is None:
        raise ValueError("no JSON object")
    return content

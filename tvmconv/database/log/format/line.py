"""Parses a line of a tuning log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tvmconv.database.log.format.fields import COUNTS, LEAST, MOST, VERSION, is_name, is_text, is_tile
from tvmconv.database.log.format.key import Key
from tvmconv.database.log.format.record import Protocol, Record, Stage, Status
from tvmconv.database.log.format.versions import SCHEMA, Versions
from tvmconv.support import jsonlines

START = b'{"key": {"workload": "'  # of every line, by which half of one is told from a file of something else

_UNREADABLE = (msgspec.MsgspecError, RecursionError, AttributeError, KeyError, TypeError, ValueError)


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
    """Parses a line of a log."""
    if not text.startswith(START):
        return Damaged("it does not begin as a record does")
    try:
        return _decoded(text)
    except _UNREADABLE:
        return _read_whole(text)


# As RECORD has them, in types that msgspec checks.
_Count = Annotated[int, Meta(ge=0, lt=COUNTS)]
_Number = Annotated[int, Meta(ge=1, lt=COUNTS)] | Annotated[float, Meta(gt=LEAST, lt=MOST)]


class _Times(msgspec.Struct, forbid_unknown_fields=True):
    median: _Number
    p20: _Number
    p80: _Number
    n: Annotated[int, Meta(ge=1, lt=COUNTS)]


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a line, in the order of a Record's. Many lines have the same text as key, protocol and versions:
    these come undecoded."""

    key: msgspec.Raw
    tile: str
    status: Status
    reason: str | None
    seconds: _Times | None
    gflops: _Number | None
    stage: Stage
    trial: _Count
    seed: Annotated[int, Meta(ge=0)]
    default: bool
    searcher: str
    protocol: msgspec.Raw
    device: str
    versions: msgspec.Raw
    cpu: str
    time: str


_DECODER = msgspec.json.Decoder(_Line)


def _decoded(text: bytes) -> Record:
    """The record of a line, in a fraction of the time that json takes with checks in Python.

    Raises one of _UNREADABLE for all that is not certainly a record of this schema; _read_whole says what it is.
    """
    line = _DECODER.decode(text)
    is_ok = line.status == "ok"
    if not (
        is_tile(line.tile)
        and (line.reason is None or is_text(line.reason))
        and (line.seconds is not None) == is_ok
        and (line.gflops is not None) == is_ok
        and all(map(is_name, (line.searcher, line.device, line.cpu, line.time)))
    ):
        raise ValueError("a field holds what it may not, or contradicts another one")
    key, tile, status, reason, times, *own, protocol, device, versions, cpu, time = msgspec.structs.astuple(line)
    seconds = times and msgspec.structs.asdict(times)
    shared = _shared_key(bytes(key)), _shared_protocol(bytes(protocol)), _shared_versions(bytes(versions))
    return Record.of_checked(shared[0], tile, status, reason, seconds, *own, shared[1], device, shared[2], cpu, time)


def _read_whole(text: bytes) -> Entry:
    try:
        return _parse_whole(text)
    except ValueError as error:
        return Damaged(str(error))
    except _UNREADABLE:
        return Damaged("its key or its versions have not the fields of a record")


def _parse_whole(text: bytes) -> Record | Foreign:
    """Raises one of _UNREADABLE."""
    content = _object(text)
    schema: Any = content["versions"]["schema"] if "versions" in content else None
    if schema != SCHEMA and VERSION.holds(schema):
        return Foreign(text, schema)
    for name in Record.__slots__:
        if name not in content:
            raise ValueError(f"it has no {name}")
    if len(content) > len(Record.__slots__):
        raise ValueError("it has fields that no record has")
    return Record(**{**content, "key": _key(content["key"]), **_circumstances(content)})


@lru_cache(maxsize=1 << 13)
def _shared_key(text: bytes) -> Key:
    return _key(_object(text))


@lru_cache(maxsize=1 << 10)
def _shared_protocol(text: bytes) -> Protocol:
    return Protocol(_object(text))


@lru_cache(maxsize=1 << 10)
def _shared_versions(text: bytes) -> Versions:
    versions = Versions(**_object(text))
    if versions.schema != SCHEMA:
        raise ValueError("of another schema")
    return versions


def _key(fields: Mapping[str, Any]) -> Key:
    if type(fields["features"]) is not list:
        raise ValueError("its features are no list")
    return Key(**{**fields, "features": tuple(fields["features"])})


def _circumstances(content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that all records of one tuner share."""
    versions = Versions(**content["versions"])
    return {
        "protocol": Protocol(content["protocol"]),
        "device": content["device"],
        "versions": versions,
        "cpu": content["cpu"],
    }


def _object(text: bytes) -> dict[str, Any]:
    content = jsonlines.parse(text)
    if content is None:
        raise ValueError("it is no JSON object")
    return content

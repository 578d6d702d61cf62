"""Reads a line of a tuning log, whatever is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tvmconv.database.log.format.fields import VERSION
from tvmconv.database.log.format.key import Key
from tvmconv.database.log.format.record import Protocol, Record
from tvmconv.database.log.format.versions import SCHEMA, Versions
from tvmconv.support import jsonlines

START = b'{"key": {"workload": "'  # of every line, by which half of one is told from a file of something else

_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)


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
    try:
        return _parse_in_parts(text)
    except _UNREADABLE:
        return _read_whole(text)


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
    return Record(**{**content, "key": _key(content), **_circumstances(content)})


def _parse_in_parts(text: bytes) -> Record:
    """The record of a line as tvmconv writes it: what many lines have in common, its key and how it was measured, is
    parsed once.

    The line is cut between fields. Where each part is an object, once it is in brackets, the line holds what they hold
    together. Raises one of _UNREADABLE for a line of another form, which may be a record nevertheless.
    """
    tile, protocol, time = text.find(b', "tile": '), text.rfind(b', "protocol": '), text.rfind(b', "time": ')
    key = _shared_key(text[:tile] + b"}")
    circumstances = _shared_circumstances(b"{" + text[protocol + 2 : time] + b"}")
    own = _object(b"{" + text[tile + 2 : protocol] + text[time:])
    if len(own) + len(circumstances) + 1 != len(Record.__slots__):
        raise ValueError("not all the fields of a record")
    return Record(key=key, **own, **circumstances)


@lru_cache(maxsize=1 << 13)
def _shared_key(text: bytes) -> Key:
    content = _object(text)
    if [*content] != ["key"]:
        raise ValueError("not a key alone")
    return _key(content)


@lru_cache(maxsize=1 << 10)
def _shared_circumstances(text: bytes) -> Mapping[str, Any]:
    content = _object(text)
    circumstances = _circumstances(content)
    if content.keys() != circumstances.keys() or circumstances["versions"].schema != SCHEMA:
        raise ValueError("not the circumstances of a record of this schema alone")
    return circumstances


def _key(content: Mapping[str, Any]) -> Key:
    fields = content["key"]
    if type(fields["features"]) is not list:
        raise ValueError("its features are no list")
    return Key(**{**fields, "features": tuple(fields["features"])})


def _circumstances(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the records of one tuner have in common."""
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

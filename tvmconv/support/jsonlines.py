"""Files of JSON lines; the last line may be torn."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any


class BadFile(ValueError):
    """A file that exists and is not what it should be."""


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


_READER = json.JSONDecoder(parse_constant=_refuse)
_SPACE = " \t\r\n"  # of JSON
_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def line(content: Mapping[str, Any]) -> str:
    """The object as one line, with its newline. Raises ValueError for NaN and infinity, which JSON has not."""
    return _WRITER.encode(content) + "\n"


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole lines of a file's content, without their ends, and what follows the last end: a torn line, or b""."""
    whole = data.rfind(b"\n") + 1
    return data[:whole].split(b"\n")[:-1], data[whole:]


def parse(text: bytes) -> dict[str, Any] | None:
    """The object of a line; None for what is no JSON object in UTF-8."""
    try:
        decoded = text.removeprefix(BOM_UTF8).decode().strip(_SPACE)
        content, end = _READER.raw_decode(decoded)
    except (ValueError, RecursionError):  # no JSON, or brackets in brackets without end
        return None
    return content if isinstance(content, dict) and end == len(decoded) else None


def is_torn(text: bytes, start: bytes) -> bool:
    """Whether a last line without end may be the first part of one of ours, all of which begin with `start`."""
    return text.startswith(start[: len(text)])

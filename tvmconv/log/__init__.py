"""Tuning logs: what the search has measured, one record a line, and which of it may be used here."""

from __future__ import annotations

from tvmconv.log.file import Log
from tvmconv.log.key import Key
from tvmconv.log.record import Record
from tvmconv.log.versions import SCHEMA, SPACE, Versions

__all__ = ["SCHEMA", "SPACE", "Key", "Log", "Record", "Versions"]

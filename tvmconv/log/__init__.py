"""Tuning logs: what the search has measured, one record a line, and which of it may be used here."""

from __future__ import annotations

from tvmconv.log.best import Comparison, Sourced, decide
from tvmconv.log.file import Log
from tvmconv.log.key import Key
from tvmconv.log.line import Damaged, Foreign
from tvmconv.log.lookup import Found, Logs
from tvmconv.log.places import SHIPPED, folders, made_own_folder, new_log, own_folder
from tvmconv.log.record import Record
from tvmconv.log.versions import SCHEMA, SPACE, Versions

__all__ = [
    "SCHEMA", "SHIPPED", "SPACE", "Comparison", "Damaged", "Foreign", "Found", "Key", "Log", "Logs", "Record",
    "Sourced", "Versions", "decide", "folders", "made_own_folder", "new_log", "own_folder",
]  # fmt: skip

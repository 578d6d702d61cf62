"""Tuning logs: one measured trial a line, and which of them may be used here."""

from __future__ import annotations

from tvmconv.database.log.best import Comparison, Sourced, decide
from tvmconv.database.log.file import Log
from tvmconv.database.log.format.key import Key
from tvmconv.database.log.format.line import Damaged, Foreign
from tvmconv.database.log.format.record import Record
from tvmconv.database.log.format.versions import SCHEMA, SPACE, Versions
from tvmconv.database.log.lookup import Found, Logs
from tvmconv.database.log.places import SHIPPED, folders, made_own_folder, new_log, own_folder

__all__ = [
    "SCHEMA", "SHIPPED", "SPACE", "Comparison", "Damaged", "Foreign", "Found", "Key", "Log", "Logs", "Record",
    "Sourced", "Versions", "decide", "folders", "made_own_folder", "new_log", "own_folder",
]  # fmt: skip

"""The folders of tuning logs: the user's own and the shipped ones, each with one folder a target."""

from __future__ import annotations

import re
from pathlib import Path

from tvmconv.support.filesystem.user_folders import DATA

SHIPPED = (Path(__file__).parents[2] / "tuning_logs").resolve()
SUFFIX = ".jsonl"
_FOLDER = "tuning_logs"


def own_folder() -> Path:
    """The user's tuning logs, where --log-dir names no other folder.

    $XDG_DATA_HOME/tvmconv/tuning_logs, with ~/.local/share where that is not set (XDG Base Directory Specification).
    Raises ValueError where there is no home folder either.
    """
    return DATA.path / _FOLDER


def made_own_folder() -> Path:
    """own_folder, made where it is missing. Raises OSError, with one sentence that names the variable."""
    return DATA.made(_FOLDER)


def folders(log_dir: Path | None = None) -> tuple[Path, ...]:
    """The folders to search, in order: `log_dir` or the user's own, then the shipped one."""
    return (log_dir or own_folder(), SHIPPED)


def folder_of(target: str, folder: Path) -> Path:
    """The logs of a target, by its name, in a folder of logs."""
    return folder / _as_name(target)


def new_log(target: str, what: str, log_dir: Path | None = None) -> Path:
    """The file for what is tuned for a target from now on; `what`: a network, a model or a descriptor."""
    return folder_of(target, log_dir or own_folder()) / f"{_as_name(what)}{SUFFIX}"


def _as_name(text: str) -> str:
    """The text as a name of a file: pixel6/big becomes pixel6_big."""
    return re.sub(r"[^\w.+,-]", "_", text).lstrip(".") or "_"

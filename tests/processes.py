"""Processes that a test has started: which of them are left?"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def is_running(process: Path) -> bool:
    """A process that has ended, and that nobody has asked for its exit code yet, does not count."""
    try:
        return "\nState:\tZ" not in (process / "status").read_text()
    except FileNotFoundError:
        return False


def users_of(cache: Path) -> list[Path]:
    """The running processes whose cache this is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # gone, or somebody else's
            continue
        if f"XDG_CACHE_HOME={cache}".encode() in environment and is_running(process):
            found.append(process)
    return found


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)

"""Processes that a test has started: which of them are left?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def is_running(pid: int) -> bool:
    """A process that has ended, and that nobody has asked for its exit code yet, does not count."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def users_of(cache: Path) -> list[int]:
    """The running processes whose cache this is."""
    variable = f"XDG_CACHE_HOME={cache}".encode()
    return [pid for pid, said in _everybody("environ") if variable in said.split(b"\0") and is_running(pid)]


def children(parent: int, command: str = "") -> list[int]:
    """Those that a process has started, ended ones included, whose command line has these words."""
    named = {pid for pid, said in _everybody("cmdline") if command.encode() in said}
    return [pid for pid, said in _everybody("stat") if int(_fields(said)[1]) == parent and pid in named]


def in_group(leader: int) -> list[int]:
    """What lives in a process group, or has it as its session."""
    found = ((pid, _fields(said)) for pid, said in _everybody("stat"))
    return [pid for pid, (state, _, *ids) in found if str(leader).encode() in ids[:2] and state != b"Z"]


def _everybody(file: str) -> Iterator[tuple[int, bytes]]:
    """All processes, each with what a file in its folder of /proc says; those that may not be read are left out."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone, or somebody else's
            yield int(folder.name), (folder / file).read_bytes()


def _fields(stat: bytes) -> list[bytes]:
    """Of a process: its state, its parent, its group, its session and more. A name may have blanks and brackets."""
    return stat.rpartition(b")")[2].split()

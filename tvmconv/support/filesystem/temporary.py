"""Temporary folders, removed by their process, or by a later one if it was killed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tvmconv.support.filesystem.files import check_room
from tvmconv.support.filesystem.user_folders import naming

# What the names of our folders begin with where all programs have theirs.
_PREFIXES = tuple(f"tvmconv-{use}-" for use in ("apt", "link", "profile", "push", "tune", "wheels", "worker"))
_RANDOM = "[a-z0-9_]{8}"  # what tempfile.mkdtemp appends to the prefix
_ATTEMPTS = 3
_SECONDS = 1.0  # for processes that were killed a moment ago to stop writing into a folder that is removed
_PAUSE = 0.02


@contextmanager
def temporary_folder(prefix: str, parent: Path | None = None, variable: str = "TMPDIR") -> Iterator[Path]:
    """A new folder in `parent`, by default where temporary files are, which is removed at the end.

    It is locked (flock) as long as this process lives. Unlocked folders of the same prefix are removed first. Raises
    OSError, with one sentence that names the variable or option that decides the place, where none can be made, and
    where what is done in it fails while its disk is full.
    """
    with naming(variable):
        sweep([prefix] if parent else _PREFIXES, parent)
        path, lock = _new(prefix, parent or Path(tempfile.gettempdir()))
    try:
        yield path
    except Exception as error:
        if getattr(error, "filename", None) is None:  # else it is known what could not be written
            with naming(variable):
                check_room(path)
        raise
    finally:
        _remove(path)
        os.close(lock)


def sweep(prefixes: Sequence[str] = _PREFIXES, parent: Path | None = None) -> None:
    """Removes this user's folders of these prefixes in `parent` whose processes have ended without doing so."""
    parent = parent or Path(tempfile.gettempdir())
    ours = re.compile(f"({'|'.join(map(re.escape, prefixes))}){_RANDOM}")
    try:
        names = os.listdir(parent)
    except OSError:  # there is no such folder, or it cannot be read
        return
    for name in filter(ours.fullmatch, names):
        if (lock := _taken(parent / name)) is not None:
            shutil.rmtree(parent / name, ignore_errors=True)
            os.close(lock)


def _new(prefix: str, parent: Path) -> tuple[Path, int]:
    """A new folder and the descriptor that locks it, unless its file system (NFS) does not know such locks."""
    for _ in range(_ATTEMPTS):  # another process may sweep it away before it is locked
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        if (lock := _taken(path)) is not None:
            return path, lock
        shutil.rmtree(path, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    return path, os.open(path, os.O_RDONLY)


def _taken(path: Path) -> int | None:
    """A descriptor that locks a folder of this user's; None if another process does, or if it is no such folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(descriptor)
        if found.st_uid == os.geteuid() and found.st_mode & 0o777 == 0o700 and os.path.exists(path):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _remove(path: Path) -> None:
    end = time.monotonic() + _SECONDS
    while True:
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists() or time.monotonic() > end:
            return
        time.sleep(_PAUSE)

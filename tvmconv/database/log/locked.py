"""Opens and locks (flock) a regular file, with a deadline; pipes are refused."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tvmconv.support.jsonlines import BadFile

_MODE = 0o644  # of a new file: readable by everybody
_PATIENCE, _PAUSE = 30.0, 0.005  # seconds to wait for a lock, and between two attempts


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """The file's descriptor. Raises OSError, naming the file; BadFile for what is no plain file."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, _MODE)  # a pipe would wait for its other end
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device or another special file"
            raise BadFile(f"{path} is {kind}: name a plain file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, flags: int, kind: int) -> Iterator[int]:
    """The descriptor of the file that has this name when it is locked: another may have taken its place meanwhile."""
    while True:
        with opened(path, flags) as descriptor, lock(path, descriptor, kind):
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                yield descriptor
                return


@contextmanager
def lock(path: Path, descriptor: int, kind: int) -> Iterator[None]:
    """Meanwhile the file is locked; the death of this process unlocks it, too. Raises OSError, naming the file, where
    others keep it locked."""
    deadline = time.monotonic() + _PATIENCE
    while not _is_locked(path, descriptor, kind):
        if time.monotonic() > deadline:
            sentence = f"another process keeps it locked for more than {_PATIENCE:g} s: wait for that, or end it"
            raise OSError(errno.EWOULDBLOCK, sentence, str(path))
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_locked(path: Path, descriptor: int, kind: int) -> bool:
    """Whether an attempt to lock it succeeds."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    return True

"""Reads an input file or pipe, with bounds on size and time."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

_PIPE_SECONDS = 20.0
_CHUNK = 1 << 20


def read_input(path: Path, most: int) -> bytes:
    """The content of `path`, a file of at most `most` bytes or a pipe that is written within _PIPE_SECONDS.

    Raises OSError, whose `strerror` says what is wrong, for everything else; its errno is EFBIG if there is too much.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a file's name has no NUL")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISFIFO(status.st_mode):
            return _read_pipe(descriptor, most)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a device, but a file or a pipe is expected")
        if status.st_size > most:
            raise _too_large(most)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1) or b""  # a file of /proc has size 0, and may give None
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise _too_large(most)
    return content


def _read_pipe(descriptor: int, most: int) -> bytes:
    """Reads a pipe until all writers have closed it; its first writer may not have opened it yet."""
    deadline = time.monotonic() + _PIPE_SECONDS
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    content = bytearray()
    while len(content) <= most:
        if not _wait(poll, deadline) and not content:
            raise OSError(errno.ETIMEDOUT, f"nothing was written to the pipe within {_PIPE_SECONDS:g} s")
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            raise OSError(errno.ETIMEDOUT, f"the pipe was not closed within {_PIPE_SECONDS:g} s") from None
        if not chunk:
            return bytes(content)
        content += chunk
    raise _too_large(most)


def _wait(poll: select.poll, deadline: float) -> bool:
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1e3))


def _too_large(most: int) -> OSError:
    return OSError(errno.EFBIG, f"it has more than {most} bytes")

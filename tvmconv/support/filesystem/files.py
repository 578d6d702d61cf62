"""Atomic, durable writes of files."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_LEAST_FREE = 4 << 20  # bytes of a disk; what fails with less has most likely failed for that


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Writes a file under another name and renames it, so that no half of it is ever seen. Readable by everybody.

    `mode` has its permissions, as chmod takes them.

    Raises OSError, with one sentence that names `path`.
    """
    write_together({path: content}, mode)


def write_lines(path: Path, lines: Iterable[bytes]) -> int:
    """The same with lines, of which no more than one is in memory. Returns their number."""
    count = 0

    def counted() -> Iterator[bytes]:
        nonlocal count
        for line in lines:
            count += 1
            yield line

    _write({path: counted()}, 0o644)
    return count


def write_together(contents: Mapping[Path, bytes], mode: int = 0o644) -> None:
    """The same of several files: none gets its name before all are on the disk."""
    _write({path: [content] for path, content in contents.items()}, mode)


def _write(contents: Mapping[Path, Iterable[bytes]], mode: int) -> None:
    with contextlib.ExitStack() as undo:
        written = {path: _written(path, pieces, mode, undo) for path, pieces in contents.items()}
        for path, temporary in written.items():
            with _naming(path):
                os.replace(temporary, path)
        for folder in {path.parent for path in contents}:
            with contextlib.suppress(PermissionError):  # a folder that may be written, but not read
                sync(folder)


def _written(path: Path, pieces: Iterable[bytes], mode: int, undo: contextlib.ExitStack) -> Path:
    """A file beside `path` with these pieces, which is on the disk; `undo` will remove it if it is still there."""
    with _naming(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".tvmconv-")
        undo.callback(Path(name).unlink, missing_ok=True)
        with open(descriptor, "wb") as file:
            file.writelines(pieces)
            os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(descriptor)
    return Path(name)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror}") from error


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk. Raises OSError, as for a disk that is full."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_whole(descriptor: int, content: bytes) -> None:
    """Adds to the end of a file all of `content` or, where that fails with an OSError, nothing."""
    before = os.fstat(descriptor).st_size
    try:
        while content:
            content = content[os.write(descriptor, content) :]
        os.fsync(descriptor)
    except BaseException:
        os.ftruncate(descriptor, before)
        raise


def check_room(folder: Path) -> None:
    """Raises OSError, which names the folder, where its disk is as good as full."""
    if shutil.disk_usage(folder).free < _LEAST_FREE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

"""The cache's files with digests, so that a damaged one is detected and made again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from tvmconv.support.filesystem.files import sync

_SUMS = ".sha256"


def is_whole(path: Path) -> bool:
    """Whether the file or folder, and what was published with it, are what `publish` has put there."""
    try:
        sums = [line.split("  ", 1) for line in _content(_sums(path)).decode().splitlines()]
        named = any(Path(name).parts[:1] == (path.name,) for _, name in sums)
        return named and all(_digest(path.parent / name) == digest for digest, name in sums)
    except (OSError, ValueError):
        return False


def publish(made: Sequence[Path], folder: Path) -> None:
    """Moves what is finished, files or folders of files, into a folder of the same disk: last what depends on the rest.

    Behind it goes a file of digests, as `sha256sum -c` reads it. Everything is on the disk before it gets its name, and
    takes the place of whatever has that name. Two processes that publish the same do no harm.
    """
    files = [file for path in made for file in _files(path)]
    sums = _sums(made[-1])
    sums.write_text("".join(f"{_digest(file)}  {file.relative_to(sums.parent)}\n" for file in files))
    for path in (*files, *(path for path in made if path.is_dir()), sums):
        sync(path)
    for path in (*made, sums):
        _replace(path, folder / path.name)
    sync(folder)


def _sums(path: Path) -> Path:
    return path.with_name(path.name + _SUMS)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(path.iterdir())
    else:
        yield path


def _digest(path: Path) -> str:
    return hashlib.sha256(_content(path)).hexdigest()


def _content(path: Path) -> bytes:
    """The content of a regular file; OSError for any other, since some would never end."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no plain file")
        return file.read()


def _replace(made: Path, path: Path) -> None:
    """Renames, also where a folder is in the way, which goes with the temporary folder that `made` was in."""
    if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.replace(path, made.with_name(f"{made.name}.old"))
    try:
        os.replace(made, path)
    except OSError:
        if not (made.is_dir() and path.is_dir()):  # as before
            raise

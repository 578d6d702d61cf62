"""Loads shared objects: exactly the named file, each version of it once."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

_paths_loaded: set[str] = set()


def loaded(path: Path) -> ctypes.CDLL:
    """The file, loaded now unless it has been before. Raises ValueError where the dynamic linker refuses it."""
    path = path.resolve()
    found = path.stat()
    return _loaded(str(path), found.st_dev, found.st_ino, found.st_ctime_ns)


@functools.cache
def _loaded(path: str, *version: int) -> ctypes.CDLL:
    """The loaded file; one that has replaced another at its path, or was changed, is another version.

    The dynamic linker would take a path that it has loaded before for the same file, and expand $ORIGIN and its like in
    a path. Then the file is loaded by an open descriptor, which stays open.
    """
    through_descriptor = path in _paths_loaded or "$" in path
    try:
        library = ctypes.CDLL(f"/proc/self/fd/{os.open(path, os.O_RDONLY)}" if through_descriptor else path)
    except OSError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from None
    except UnicodeDecodeError:  # the dynamic linker quotes the name of a symbol that it misses
        raise ValueError(f"{path} cannot be loaded: it is damaged") from None
    _paths_loaded.add(path)
    return library

"""tvmconv's folders among the user's own, by the XDG Base Directory Specification."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH


@dataclass(frozen=True)
class UserFolder:
    """The folder tvmconv in the one that an environment variable names, or in `default` of the home folder."""

    variable: str
    default: str

    @property
    def path(self) -> Path:
        """It need not exist. A variable that is empty or no absolute path is ignored, as the specification has it.

        Raises ValueError where there is no home folder either.
        """
        named = os.environ.get(self.variable, "")
        try:
            home = Path(named) if named.startswith("/") else Path.home() / self.default
        except RuntimeError:
            raise ValueError(f"there is no home folder: set {self.variable} to a folder") from None
        return home / "tvmconv"

    def made(self, *names: str) -> Path:
        """A folder in it that files can be put into, made where it is missing, for this user alone.

        Raises OSError, with one sentence that names the variable.
        """
        folder = self.path
        with naming(self.variable):
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.mkdir(mode=0o700, exist_ok=True)
                for name in names:
                    folder /= name
                    folder.mkdir(mode=0o700, exist_ok=True)
            except FileExistsError as error:
                raise NotADirectoryError(None, "it is no folder", error.filename) from None
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(None, "it cannot be written", str(folder))
        return folder

    def check_private(self) -> None:
        """Raises PermissionError, with one sentence, where another user could put files into the folder.

        For a folder of code. Root may, and so may those whom the owner of a folder with the sticky bit trusts.
        """
        _check_private(self.path, self.variable)


CACHE = UserFolder("XDG_CACHE_HOME", ".cache")
DATA = UserFolder("XDG_DATA_HOME", ".local/share")


@contextmanager
def naming(variable: str) -> Iterator[None]:
    """Meanwhile an OSError becomes one sentence that also names the environment variable or option to change."""
    try:
        yield
    except OSError as error:
        if not error.strerror:  # it is a sentence already
            raise
        where = f"{error.filename}: " if error.filename else ""
        said = f"{where}{error.strerror}; set {variable} to a folder that can be written, with room"
        raise type(error)(said) from error


@functools.cache
def _check_private(path: Path, variable: str) -> None:
    if not os.path.isdir(path):
        return
    remedy = f"; what is in it is run: set {variable} to a folder that is yours alone"
    is_closed = not path.stat().st_mode & (
        _OTHERS_WRITE | _OTHERS_ENTER
    )  # then the modes of what is in it do not count
    inner = [Path(entry.path) for entry in _entries(path) if entry.is_dir(follow_symlinks=False)]
    for folder in [path, *inner]:
        found = folder.stat()
        if found.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{folder} belongs to another user (uid {found.st_uid}){remedy}")
        if found.st_mode & _OTHERS_WRITE and not is_closed:
            raise PermissionError(f"{folder} can be written by other users{remedy}, or chmod -R go-w {path}")
    for folder in filter(os.path.isdir, {*path.parents, *path.resolve().parents}):
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise PermissionError(f"{folder} can be written by everybody, who could replace {path}{remedy}")


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(path))
    except OSError:
        return []

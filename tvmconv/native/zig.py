"""Runs zig, with a cache of its own that is replaced where it is damaged."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tvmconv.support.filesystem.files import check_room, write_whole
from tvmconv.support.filesystem.user_folders import CACHE, naming

_VARIABLE = "ZIG_GLOBAL_CACHE_DIR"
_FIRST = "zig"  # the folder of zig's cache, until it has to be replaced
_CURRENT = "zig-cache"  # the file that names the one in its place


class LinkError(RuntimeError):
    """The linker failed; the message holds its last lines."""


class OutOfTime(LinkError):
    """zig did not end in time."""


def run_zig(command: Sequence[str | Path], seconds: float, afresh: float) -> None:
    """Runs one of zig's tools. Raises LinkError with what it said, OSError where it cannot have a cache.

    A failure may be due to zig's cache, which zig does not check. If the same succeeds with an empty one, within
    `afresh` seconds, that becomes zig's cache.
    """
    own = not os.environ.get(_VARIABLE)
    if own:
        CACHE.made()
    folder = zig_cache()
    try:
        _run(folder, command, seconds)
    except OutOfTime:
        raise
    except LinkError:
        if not own:
            raise
        with naming(CACHE.variable):
            check_room(CACHE.path)
        if not _succeeds_without(folder, command, afresh):
            raise


def run_tool(
    command: Sequence[str | Path], folder: Path, seconds: float, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs one of zig's tools on some input, with `folder` as its cache. Raises OutOfTime."""
    try:
        return subprocess.run(
            [_zig(), *map(str, command)],
            env={**os.environ, _VARIABLE: str(folder)},
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise OutOfTime(f"zig did not end within {seconds:.0f} s") from None


def _run(folder: Path, command: Sequence[str | Path], seconds: float) -> None:
    done = run_tool(command, folder, seconds)
    if done.returncode:
        raise LinkError("zig failed: " + " / ".join(done.stderr.strip().splitlines()[-3:]))


@functools.cache
def _zig() -> str:
    """The program itself: `python -m ziglang` would first start an interpreter, for a tenth of a second."""
    package = importlib.util.find_spec("ziglang")
    if package is None or package.origin is None:
        raise LinkError("ziglang is not installed beside tvmconv; install tvmconv again")
    return str(Path(package.origin).with_name("zig"))


def zig_cache() -> Path:
    """The folder of zig's cache."""
    if named := os.environ.get(_VARIABLE):
        return Path(named)
    try:
        name = (CACHE.path / _CURRENT).read_text()
    except (OSError, UnicodeDecodeError):
        name = _FIRST
    return CACHE.path / (name if name.startswith(f"{_FIRST}-") and "/" not in name else _FIRST)


def _succeeds_without(folder: Path, command: Sequence[str | Path], seconds: float) -> bool:
    """Whether it does with a new cache in the place of `folder`, or with what another process has put there by now."""
    new = zig_cache()
    is_mine = new == folder
    if is_mine:
        new = Path(tempfile.mkdtemp(prefix=f"{_FIRST}-", dir=CACHE.made()))
    try:
        _run(new, command, seconds)
    except BaseException as error:
        if is_mine:
            shutil.rmtree(new, ignore_errors=True)
        if isinstance(error, LinkError):
            return False
        raise
    if is_mine:
        write_whole(CACHE.path / _CURRENT, new.name.encode())
        _discard(folder)
    return True


def _discard(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)

"""Files of the cache: what was damaged is told from what is whole, and replaced, whatever lies there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tvmconv.native import toolchain
from tvmconv.native.zig import LinkError
from tvmconv.support.filesystem import files
from tvmconv.support.filesystem.store import is_whole, publish
from tvmconv.support.filesystem.temporary import temporary_folder

CONTENT = {"k.o": b"object" * 100, "k.so": b"library" * 100}


def publish_again(folder: Path) -> Path:
    with temporary_folder(".making-", folder) as place:
        for name, content in CONTENT.items():
            (place / name).write_bytes(content)
        publish([place / name for name in CONTENT], folder)
    return folder / "k.so"


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def replace(by: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        by(path)

    return damage


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, 50),
    "empty": lambda path: os.truncate(path, 0),
    "one bit": flip,
    "missing": Path.unlink,
    "folder": replace(lambda path: (path / "full").mkdir(parents=True)),
    "dangling link": replace(lambda path: path.symlink_to("nowhere")),
    "link to itself": replace(lambda path: path.symlink_to(path)),
    "device without end": replace(lambda path: path.symlink_to("/dev/zero")),
    "FIFO": replace(os.mkfifo),
}


@pytest.mark.parametrize("name", ["k.o", "k.so", "k.so.sha256"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_replaced(tmp_path: Path, damage: str, name: str) -> None:
    path = publish_again(tmp_path)
    assert is_whole(path)
    DAMAGE[damage](tmp_path / name)
    assert not is_whole(path)
    with ThreadPoolExecutor(2) as pool:  # two at once
        assert {*pool.map(publish_again, [tmp_path] * 2)} == {path}
    assert is_whole(path) and path.read_bytes() == CONTENT["k.so"]
    assert {file.name for file in tmp_path.iterdir()} == {*CONTENT, "k.so.sha256"}


def test_folders_are_files_of_the_cache_too(tmp_path: Path) -> None:
    for _ in range(2):
        with temporary_folder(".making-", tmp_path) as place:
            (place / "bundle").mkdir()
            (place / "bundle" / "server").write_bytes(b"server")
            publish([place / "bundle"], tmp_path)
        assert is_whole(tmp_path / "bundle")
        (tmp_path / "bundle" / "server").write_bytes(b"")
        assert not is_whole(tmp_path / "bundle")


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its name is, when the call returns."""
    done: list[str] = []

    def sync(descriptor: int) -> None:
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")

    def rename(made: Path, path: Path) -> None:
        done.append("rename")
        shutil.move(made, path)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    files.write_together({tmp_path / name: content for name, content in CONTENT.items()})
    assert done == ["file", "file", "rename", "rename", "folder"]
    done.clear()
    publish_again(tmp_path)
    assert done == [*["file"] * 3, *["rename"] * 3, "folder"]


@pytest.mark.parametrize("damage", ["a file", "nothing is left of an entry"])
def test_zigs_own_cache_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ZIG_GLOBAL_CACHE_DIR", raising=False)
    zig = tmp_path / "tvmconv" / "zig"
    zig.parent.mkdir(mode=0o700)
    zig.touch() if damage == "a file" else zig.mkdir()
    if damage != "a file":
        (zig / "o").touch()
    for variant in ("ONE", "TWO"):
        assert toolchain.library("pool.c", variant, f"-D{variant}").exists()
    (own,) = tmp_path.glob("tvmconv/zig-*/")
    assert toolchain.zig_cache() == own and not zig.exists()
    with pytest.raises(LinkError, match=r"nothing\.c"):
        toolchain.zig("-c", "nothing.c")
    assert [*tmp_path.glob("tvmconv/zig-*/")] == [own]

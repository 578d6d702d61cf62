"""Temporary folders, the user's own, and signals: what is left behind, what is trusted, what ends a command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tvmconv import cli
from tvmconv.support.filesystem.temporary import sweep, temporary_folder
from tvmconv.support.filesystem.user_folders import CACHE, DATA
from tvmconv.support.interruption import Terminated, terminable
from tvmconv.support.worker import Worker

_HOLDS_ONE = """
import time
from pathlib import Path
from tvmconv.support.filesystem.temporary import temporary_folder
with temporary_folder(".making-", Path("{folder}")) as path:
    (path / "half").touch()
    print("up", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_has_left_is_swept(tmp_path: Path) -> None:
    """And nothing else: not what others work in, nor what only looks like it."""
    killed, alive = (
        subprocess.Popen([sys.executable, "-c", _HOLDS_ONE.format(folder=tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    )
    others = [tmp_path / ".making-a-cake", tmp_path / ".making-00000000", tmp_path / ".making-file0000"]
    others[0].mkdir(0o700)
    others[1].mkdir(0o755)
    others[2].touch(0o700)
    for process in (killed, alive):
        assert process.stdout and process.stdout.readline() == b"up\n"
    killed.kill()
    killed.wait()
    assert len([*tmp_path.iterdir()]) == 5
    with temporary_folder(".making-", tmp_path) as own:
        left = {*tmp_path.iterdir()} - {*others, own}
        assert len(left) == 1
        sweep([".making-"], tmp_path)
        assert {*tmp_path.iterdir()} == {*others, own, *left}
    alive.kill()
    alive.communicate()
    sweep([".making-"], tmp_path)
    assert {*tmp_path.iterdir()} == {*others}


def test_a_workers_temporary_files_end_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "littering.py").write_text(
        "import tempfile\nfrom tvmconv.support.worker import answer_all\n"
        "def serve(descriptor):\n    answer_all(descriptor, lambda message: tempfile.mkdtemp(), str)\n"
    )
    worker = Worker("littering")
    made = Path(worker.ask(None, 30))
    assert made.is_dir() and tmp_path in made.parents
    worker.kill()
    assert not made.parent.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_unwinds_and_the_second_does_not_disturb(number: signal.Signals) -> None:
    cleaned = False
    with pytest.raises(KeyboardInterrupt) as raised, terminable():
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            cleaned = True
    assert cleaned and isinstance(raised.value, Terminated) and raised.value.exit_code == 128 + number
    assert signal.getsignal(number) is signal.SIG_DFL


def test_nohup_is_obeyed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("/proc/nope", "/proc/nope: No such file or directory"),
        ("{tmp}/file", "{tmp}/file: it is no folder"),
        ("{tmp}/holds-a-file", "{tmp}/holds-a-file/tvmconv: it is no folder"),
        ("{tmp}/" + "x" * 300, "File name too long"),
    ],
)
def test_an_impossible_place_is_named_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], named: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "holds-a-file").mkdir()
    (tmp_path / "holds-a-file" / "tvmconv").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", named.format(tmp=tmp_path))
    assert cli.main(["verify", "ic8ih5oc8kh3ph1", "-a", "direct"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert reason.format(tmp=tmp_path) in line and line.endswith(
        "; set XDG_CACHE_HOME to a folder that can be written, with room"
    )


def test_so_is_one_for_tuning_logs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/proc/nope")
    assert cli.main(["tune", "ic8ih5oc8kh3ph1", "-a", "direct", "--trials", "1"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].endswith(
        "/proc/nope: No such file or directory; set XDG_DATA_HOME to a folder that can be written, with room"
    )


def test_a_variable_that_is_no_absolute_path_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder, default in ((CACHE, ".cache"), (DATA, ".local/share")):
        for named in ("", "relative", "./here", "~/cache"):
            monkeypatch.setenv(folder.variable, named)
            assert folder.path == tmp_path / default / "tvmconv"
    assert CACHE.made("kernels").is_dir()
    assert CACHE.path.stat().st_mode & 0o777 == 0o700


def test_a_cache_is_private_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    before = os.umask(0)
    try:
        made = CACHE.made("kernels", "part")
        (CACHE.path / "zig").mkdir()  # as another program makes a folder
    finally:
        os.umask(before)
    assert {folder.stat().st_mode & 0o777 for folder in (CACHE.path, made.parent, made)} == {0o700}
    (tmp_path / "home").chmod(0o755)
    CACHE.check_private()


@pytest.mark.parametrize(
    ("folder", "mode", "owner", "complaint"),
    [
        ("home", 0o1777, 0, None),  # as /tmp is
        ("home", 0o777, 0, "can be written by everybody"),
        ("home/tvmconv", 0o755, 0, None),
        ("home/tvmconv", 0o777, 0, "can be written by other users"),
        ("home/tvmconv", 0o770, 0, "can be written by other users"),
        ("home/tvmconv", 0o1777, 0, "can be written by other users"),
        ("home/tvmconv", 0o700, 1234, r"belongs to another user \(uid 1234\)"),
        ("home/tvmconv/kernels", 0o777, 0, "can be written by other users"),
        ("home/tvmconv/kernels", 0o700, 1234, r"belongs to another user \(uid 1234\)"),
    ],
)
def test_a_cache_that_others_can_write_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, mode: int, owner: int, complaint: str | None
) -> None:
    """What is in it is loaded and run."""
    if owner and os.geteuid():
        pytest.skip("only root can give a folder away")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    CACHE.made("kernels")
    CACHE.path.chmod(0o755)  # as umask 022 gives
    (tmp_path / folder).chmod(mode)
    if owner:
        os.chown(tmp_path / folder, owner, owner)
    if complaint is None:
        CACHE.check_private()
    else:
        with pytest.raises(PermissionError, match=f"{complaint}.*XDG_CACHE_HOME") as raised:
            CACHE.check_private()
        assert re.match(str(tmp_path / folder), str(raised.value))

"""The server's way onto a device and off again, with an adb and an ssh that only pretend to reach one."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_remote_tools import ADB, RUN, SERVES, SSH
from tvmconv import cli
from tvmconv.rpc.address import Address
from tvmconv.rpc.deploy import commands, deploy, tracker
from tvmconv.rpc.deploy.adb import Adb
from tvmconv.rpc.deploy.commands import DeviceError
from tvmconv.rpc.deploy.local_device import native_command
from tvmconv.target.targets import Target, native

TRACKER = Address("127.0.0.1", 9190)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with both programs first in the PATH, and the folder `phone` that stands for the device."""
    for name, text in (("adb", ADB), ("ssh", SSH)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "phone").mkdir()
    (tmp_path / "log").touch()
    (tmp_path / "devices").write_text("List of devices attached\nA1\tdevice\n\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(Adb, "folder", "tmp/tvmconv-server")
    with tempfile.TemporaryDirectory() as short:  # tmp_path may be too long for a socket
        monkeypatch.setattr("tvmconv.rpc.deploy.ssh.cache", lambda: Path(short))
        yield tmp_path
    if (tmp_path / "tunnel").exists():
        os.kill(int((tmp_path / "tunnel").read_text()), 9)


def bundle(last: str = SERVES) -> deploy.Bundle:
    def make(target: Target) -> Path:
        assert target == native()
        run = Path("bundle", "run.sh").absolute()
        run.parent.mkdir(exist_ok=True)
        run.write_text(RUN.format(last))
        run.chmod(0o755)
        return run.parent

    return make


def alive(folder: Path) -> bool:
    """Whether any process works in a folder of the device."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone by now
            if os.readlink(process / "cwd") == str(folder):
                return True
    return False


@pytest.mark.parametrize(("where", "registry"), [("adb", TRACKER), ("adb:A1", None), ("ssh:me@board", TRACKER)])
def test_there_and_away(where: str, registry: Address | None, here: Path) -> None:
    machine, notes = deploy.find(where), list[str]()
    there = here / "phone" / machine.folder
    found = deploy.deploy(machine, native(), bundle(), "k", registry, notes.append)
    assert alive(there)
    asked = f"--host 127.0.0.1 --port {found.port} --key k"
    more = " --tracker 127.0.0.1:9190 --custom-addr 127.0.0.1" if registry else ""
    assert (there / "arguments").read_text().strip() == asked + more
    assert found.options == (
        "--device k --tracker 127.0.0.1:9190" if registry else f"--device 127.0.0.1:{found.port} --key k"
    )

    log = (here / "log").read_text()
    if where.startswith("adb"):
        assert f"adb -s A1 forward tcp:{found.port} tcp:{found.port}\n" in log
        assert ("adb -s A1 reverse tcp:9190 tcp:9190\n" in log) == bool(registry)
    else:
        assert f"-L127.0.0.1:{found.port}:127.0.0.1:{found.port} -R127.0.0.1:9190:127.0.0.1:9190 me@board" in log

    assert deploy.stop(machine)
    assert not alive(there) and not there.exists()
    log = (here / "log").read_text()
    if where.startswith("adb"):
        assert f"adb -s A1 forward --remove tcp:{found.port}\n" in log
        assert ("adb -s A1 reverse --remove tcp:9190\n" in log) == bool(registry)
    else:
        assert "-Oexit me@board" in log
    assert not deploy.stop(machine)


def test_another_in_its_place(here: Path) -> None:
    machine = deploy.find("adb")
    there = here / "phone" / machine.folder
    deploy.deploy(machine, native(), bundle(), "one", None, print)
    first = (there / "server.pid").read_text()
    deploy.deploy(machine, native(), bundle(), "two", None, print)
    assert first != (there / "server.pid").read_text() and not Path(f"/proc/{first.strip()}/cwd").exists()
    deploy.stop(machine)
    assert not alive(there)


def test_one_that_does_not_want_to_end(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "_STOP_SECONDS", 1)
    machine = deploy.find("adb")
    stubborn = "trap '' TERM; echo listening on; while :; do sleep 0.1; done"
    deploy.deploy(machine, native(), bundle(stubborn), "k", None, print)
    assert deploy.stop(machine)
    assert not alive(here / "phone" / machine.folder)


def test_a_number_that_is_anothers_by_now(here: Path) -> None:
    """After the device has started anew: nothing of it is ended."""
    there = here / "phone" / Adb.folder
    there.mkdir(parents=True)
    (there / "server.pid").write_text(str(os.getpid()))
    assert deploy.stop(deploy.find("adb"))
    assert not there.exists()


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("echo no library >&2; exit 1", "adb:A1: the server did not start: no library"),
        ("exec sleep 100", "adb:A1: the server did not start: it does not listen after 1 s"),
    ],
)
def test_a_server_that_does_not_start(last: str, words: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "_START_SECONDS", 1)
    with pytest.raises(DeviceError, match=words):
        deploy.deploy(deploy.find("adb"), native(), bundle(last), "k", TRACKER, print)
    there = here / "phone" / Adb.folder
    assert not alive(there) and not there.exists()
    assert "forward --remove" in (here / "log").read_text()


@pytest.mark.parametrize(
    ("states", "where", "words"),
    [
        ("", "adb", "adb sees no device: connect one by USB"),
        ("A1\tdevice\nB2\tdevice\n", "adb", "adb sees several devices: name one, as in adb:A1 (A1, B2)"),
        ("A1\tdevice\n", "adb:B2", "adb sees no device B2, only A1"),
        ("A1\tunauthorized\n", "adb", "A1 has not authorised this computer: unlock it"),
        ("A1\toffline\n", "adb", "A1 is offline"),
        ("A1\tno permissions (user in plugdev group; are your udev rules wrong?)\n", "adb", "A1 may not be accessed"),
        ("A1\thost\n", "adb", "A1 is in state host, not ready"),
    ],
)
def test_devices_that_adb_sees(states: str, where: str, words: str, here: Path) -> None:
    (here / "devices").write_text(f"* daemon started successfully\nList of devices attached\n{states}\n")
    with pytest.raises(DeviceError) as error:
        deploy.find(where)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("full", "adb:A1 has no space left: 0 MB are needed in tmp/tvmconv-server"),
        ("no-forward", "adb cannot forward port"),
        ("no-reverse", "adb cannot reverse port 9190: adb: error: cannot bind listener: Address already in use"),
    ],
)
def test_what_adb_cannot_do(file: str, words: str, here: Path) -> None:
    (here / file).touch()
    with pytest.raises(DeviceError) as error:
        deploy.deploy(deploy.find("adb"), native(), bundle(), "k", TRACKER, print)
    assert words in str(error.value)
    assert not (here / "phone" / Adb.folder).exists()


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("me@board: Permission denied (publickey).", "run `ssh-copy-id me@board` first"),
        ("Host key verification failed.", "run `ssh me@board` once by hand"),
        (
            "ssh: connect to host board port 22: No route to host",
            "ssh:me@board: ssh: connect to host board port 22: No",
        ),
    ],
)
def test_an_ssh_that_does_not_get_there(refusal: str, words: str, here: Path) -> None:
    (here / "refusal").write_text(f"{refusal}\n")
    with pytest.raises(DeviceError) as error:
        deploy.deploy(deploy.find("ssh:me@board"), native(), bundle(), "k", None, print)
    assert words in str(error.value)


@pytest.mark.parametrize(("where", "program"), [("adb", "adb"), ("ssh:me@board", "ssh")])
def test_a_program_that_is_not_there(
    where: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["rpc", "deploy", where]) == 1
    assert capsys.readouterr().err.startswith(f"tvmconv: {program} is not installed")


def test_a_program_that_hangs(here: Path) -> None:
    """It is ended with what it has started, even if that keeps its output open."""
    (here / "adb").write_text("#!/bin/sh\nsleep 100 & echo $! >child; wait\n")
    began = time.monotonic()
    with pytest.raises(commands.Late, match="adb did not end within 0 s"):
        commands.call(["adb", "devices"], 0.4)
    assert time.monotonic() - began < 10
    child = Path("/proc", (here / "child").read_text().strip(), "cwd")
    while time.monotonic() - began < 10 and os.path.lexists(child):  # Linux takes a moment
        time.sleep(0.02)
    assert not os.path.lexists(child)


@pytest.mark.parametrize("where", ["usb", "adb:", "ssh:", "ssh", "ssh:-oProxyCommand=x"])
def test_no_such_place(where: str) -> None:
    with pytest.raises(ValueError, match=r"adb:SERIAL or ssh:USER@HOST|needs a machine behind it"):
        deploy.find(where)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Pixel 6", "pixel6"),
        ("Pixel 9 Pro XL", "pixel9"),
        ("Pixel 2 XL", "pixel2xl"),
        ("Pixel 3a", None),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi5"),
        ("sdk_gphone64_arm64", None),
    ],
)
def test_the_row_of_a_model(model: str, name: str | None, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "phone" / "getprop").write_text(f"#!/bin/sh\necho '{model}'\n")
    (here / "phone" / "getprop").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{here / 'phone'}:{os.environ['PATH']}")
    assert deploy.row_of(deploy.find("adb").model()) == name


def test_another_architecture(here: Path) -> None:
    (here / "uname").write_text("#!/bin/sh\necho armv7l\n")
    (here / "uname").chmod(0o755)
    with pytest.raises(DeviceError, match=f"adb:A1 is armv7l, and {native().name} is {native().arch}"):
        deploy.deploy(deploy.find("adb"), native(), bundle(), "k", None, print)


@pytest.mark.parametrize("tracked", [True, False])
def test_the_real_server(
    tracked: bool, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Deployed, examined, and removed."""
    serves = f'exec {" ".join(native_command())} --work "$PWD" "$@"'
    monkeypatch.setattr("tvmconv.rpc.deploy.bundle.cached", lambda target, say: bundle(serves)(target))
    with tracker.start() if tracked else contextlib.nullcontext() as running:
        more = ["--tracker", running.address] if running else []
        assert cli.main(["rpc", "deploy", "adb", "-t", "native", "--key", "phone", *more]) == 0
        out = capsys.readouterr().out
        assert out.count("ok      ") == (8 if tracked else 5)
        assert "`tvmconv rpc deploy adb:A1 --stop` ends it" in out
        assert ("--device phone --tracker" in out) == tracked
        assert cli.main(["rpc", "deploy", "adb", "--stop"]) == 0
    assert not (here / "phone" / Adb.folder).exists()


def test_a_tracker_that_adb_does_not_reach(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rpc", "deploy", "adb", "--tracker", "192.168.1.7:9190"]) == 2
    assert "adb leads to this machine alone: start a tracker on 127.0.0.1 here" in capsys.readouterr().err


def test_ports_are_free() -> None:
    with socket.create_server(("127.0.0.1", deploy._free_port())):
        pass

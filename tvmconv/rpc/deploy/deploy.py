"""Deploys the server: pushes its bundle, starts it, forwards its port; and undoes all of it.

On the device everything lies in one folder, beside the bundle: `server.pid`, `server.log`, and in `ports` the two
ports that were forwarded, so that `stop` needs no memory of its own.
"""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tvmconv.rpc.address import Address
from tvmconv.rpc.deploy.adb import Adb
from tvmconv.rpc.deploy.commands import DeviceError, Done
from tvmconv.rpc.deploy.ssh import Ssh
from tvmconv.target.devices import DEVICES
from tvmconv.target.targets import Target

_START_SECONDS = 20
_STOP_SECONDS = 10
_NOTHING_THERE = 3  # an exit code that no shell gives by itself

Note = Callable[[str], None]
Bundle = Callable[[Target], Path]


class Machine(Protocol):
    """A device that programs can be sent to; Adb and Ssh say more."""

    name: str
    folder: str

    def model(self) -> str: ...
    def shell(self, script: str, seconds: float = ..., /) -> Done: ...
    def push(self, folder: Path) -> Done: ...
    def forward(self, port: int, tracker: Address | None) -> None: ...
    def unforward(self, port: int | None, tracker: int | None) -> None: ...


@dataclass(frozen=True)
class Deployed:
    """A server that runs: its port on this machine, its key, and the tracker that it is registered with."""

    port: int
    key: str
    tracker: Address | None

    @property
    def device(self) -> str:
        """The value of --device in other commands, beside --key and --tracker."""
        return self.key if self.tracker else f"127.0.0.1:{self.port}"

    @property
    def options(self) -> str:
        """The options of other commands that reach it."""
        return f"--device {self.device} " + (f"--tracker {self.tracker}" if self.tracker else f"--key {self.key}")


def find(where: str) -> Machine:
    """The device of `adb`, `adb:SERIAL` or `ssh:USER@HOST`. Raises ValueError for other words, DeviceError if it is
    not there."""
    kind, colon, rest = where.partition(":")
    if kind == "adb" and bool(colon) == bool(rest):
        return Adb.find(rest or None)
    if kind == "ssh" and colon:
        return Ssh(rest)
    raise ValueError(f"{where!r} is no place to deploy to: use adb, adb:SERIAL or ssh:USER@HOST")


def row_of(model: str) -> str | None:
    """The name of a device's line in the table by what its maker calls it, None if it has none.

    Big models of a Pixel have the chip of the small one, those with an `a` may not.
    """
    model = key_of(model)
    board = re.match(r"raspberrypi\d", model)
    names = (model, re.sub(r"(pro)?(xl|fold)?$", "", model), board[0] if board else "")
    known = {device.name for device in DEVICES}
    return next((name for name in names if name in known), None)


def key_of(model: str) -> str:
    """The key of a device without a line in the table."""
    return re.sub(r"[^a-z0-9]", "", model.lower()) or "device"


def deploy(
    machine: Machine,
    target: Target,
    bundle: Bundle,
    key: str,
    tracker: Address | None,
    note: Note,
) -> Deployed:
    """Sends the server's bundle, the folder that `bundle` gives, to a machine and starts it; what ran there is stopped.

    `note` is called with each step. Raises DeviceError, with one sentence, for anything that the machine lacks or
    refuses; what was begun is undone then.
    """
    machine_arch = machine.shell("uname -m").out.strip()
    if machine_arch != target.arch:
        raise DeviceError(f"{machine.name} is {machine_arch or 'of unknown kind'}, and {target.name} is {target.arch}")
    folder = bundle(target)
    stop(machine)
    try:
        _send(machine, folder, note)
        return _start(machine, key, tracker, note)
    except BaseException:
        stop(machine)
        raise


def stop(machine: Machine) -> bool:
    """Ends the server, the forwarding of its ports, and removes its folder; whether there was any of that.

    Raises DeviceError if it is still there after all.
    """
    folder = shlex.quote(machine.folder)
    ports: list[int] = []
    try:
        ports = [int(port) for port in machine.shell(f"cat {folder}/ports").out.split()]
        done = machine.shell(_STOP.format(folder=folder, seconds=_STOP_SECONDS), _STOP_SECONDS + 20)
    finally:
        machine.unforward(*(*ports, None, None)[:2])
    if done.code not in (0, _NOTHING_THERE):
        raise DeviceError(f"{machine.name}: the server cannot be ended: {done.last_line}")
    return done.code == 0


def _send(machine: Machine, bundle: Path, note: Note) -> None:
    size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    note(f"{machine.name}: sending {size / 1e6:.0f} MB")
    folder = shlex.quote(machine.folder)
    for done in (machine.shell(f"mkdir -p {folder}"), machine.push(bundle)):
        if "No space left" in done.complaint + done.out:
            raise DeviceError(f"{machine.name} has no space left: {size / 1e6:.0f} MB are needed in {machine.folder}")
        if done.code:
            raise DeviceError(f"{machine.name}: cannot write into {machine.folder}: {done.last_line}")


def _start(machine: Machine, key: str, tracker: Address | None, note: Note) -> Deployed:
    port, trackers_port = _free_port(), tracker.port if tracker else None
    command = ["sh", "./run.sh", "--host", "127.0.0.1", "--port", str(port), "--key", key]
    if tracker:
        command += ["--tracker", f"127.0.0.1:{tracker.port}", "--custom-addr", "127.0.0.1"]
    script = _START.format(
        folder=shlex.quote(machine.folder),
        ports=f"{port} {trackers_port or ''}",
        command=shlex.join(command),
        seconds=_START_SECONDS,
    )
    try:
        machine.forward(port, tracker)
        done = machine.shell(script, _START_SECONDS + 20)
        if done.code:
            raise DeviceError(f"{machine.name}: the server did not start: {done.last_line}")
    except BaseException:
        machine.unforward(port, trackers_port)
        raise
    note(f"{machine.name}: the server runs, its port is {port} here too")
    return Deployed(port, key, tracker)


def _free_port() -> int:
    """A port that is free here: the server has the same number there, as it tells that to the tracker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# setsid: its life does not depend on this connection's, and all of it is one group of processes. `sh`: older Androids
# have no /bin, where the script's first line looks for it.
_START = """
cd {folder} || exit 1
chmod 755 ./*
echo {ports} >ports
setsid {command} >server.log 2>&1 </dev/null &
echo $! >server.pid
tries=0
while [ $tries -lt {seconds}0 ]; do
  grep -q 'listening on' server.log && exit 0
  kill -0 "$(cat server.pid)" 2>/dev/null || break
  sleep 0.1
  tries=$((tries + 1))
done
tail -n 1 server.log >&2
kill -0 "$(cat server.pid)" 2>/dev/null && echo "it does not listen after {seconds} s" >&2
exit 1
"""

# A number in server.pid may be that of another process since the device has started anew: ours lives in this folder.
_STOP = """
cd {folder} 2>/dev/null || exit 3
pid=$(cat server.pid 2>/dev/null)
ours() {{ [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$(pwd -P)" ]; }}
ours && kill -s TERM -- "-$pid"
tries=0
while ours && [ $tries -lt {seconds}0 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
ours && kill -s KILL -- "-$pid"
cd - >/dev/null && rm -rf {folder}
"""

"""A board or server through ssh."""

from __future__ import annotations

import hashlib
import shlex
import tarfile
from pathlib import Path

from tvmconv.native.toolchain import cache
from tvmconv.rpc.address import Address
from tvmconv.rpc.deploy.commands import DeviceError, Done, call
from tvmconv.support.filesystem.temporary import temporary_folder
from tvmconv.support.filesystem.user_folders import CACHE

_CONNECT_SECONDS = 15
_SECONDS = 45
_PUSH_SECONDS = 600
_UNREACHED = 255  # ssh's own failures; else the code is the remote command's
_LONGEST_PATH = 85  # a socket's path has 107 characters at most, and ssh appends 17 of its own at first


class Ssh:
    """One machine, reached without questions: by a key or an agent. `folder` is in the user's home."""

    folder = ".tvmconv-server"

    def __init__(self, address: str) -> None:
        if not address or address.startswith("-"):
            raise ValueError("ssh: needs a machine behind it, as in ssh:pi@raspberrypi.local")
        self.address = address
        self.name = f"ssh:{address}"

    def model(self) -> str:
        """The maker's name of the model, where the firmware has it: Raspberry Pi 5 Model B Rev 1.0."""
        return self.shell("tr -d '\\000' </proc/device-tree/model 2>/dev/null || hostname").out.strip()

    def shell(self, script: str, seconds: float = _SECONDS, stdin: Path | None = None) -> Done:
        """Runs a script of the machine's own shell. Raises DeviceError if that could not even be tried."""
        return self._ssh(self.address, f"sh -c {shlex.quote(script)}", seconds=seconds, stdin=stdin)

    def push(self, folder: Path) -> Done:
        """Copies what a folder holds into the machine's."""
        with temporary_folder("tvmconv-push-") as temporary:
            packed = temporary / "bundle.tar"
            with tarfile.open(packed, "w") as archive:
                archive.add(folder, ".")
            return self.shell(f"tar -x -f - -C {self.folder}", _PUSH_SECONDS, packed)

    def forward(self, port: int, tracker: Address | None) -> None:
        """Lets this machine's port lead to the other's of the same number, and that one's to the tracker.

        One ssh in the background does it, until unforward. Raises DeviceError.
        """
        back = [f"-R127.0.0.1:{tracker.port}:{tracker}"] if tracker else []
        socket = self._socket()
        CACHE.made()
        options = ["-f", "-N", "-M", "-S", str(socket), "-oControlPersist=no", "-oExitOnForwardFailure=yes"]
        alive = ["-oServerAliveInterval=15", "-oServerAliveCountMax=4"]
        ports = [f"-L127.0.0.1:{port}:127.0.0.1:{port}", *back]
        done = self._ssh(*options, *alive, *ports, self.address)
        if done.code:
            raise DeviceError(f"{self.name}: cannot forward ports: {done.last_line}")

    def unforward(self, port: int | None, tracker: int | None) -> None:
        """Ends the ssh that forwards, if it is still there."""
        if (socket := self._socket()).exists():
            self._ssh("-S", str(socket), "-Oexit", self.address)
            socket.unlink(missing_ok=True)

    def _socket(self) -> Path:
        path = cache() / f"ssh-{hashlib.sha256(self.address.encode()).hexdigest()[:12]}"
        if len(str(path)) > _LONGEST_PATH:
            raise ValueError(f"{path} is too long for a socket: set XDG_CACHE_HOME to a folder with a shorter name")
        return path

    def _ssh(self, *arguments: str, seconds: float = _SECONDS, stdin: Path | None = None) -> Done:
        options = ["-oBatchMode=yes", f"-oConnectTimeout={_CONNECT_SECONDS}"]
        try:
            done = call(["ssh", *options, *arguments], seconds, stdin)
        except FileNotFoundError:
            raise DeviceError("ssh is not installed (Debian: apt install openssh-client)") from None
        if done.code == _UNREACHED and "-Oexit" not in arguments:
            raise DeviceError(f"{self.name}: {_reason(done, self.address)}")
        return done


def _reason(done: Done, address: str) -> str:
    if "Permission denied" in done.complaint:
        return f"it asks for a password, which nobody is there to type: run `ssh-copy-id {address}` first"
    if "Host key verification failed" in done.complaint:
        return f"its host key is not known, or has changed: run `ssh {address}` once by hand"
    return done.last_line

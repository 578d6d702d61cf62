"""A phone through adb."""

from __future__ import annotations

from pathlib import Path

from tvmconv.rpc.address import Address
from tvmconv.rpc.deploy.commands import DeviceError, Done, call

_SECONDS = 30
_PUSH_SECONDS = 300  # of some 30 MB, over a slow hub or Wi-Fi
_STATES = {
    "unauthorized": "has not authorised this computer: unlock it and accept the question on its screen",
    "offline": "is offline: unplug and plug it in again, or run `adb reconnect`",
    "recovery": "is in recovery mode: start Android",
    "sideload": "is in recovery mode: start Android",
    "bootloader": "is in its boot loader: start Android",
    "no": "may not be accessed: your user needs permission to use it (udev rules; group plugdev)",
}


class Adb:
    """One phone. `folder` is the one place where its shell user may run programs."""

    folder = "/data/local/tmp/tvmconv-server"

    def __init__(self, serial: str) -> None:
        self.serial = serial
        self.name = f"adb:{serial}"

    @classmethod
    def find(cls, serial: str | None) -> Adb:
        """The phone of that serial number, or the only one. Raises DeviceError if it is not there and ready."""
        done = _adb("devices")
        lines = (line.partition("\t") for line in done.out.splitlines())
        states = {known: state.split()[0] for known, _, state in lines if state}
        if done.code:
            raise DeviceError(f"adb fails: {done.last_line}")
        if not states:
            raise DeviceError(
                "adb sees no device: connect one by USB, and allow USB debugging in its developer options"
            )
        if serial is None and len(states) > 1:
            raise DeviceError(
                f"adb sees several devices: name one, as in adb:{next(iter(states))} ({', '.join(states)})"
            )
        serial = serial or next(iter(states))
        if serial not in states:
            raise DeviceError(f"adb sees no device {serial}, only {', '.join(states)}")
        if (state := states[serial]) != "device":
            raise DeviceError(f"{serial} {_STATES.get(state, f'is in state {state}, not ready')}")
        return cls(serial)

    def model(self) -> str:
        """The maker's name of the model: Pixel 6."""
        return self.shell("getprop ro.product.model").out.strip()

    def shell(self, script: str, seconds: float = _SECONDS) -> Done:
        """Runs a script of the phone's shell. Raises DeviceError if that could not even be tried."""
        done = _adb("-s", self.serial, "shell", script, seconds=seconds)
        if done.code and done.complaint.startswith(("adb:", "error:")):
            raise DeviceError(f"{self.name}: {done.last_line.removeprefix('adb: ').removeprefix('error: ')}")
        return done

    def push(self, folder: Path) -> Done:
        """Copies what a folder holds into the phone's."""
        return _adb("-s", self.serial, "push", f"{folder}/.", self.folder, seconds=_PUSH_SECONDS)

    def forward(self, port: int, tracker: Address | None) -> None:
        """Lets this machine's port lead to the phone's of the same number, and the phone's to this machine's tracker.

        Raises DeviceError.
        """
        self._set("forward", port)
        if tracker:
            self._set("reverse", tracker.port)

    def unforward(self, port: int | None, tracker: int | None) -> None:
        """Undoes forward, as far as it is still there, and known."""
        if port:
            _adb("-s", self.serial, "forward", "--remove", f"tcp:{port}")
        if tracker:
            _adb("-s", self.serial, "reverse", "--remove", f"tcp:{tracker}")

    def _set(self, direction: str, port: int) -> None:
        done = _adb("-s", self.serial, direction, f"tcp:{port}", f"tcp:{port}")
        if done.code:
            raise DeviceError(f"adb cannot {direction} port {port}: {done.last_line}")


def _adb(*arguments: str, seconds: float = _SECONDS) -> Done:
    try:
        return call(["adb", *arguments], seconds)
    except FileNotFoundError:
        raise DeviceError("adb is not installed: it is in Android's platform tools (Debian: apt install adb)") from None

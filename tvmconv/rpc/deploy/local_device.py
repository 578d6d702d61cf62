"""Devices on this machine, native or under qemu-user, each with its tracker, as context managers."""

from __future__ import annotations

import contextlib
import platform
import tempfile
from collections.abc import Sequence

from tvmconv.rpc.deploy import bundle, runtime_files, tracker
from tvmconv.rpc.deploy.server_build import local_libraries, server
from tvmconv.rpc.process import Listening
from tvmconv.target import targets

_PATIENCE = 60  # the server starts in 0.1 s, under qemu in a second


class NativeDevice:
    """This machine as a device, behind a tracker of its own. `tracker` is its HOST:PORT, `key` the device's name.

    `options` are more of the server's (tvmconv-server --help). Ends both, and all they have started, with the `with`
    or with this process. Entering raises zig.LinkError where the server cannot be compiled, RuntimeError where
    one of the two does not start.
    """

    key = "native"

    def __init__(self, options: Sequence[str] = (), say: runtime_files.Say = lambda sentence: None) -> None:
        self._options = options
        self._say = say

    def __enter__(self) -> NativeDevice:
        command = self._command()
        with contextlib.ExitStack() as stack:
            self._tracker = stack.enter_context(tracker.start())
            registered = ("--tracker", self.tracker, "--key", self.key)
            options = ("--port", "0", *registered, "--work", tempfile.gettempdir(), "--stop-at-eof", *self._options)
            self._server = stack.enter_context(Listening([*command, *options], _PATIENCE, environment={}))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def tracker(self) -> str:
        return self._tracker.address

    @property
    def address(self) -> str:
        """The server's address, HOST:PORT; it takes only the tracker's clients."""
        return self._server.address

    @property
    def log(self) -> str:
        """The server's output."""
        return self._server.log

    def _command(self) -> list[str]:
        return native_command()


class EmulatedDevice(NativeDevice):
    """The bundle of an aarch64 under qemu-user, in an empty environment. Its results are exact, its times mean nothing.

    Entering raises apt.AptError too, where there is no qemu, or no part of the bundle.
    """

    key = "emulated-aarch64"

    def _command(self) -> list[str]:
        return emulated_command(self._say)


def native_command() -> list[str]:
    """The server's command on this machine, without its address options."""
    folders = ":".join(str(path.parent) for path in local_libraries())
    return [str(server(platform.machine())), "--lib", folders]


def emulated_command(say: runtime_files.Say) -> list[str]:
    """The same for the bundle of an aarch64. Raises as EmulatedDevice does."""
    program = runtime_files.qemu(say)
    folder = bundle.cached(targets.parse("aarch64"), say=say)
    return [program, *bundle.command(str(folder), "aarch64", runtime_files.PINNED)]

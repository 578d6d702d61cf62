"""A device on this machine: a tracker of its own, and a server registered there, for as long as a `with` lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from tvmconv.rpc import tracker
from tvmconv.rpc.process import Listening
from tvmconv.rpc.server_build import local_libraries, server

_PATIENCE = 60  # the server starts in 0.1 s, under qemu in a second


class NativeDevice:
    """This machine as a device, behind a tracker of its own. `tracker` is its HOST:PORT, `key` the device's name.

    `options` are more of the server's (tvmconv-server --help). Ends both, and all they have started, with the `with`
    or with this process. Entering raises toolchain.LinkError where the server cannot be compiled, RuntimeError where
    one of the two does not start.
    """

    key = "native"

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = options

    def __enter__(self) -> NativeDevice:
        with contextlib.ExitStack() as stack:
            self._tracker = stack.enter_context(tracker.start())
            options = ("--port", "0", "--tracker", self.tracker, "--key", self.key, "--stop-at-eof", *self._options)
            self._server = stack.enter_context(Listening([*self._command(), *options], _PATIENCE, self._environment()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def tracker(self) -> str:
        return self._tracker.address

    @property
    def address(self) -> str:
        """Where the server listens, HOST:PORT; it takes nobody but the tracker's clients."""
        return self._server.address

    def _command(self) -> list[str]:
        return native_command()

    def _environment(self) -> dict[str, str] | None:
        return None


def native_command() -> list[str]:
    """How the server is started natively, but for the options that say where it listens."""
    import platform

    folders = ":".join(str(path.parent) for path in local_libraries())
    return [str(server(platform.machine())), "--lib", folders]

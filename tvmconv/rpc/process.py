"""A listening process: started, found by the address it prints, and ended with all its children."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence

from tvmconv.support.text import last_line

_ANNOUNCEMENT = "listening on "
_SECONDS_TO_END = 5


class Listening:
    """A command that prints `listening on HOST:PORT` first, and ends when its stdin does, or by SIGTERM.

    It has a session of its own: Ctrl-C reaches this process alone. `address` is HOST:PORT, `log` what it said since.
    """

    def __init__(self, command: Sequence[str], patience: float, environment: Mapping[str, str] | None = None) -> None:
        """Raises RuntimeError, with the last of what it said, if it does not listen within `patience` seconds."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            env=environment,
        )
        try:
            self.address = self._announced(time.monotonic() + patience, patience)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """Its output on stderr."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")

    def stop(self) -> int:
        """End it, gently and then not, and wait until it is gone; its exit code, as subprocess has it."""
        if self._log.closed:
            return self._process.wait()
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_END)
        with contextlib.suppress(ProcessLookupError):  # all gone already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.stdout.close()
        self._log.close()
        return self._process.wait()

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _announced(self, deadline: float, patience: float) -> str:
        assert self._process.stdout
        descriptor, line = self._process.stdout.fileno(), b""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise RuntimeError(f"{self._name} did not listen within {patience:.0f} s{self._last_words()}")
                letter = os.read(descriptor, 1)
                if not letter:
                    raise RuntimeError(f"{self._name} ended before it listened{self._last_words()}")
                line += letter
        text = line.decode(errors="replace").strip()
        if not text.startswith(_ANNOUNCEMENT):
            raise RuntimeError(f"{self._name} began with {text!r} instead of the address where it listens")
        return text.removeprefix(_ANNOUNCEMENT)

    @property
    def _name(self) -> str:
        command = self._process.args
        return os.path.basename(str(command[0] if isinstance(command, (list, tuple)) else command))

    def _last_words(self) -> str:
        said = last_line(self.log)
        return f": {said}" if said else ""

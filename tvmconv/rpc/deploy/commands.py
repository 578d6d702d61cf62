"""Runs other programs (adb, ssh) with a deadline."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tvmconv.support.text import last_line


class DeviceError(OSError):
    """A device, or the way to it, is not as it must be; the text is one sentence that says what to do."""


class Late(DeviceError):
    """A program has not ended in time, and was killed."""


@dataclass(frozen=True)
class Done:
    """Exit code and output of a program."""

    code: int
    out: str
    complaint: str

    @property
    def last_line(self) -> str:
        """The last line that it has printed, of its complaints if there are any."""
        return last_line(self.complaint) or last_line(self.out) or f"exit code {self.code}"


def call(command: Sequence[str], seconds: float, stdin: Path | None = None) -> Done:
    """Runs a program to its end, with the file `stdin` or nothing to read. Raises Late, and FileNotFoundError.

    What it prints goes to files: adb and ssh leave children behind that would keep a pipe open for ever.
    """
    with contextlib.ExitStack() as files:
        given: IO[bytes] | int = files.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
        out, complaint = (files.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        process = subprocess.Popen(command, stdin=given, stdout=out, stderr=complaint, start_new_session=True)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Late(f"{command[0]} did not end within {seconds:.0f} s: is the device still connected?") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return Done(code, _text(out), _text(complaint))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")

"""A worker process at the end of a pipe: a crash or hang costs one answer."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import Any

from tvmconv.support.filesystem.temporary import temporary_folder
from tvmconv.support.text import last_line

_PR_SET_PDEATHSIG = 1  # Linux, <sys/prctl.h>
_PROGRAM = """from tvmconv.support.worker import die_with_parent
die_with_parent()
from {module} import serve
serve({descriptor})"""
_SLOWEST = 50e6  # operations that even a kernel without vectors does in a second
_LONGEST = 1e6  # seconds of patience: poll takes its milliseconds as an int of 32 bits


class WorkerLost(Exception):
    """The process is gone; the text is a sentence's end that says why: "crashed (SIGSEGV)"."""


class Worker:
    """A process that runs `serve` of a module: it answers each message with one, and sleeps in between.

    `module` must have a function serve(descriptor) that ends in answer_all. The process has a session of its own:
    Ctrl-C reaches the parent alone, which decides what it means, and what the process has started ends with it. So do
    its temporary files.
    """

    def __init__(self, module: str) -> None:
        self._connection, theirs = Pipe()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
        self._ended = contextlib.ExitStack()
        folder = self._ended.enter_context(temporary_folder("tvmconv-worker-"))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(module=module, descriptor=theirs.fileno())],
            env={**os.environ, "TMPDIR": str(folder)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
            start_new_session=True,
        )
        theirs.close()

    @property
    def connection(self) -> Connection:
        """For multiprocessing.connection.wait: ready when there is an answer, or the process is gone."""
        return self._connection

    def ask(self, message: object, patience: float) -> Any:
        """The answer to a message. Raises WorkerLost if the process dies or takes longer than `patience` seconds."""
        self.send(message, patience)
        return self.receive()

    def send(self, message: object, patience: float) -> None:
        """The first half of ask; `deadline` is when patience ends, on the clock time.monotonic()."""
        self._patience = min(_LONGEST, patience)
        self.deadline = time.monotonic() + self._patience
        with contextlib.suppress(ConnectionError):  # of a process that is gone already: receive will tell
            self._connection.send(message)

    def receive(self) -> Any:
        """The second half of ask."""
        try:
            if not self._connection.poll(max(0.0, self.deadline - time.monotonic())):
                self.kill()
                raise WorkerLost(f"did not answer within {self._patience:.0f} s")
            return self._connection.recv()
        except (EOFError, ConnectionError):
            raise WorkerLost(self._cause_of_death()) from None

    def kill(self) -> None:
        """End the process and those that it has started, whatever they do, and wait until it is gone."""
        if self._connection.closed:
            return
        with contextlib.suppress(ProcessLookupError):  # all gone already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._ended.close()
        self._connection.close()
        self._complaints.close()

    def _cause_of_death(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"crashed ({signal.Signals(-code).name})"
        self._complaints.seek(0)
        said = last_line(self._complaints.read().decode(errors="replace"))
        return f"ended with exit code {code}{f': {said}' if said else ''}"


def patience(least: float, flops: float) -> float:
    """The seconds that a worker may take for something that computes so many operations, and little else."""
    return least + flops / _SLOWEST


def answer_all(descriptor: int, answer: Callable[[Any], object], failure: Callable[[Exception], object]) -> None:
    """A worker's whole life: answer each message until the pipe closes. An exception is answered by failure(it)."""
    connection = Connection(descriptor)
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        try:
            reply = answer(message)
        except Exception as error:
            reply = failure(error)
        connection.send(reply)


def die_with_parent() -> None:
    """Have Linux kill this process when its parent dies, even while it hangs."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # it died just before

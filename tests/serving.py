"""A device server for a test, TVM's own client in a process that may hang, and modules that misbehave."""

from __future__ import annotations

import glob
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tvmconv import toolchain
from tvmconv.rpc import address
from tvmconv.rpc.address import Where
from tvmconv.rpc.emulate import NativeDevice, native_command
from tvmconv.rpc.process import Listening
from tvmconv.rpc.server_build import tvm_headers
from tvmconv.worker import Worker, WorkerLost

KEY = "test"
PATIENCE = 20
_FAULTY = Path(__file__).with_name("faulty_module.c")


class Client:
    """A process of TVM's own client, with the answers of stock_client.py's functions."""

    def __init__(self) -> None:
        self._worker = Worker("tests.stock_client")

    def ask(self, name: str, *arguments: object) -> Any:
        self.send(name, *arguments)
        return self.receive()

    def send(self, name: str, *arguments: object) -> None:
        self._worker.send((name, *arguments), PATIENCE)

    def receive(self) -> Any:
        try:
            return self._worker.receive()
        except WorkerLost:
            self._worker = Worker("tests.stock_client")  # one test fails, not all that come after it
            raise

    def kill(self) -> None:
        self._worker.kill()


def faulty_module(architecture: str, folder: Path) -> Path:
    """faulty_module.c as a shared object for that machine."""
    code, path = folder / "faulty.o", folder / "faulty.so"
    triple = f"{architecture}-linux-gnu"
    options = ("-target", triple, "-fPIC", "-fno-sanitize=all", "-Wall", "-Werror")
    toolchain.zig(*options, f"-I{tvm_headers()}", f"-I{toolchain.NATIVE}", "-c", "-o", code, _FAULTY)
    # Without libraries, or zig would build a part of the C library for it.
    toolchain.zig("-target", triple, *toolchain.page_size(triple), "-shared", "-nostdlib", "-o", path, code)
    return path


def at(device: NativeDevice, key: str = "native") -> Where:
    return Where(key, key, tracker=address.parse_address(device.tracker))


@contextmanager
def serving(*options: str) -> Iterator[Listening]:
    """A server without a tracker, whose sessions' folders are then all gone, and its processes too."""
    with tempfile.TemporaryDirectory() as work:
        command = [*native_command(), "--port", "0", "--key", KEY, "--work", work, "--stop-at-eof", *options]
        with Listening(command, PATIENCE, environment={}) as running:
            yield running
        assert os.listdir(work) == []
        assert not processes(running.pid)


def processes(group: int) -> list[str]:
    """What lives in a process group, or has it as its session."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        with suppress(OSError):
            fields = Path(path).read_text().rpartition(")")[2].split()
            if str(group) in fields[2:4] and fields[0] != "Z":
                found.append(path)
    return found


def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Waits for it, and fails where that takes longer."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.02)

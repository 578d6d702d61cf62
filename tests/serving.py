"""A device server for a test, TVM's own client in a process that may hang, and modules that misbehave."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.processes import in_group
from tests.waiting import PATIENCE, until
from tvmconv.native import toolchain
from tvmconv.rpc import address
from tvmconv.rpc.address import Where
from tvmconv.rpc.deploy.local_device import NativeDevice, native_command
from tvmconv.rpc.deploy.server_build import tvm_headers
from tvmconv.rpc.process import Listening
from tvmconv.support.worker import Worker, WorkerLost

KEY = "test"
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
        assert not in_group(running.pid)


@contextmanager
def stock(name: str, port: int, *options: str) -> Iterator[None]:
    """TVM's own tracker or server, which leaves a worker behind unless its whole group is ended."""
    place = ("--host", "127.0.0.1", "--port", str(port), "--port-end", str(port + 1))
    running = subprocess.Popen(
        [sys.executable, "-m", f"tvm.exec.rpc_{name}", *place, *options],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: answers(port), 60)
        yield
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])

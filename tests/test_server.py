"""The device server: TVM's protocol as TVM's own client speaks it, and faults that it outlives.

It is compiled for this machine; tests/test_bundle.py has the one for devices.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import tvmconv
from tests.processes import is_running
from tests.serving import KEY, Client, faulty_module, serving
from tests.waiting import PATIENCE, until
from tvmconv.rpc.deploy.local_device import native_command
from tvmconv.rpc.process import Listening

WORKLOAD = "mb2ic8ih6oc20kh3ph1"
MAGIC = 0xFF271


@pytest.fixture(scope="module")
def kernel() -> Path:
    return tvmconv.build(WORKLOAD, algorithm="indirect").path


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faulty_module(platform.machine(), tmp_path_factory.mktemp("faulty"))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server that all tests share that do it no harm, or should do none."""
    with serving() as running:
        yield running.address


def test_it_says_what_the_device_is(client: Client, address: str) -> None:
    found = client.ask("describe", address, KEY)
    described, sensors = found["describe"], found["sensors"]
    assert described["server"] == f"tvmconv {tvmconv.__version__}"
    assert described["machine"] == platform.machine()
    assert described["page_bytes"] == os.sysconf("SC_PAGE_SIZE")
    assert described["libc"] == " ".join(platform.libc_ver())
    assert {"sse2", "asimd"} & {*described["features"]}
    assert described["cpus"] == ",".join(cluster["cpus"] for cluster in described["clusters"])
    assert sensors.keys() == {"mhz", "celsius"}


def test_files(client: Client, address: str) -> None:
    assert client.ask("files", address, KEY) == {
        "listed": ["one", "two"],
        "content": bytes(range(256)) * 1000,
        "left": "two",
    }


def test_a_kernel_is_exact(client: Client, address: str, kernel: Path) -> None:
    assert client.ask("convolve", address, KEY, kernel) is True


@pytest.mark.parametrize(
    ("function", "argument", "sentence"),
    [
        ("tvmconv.pin", "0-", "0- is not a list of CPUs such as 0,2-3"),
        ("tvmconv.pin", "1023", "CPUs 1023: this session may use "),
        ("tvmconv.pin", 0, "a string or bytes are expected"),
        ("tvmconv.pool", 0, "0 threads: this session has "),
        ("tvmconv.pool", 1 << 40, "use 1 to"),
        ("tvmconv.pool", "two", "pool takes a number of threads"),
        ("tvm.rpc.server.listdir", "nowhere", "No such file or directory"),
        ("tvm.rpc.server.workpath", "../x", "outside the session's folder"),
        ("tvm.rpc.server.workpath", "a/../../x", "outside the session's folder"),
        ("tvm.rpc.server.workpath", "/etc", "outside the session's folder"),
        ("tvm.rpc.server.workpath", "x" * 300, "a file's name has 300 bytes"),
    ],
)
def test_a_wrong_call_is_an_error_in_words(
    client: Client, address: str, function: str, argument: object, sentence: str
) -> None:
    assert sentence in client.ask("call", address, KEY, function, argument)["message"]


def test_pools(client: Client, address: str, faulty: Path) -> None:
    """Each thread has a CPU to itself where there are as many; one thread needs no pool."""
    assert client.ask("call", address, KEY, "tvmconv.pool", 1) == 0
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) == 2:
        bits = 1 << cpus[0] | 1 << cpus[1]
        assert client.ask("threads", address, KEY, faulty, f"{cpus[0]},{cpus[1]}", 2) == (bits, bits)


def test_a_file_for_another_machine(client: Client, address: str, tmp_path: Path) -> None:
    other = "x86_64" if platform.machine() == "aarch64" else "aarch64"
    said = client.ask("load", address, KEY, faulty_module(other, tmp_path))["message"]
    assert f"was made for {other.replace('_', '-')}, and this device is" in said
    text = tmp_path / "text.so"
    text.write_text("no code")
    assert "is no shared object" in client.ask("load", address, KEY, text)["message"]


@pytest.mark.alone
@pytest.mark.parametrize(
    ("fault", "said", "logged"),
    [
        ("crash", "", "crashed (Segmentation fault)"),
        ("stray", "", "crashed ("),
        ("leave", "", "ended with exit code 7"),
        ("loop", "RPCSessionTimeoutError", "was killed: its time is over"),
    ],
)
def test_a_kernel_that_fails_costs_one_session(
    client: Client, faulty: Path, fault: str, said: str, logged: str
) -> None:
    with serving() as running:
        start = time.monotonic()
        found = client.ask("fault", running.address, KEY, faulty, fault, 2)
        assert said in found["error"] and time.monotonic() - start < 5
        until(lambda: logged in running.log)
        assert client.ask("hello", running.address, KEY) < 1


def test_the_server_has_a_deadline_of_its_own(client: Client, faulty: Path) -> None:
    with serving("--session-timeout", "0.5") as running:
        assert client.ask("fault", running.address, KEY, faulty, "loop", 0)["error"] == "RPCSessionTimeoutError"


def test_a_kernel_that_loops_ends_soon_after_its_client(faulty: Path) -> None:
    with serving() as running:
        gone = Client()
        gone.send("fault", running.address, KEY, faulty, "loop", 0)
        until(lambda: "looping" in running.log)
        gone.kill()
        until(lambda: "was killed: its client has gone" in running.log, 6)


def test_a_kernel_that_fills_the_disk(client: Client, faulty: Path) -> None:
    with serving("--disk", "1000000") as running:
        assert client.ask("fault", running.address, KEY, faulty, "fill", 10) == 1000000
        assert client.ask("upload", running.address, KEY, "fits", 900_000) == "fits"
        said = client.ask("upload", running.address, KEY, "big", 1_000_001)["message"]
        assert "big: no space left on the device for 1000001 bytes, it has 1000000 for this session" in said


def test_what_a_kernel_leaves_behind_goes(client: Client, faulty: Path) -> None:
    """A process that it has started, and a folder that cannot be listed."""
    with serving() as running:
        child = client.ask("fault", running.address, KEY, faulty, "litter", 10)
        until(lambda: not is_running(child))


def connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), PATIENCE)


def hello(key: str, magic: int = MAGIC) -> bytes:
    return struct.pack("<ii", magic, len(key)) + key.encode()


GARBAGE = (
    b"",
    b"\x71",
    b"GET / HTTP/1.0\r\n\r\n",
    struct.pack("<i", MAGIC),
    struct.pack("<ii", MAGIC, 100) + b"client:",
    struct.pack("<ii", MAGIC, 2**31 - 1),
    struct.pack("<ii", MAGIC, -1),
    hello("client:" + "x" * 2000),
    hello("server:test"),
    hello(""),
    hello(f"client:{KEY}\0"),
    b"\xa5" * 4096,
)


def test_garbage_and_half_messages(client: Client, address: str) -> None:
    """A client is served at once meanwhile, and their connections are closed at their deadline."""
    strangers = [connected(address) for _ in GARBAGE]
    for stranger, sent in zip(strangers, GARBAGE, strict=True):
        stranger.sendall(sent)
    assert client.ask("hello", address, KEY) < 1  # seconds
    for stranger in strangers:
        with stranger, suppress(ConnectionError):
            while stranger.recv(4096):
                pass


def test_garbage_within_a_session(client: Client, address: str) -> None:
    for sent in (b"", b"\xff" * 64, struct.pack("<q", 1 << 40), os.urandom(4096)):
        with connected(address) as stranger:
            stranger.sendall(hello(f"client:{KEY} -timeout=nonsense") + sent)
            assert struct.unpack("<i", stranger.recv(4)) == (MAGIC,)
        assert (
            client.ask("hello", address, KEY) < 4
        )  # seconds: what a session has left when its client is gone, and one


def test_a_wrong_key_is_refused(address: str) -> None:
    with connected(address) as stranger:
        stranger.sendall(hello("client:other"))
        assert struct.unpack("<i", stranger.recv(4)) == (MAGIC + 2,)
        assert stranger.recv(4) == b""


def test_a_second_client_waits_for_the_first(client: Client, address: str) -> None:
    with connected(address) as first:
        first.sendall(hello(f"client:{KEY}"))
        first.recv(1)
        client.send("hello", address, KEY)
        time.sleep(0.5)
    assert client.receive() > 0.4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_server_that_is_ended_takes_its_session_along(faulty: Path, number: signal.Signals, tmp_path: Path) -> None:
    command = [*native_command(), "--port", "0", "--key", KEY, "--work", str(tmp_path)]
    running, client = Listening(command, PATIENCE), Client()
    client.send("fault", running.address, KEY, faulty, "loop", 60)
    until(lambda: "looping" in running.log)
    (session,) = (int(line.split()[2]) for line in running.log.splitlines() if "begins" in line)
    os.kill(running.pid, number)
    until(lambda: not Path(f"/proc/{session}").exists())
    assert "error" in client.receive()
    client.kill()
    assert running.stop() == {signal.SIGTERM: 0, signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}[number]
    if number == signal.SIGKILL:  # the next one tidies up
        assert os.listdir(tmp_path)
        Listening(command, PATIENCE).stop()
    assert os.listdir(tmp_path) == []


def test_it_ends_with_its_stdin() -> None:
    command = [*native_command(), "--port", "0", "--stop-at-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin and running.stdout and b"listening on 127.0.0.1:" in running.stdout.readline()
        running.stdin.close()
        assert running.wait(PATIENCE) == 0

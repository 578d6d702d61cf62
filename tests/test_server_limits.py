"""What may come from outside is bounded: timeouts, names, quotas, connections that say nothing, a tracker's answers."""

from __future__ import annotations

import os
import resource
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fake_tracker import FakeTracker
from tests.processes import children
from tests.serving import KEY, Client, serving
from tests.waiting import PATIENCE, until
from tvmconv.rpc.deploy.local_device import native_command
from tvmconv.rpc.process import Listening

MAGIC, SHUTDOWN = 0xFF271, 1  # of TVM's RPC
HELLO = struct.pack("<ii", MAGIC, len(f"client:{KEY}")) + f"client:{KEY}".encode()
AT_ONCE = 0.5  # seconds


def connected(address: str, origin: str = "127.0.0.1") -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE, (origin, 0))


@contextmanager
def session(address: str, words: str = "") -> Iterator[socket.socket]:
    """A connection that has shown the key and has been let in; it ends as TVM's own do."""
    hello = f"client:{KEY}{words}".encode()
    with connected(address) as client:
        client.sendall(struct.pack("<ii", MAGIC, len(hello)) + hello)
        welcomed(client)
        yield client
        end(client)


def welcomed(client: socket.socket) -> None:
    """Reads the server's answer."""
    with client.makefile("rb") as answer:
        magic, size = struct.unpack("<ii", answer.read(8))
        assert (magic, answer.read(size)) == (MAGIC, f"server:{KEY}".encode())


def end(client: socket.socket) -> None:
    """Has the session's process end."""
    with suppress(ConnectionError):
        client.sendall(struct.pack("<qi", 4, SHUTDOWN))
        client.recv(1)


def served_after(address: str) -> float:
    """Seconds from connecting to the server's welcome."""
    start = time.monotonic()
    with session(address):
        return time.monotonic() - start


@contextmanager
def idle(address: str, count: int, say: bytes = b"", origin: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """So many connections that say this and no more."""
    with ExitStack() as stack:
        strangers = [stack.enter_context(connected(address, origin)) for _ in range(count)]
        for stranger in strangers:
            with suppress(ConnectionError):  # it may have been closed in favour of others
                stranger.sendall(say)
        yield strangers


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("timeout", ["1e19", "1e300", "nan", "-1"])
def test_no_timeout_of_a_client_keeps_the_server_busy(timeout: str) -> None:
    with serving("--session-timeout", "0") as running, session(running.address, f" -timeout={timeout}"):
        before = cpu_seconds(running.pid)
        time.sleep(0.3)
        assert cpu_seconds(running.pid) - before < 0.1
        assert len(children(running.pid)) == 1, "the session lasts"


@pytest.mark.parametrize(("timeout", "longest"), [("1e-320", 0.0), ("0.2", 0.2), ("1e300", 0.3), ("nan", 0.3)])
def test_a_session_ends_by_the_shorter_of_two_timeouts(timeout: str, longest: float) -> None:
    with serving("--session-timeout", "0.3") as running, session(running.address, f" -timeout={timeout}"):
        until(lambda: "its time is over" in running.log, longest + 2)


@pytest.mark.parametrize("patience", [3e6, 1e300, float("inf")])
def test_no_layer_is_too_large_for_a_deadline(client: Client, shared: str, patience: float) -> None:
    """The seconds for one of 0.6 TFLOP on an emulated device are more than poll can count."""
    assert client._worker.ask(("hello", shared, KEY), patience) < 10


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--session-timeout", value) for value in ("1e19", "inf", "nan", "-1", "1e300", "")),
        *(("--disk", value) for value in ("1e19", "inf", "nan", "0.5", "-1")),
        *(("--port", value) for value in ("1e19", "80.5", "-1", "nan")),
        ("--tracker", "localhost:" + "9" * 400),
        ("--cpus", "0-" + "9" * 400),
    ],
)
def test_a_number_out_of_range_is_refused(option: str, value: str) -> None:
    command = [*native_command(), "--port", "0", "--key", KEY, option, value]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert f"{option} {value} is not " in done.stderr


def test_what_is_replaced_counts_no_more(client: Client) -> None:
    """Files are uploaded one after the other to a session that may store 1000 bytes."""
    uploads = [("a", 900, ""), ("a", 1000, ""), ("a", 1001, "it has 1000"), ("a", 100, ""), ("b", 900, "")]
    uploads += [("c", 1, "it has 0"), ("b", 0, ""), ("./a", 1000, ""), ("c", 0, "")]
    with serving("--disk", "1000") as running:
        answers = client.ask("uploads", running.address, KEY, [(name, size) for name, size, _ in uploads])
    assert len(answers) == len(uploads)
    for (name, size, refusal), answer in zip(uploads, answers, strict=True):
        assert refusal in answer if refusal else answer == "", (name, size, answer)


# Names of files, and what is said of those that are refused.
NAMES = [
    (b"a\0b", "a file's name has 3 bytes, or a 0 in it"),
    (b"x" * 256, "a file's name has 256 bytes, or a 0 in it"),
    (b"..", "outside the session's folder"),
    (b"a/..", "outside the session's folder"),
    (b"/tmp/x", "outside the session's folder"),
    (b".", "Is a directory"),
    (b"", "Is a directory"),
    (b"nowhere/x", "No such file or directory"),
    (b"..x", ""),
    (b"x" * 255, ""),
]


def test_names(client: Client, shared: str) -> None:
    answers = client.ask("uploads", shared, KEY, [(name, 10) for name, _ in NAMES])
    for (name, refusal), answer in zip(NAMES, answers, strict=True):
        assert refusal in answer if refusal else answer == "", (name, answer)


@pytest.fixture(scope="module")
def shared() -> Iterator[str]:
    with serving() as running:
        yield running.address


@pytest.mark.alone
@pytest.mark.parametrize(
    ("count", "say"), [(64, b""), (500, b""), (64, HELLO[:4]), (500, HELLO[:-1]), (64, b"GET / HTTP/1.0\r\n\r\n")]
)
def test_idle_connections_delay_nobody(count: int, say: bytes, shared: str) -> None:
    with idle(shared, count, say):
        assert max(served_after(shared) for _ in range(3)) < AT_ONCE


@pytest.mark.alone
def test_connections_that_trickle_delay_nobody(shared: str) -> None:
    with idle(shared, 64) as strangers:
        ends = threading.Event()

        def trickle() -> None:
            for byte in HELLO:
                for stranger in strangers:
                    with suppress(OSError):
                        stranger.send(bytes([byte]))
                if ends.wait(0.2):
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        assert max(served_after(shared) for _ in range(3)) < AT_ONCE
        ends.set()
        thread.join()


@pytest.mark.alone
def test_idle_connections_during_a_session(shared: str) -> None:
    """The next client waits for its turn alone; the idle ones are closed meanwhile, in the session's process too."""
    with session(shared) as first, idle(shared, 200) as strangers, connected(shared) as second:
        second.sendall(HELLO)
        with idle(shared, 200):
            until(lambda: select.select([strangers[0]], [], [], 0)[0], 1)
            assert strangers[0].recv(1) == b""
            end(first)
            start = time.monotonic()
            welcomed(second)
            assert time.monotonic() - start < AT_ONCE
            end(second)


@pytest.mark.alone
def test_an_address_with_many_connections_costs_others_none(shared: str) -> None:
    """A client that is slow to say who it is keeps its place, as the crowd comes from elsewhere."""
    with connected(shared) as slow:
        slow.sendall(HELLO[:5])
        with idle(shared, 300, origin="127.0.0.2"):
            slow.sendall(HELLO[5:])
            slow.settimeout(AT_ONCE)
            welcomed(slow)
            end(slow)


@pytest.mark.alone
def test_few_file_descriptors() -> None:
    with serving() as running:
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (24, 24))
        with idle(running.address, 100):
            assert served_after(running.address) < AT_ONCE
            before = cpu_seconds(running.pid)
            time.sleep(0.3)
            assert cpu_seconds(running.pid) - before < 0.1
        assert running.log.count("connections closed") < 5, "one line a second at most"
        assert served_after(running.address) < AT_ONCE
    assert running.stop() == 0


@dataclass
class Registered:
    """A server and its tracker."""

    server: Listening
    tracker: FakeTracker

    @property
    def peak_kilobytes(self) -> int:
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])


@contextmanager
def registered(*trackers: FakeTracker) -> Iterator[list[Registered]]:
    """A server at each of the trackers, at the same time: answers take seconds."""
    with ExitStack() as stack:
        for tracker in trackers:
            stack.enter_context(tracker)
        yield [
            Registered(stack.enter_context(serving("--tracker", tracker.address, "--key", KEY)), tracker)
            for tracker in trackers
        ]


def test_a_trackers_answers() -> None:
    """Long ones in pieces are read, and the entry stands; of a wrong length, or unfinished, they end the connection."""
    long = [FakeTracker(padding=padding) for padding in (200_000, 3_000_000)]
    wrong = [FakeTracker(length=length) for length in (-1, -(1 << 31), (64 << 20) + 1, (1 << 31) - 1, 1 << 20)]
    with registered(*long, *wrong) as pairs:
        for pair in pairs[: len(long)]:
            until(lambda pair=pair: pair.tracker.answered >= 4)  # type: ignore[misc]
            assert (pair.tracker.connections, pair.tracker.offers) == (1, 1)
            assert "tracker" not in pair.server.log
        for pair in pairs[len(long) :]:
            until(lambda pair=pair: pair.tracker.connections >= 2)  # type: ignore[misc]
            assert "has gone, or does not answer as a tracker does; trying again every 2 s" in pair.server.log
            assert pair.peak_kilobytes < 60_000

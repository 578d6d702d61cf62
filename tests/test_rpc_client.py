"""The client side of devices against tvmconv-server, TVM's own server, and sockets that lie: nothing hangs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests import faulty_kernel
from tests.faulty_kernel import SHAPE
from tests.liars import liar
from tests.processes import children
from tests.serving import at, free_port, stock
from tests.waiting import until
from tvmconv.compiler.builder import Request, build_path
from tvmconv.rpc import address, deadlines
from tvmconv.rpc.address import Where
from tvmconv.rpc.client import connection as remote
from tvmconv.rpc.client import tracker_client
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.client.verify import verify
from tvmconv.rpc.deploy.local_device import NativeDevice
from tvmconv.rpc.errors import DeviceError
from tvmconv.rpc.process import Listening
from tvmconv.target import targets
from tvmconv.verify.check import Check, Verdict

Make = Callable[[str], Check]
# Seconds of the client's deadlines in these tests.
LEAST, WAIT, CONNECT, AGAIN = 3.0, 4.0, 3.0, 4.0
SLACK = 8.0  # that a test may take on top of them, on a busy machine


@pytest.fixture(autouse=True)
def _short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "_LEAST", LEAST)
    monkeypatch.setattr(remote, "WAIT", WAIT)
    monkeypatch.setattr(remote, "CONNECT", CONNECT)
    monkeypatch.setattr(remote, "AGAIN", AGAIN)
    monkeypatch.setattr(remote, "_MARGIN", 1.0)
    monkeypatch.setattr(tracker_client, "_PATIENCE", 1.0)


@pytest.fixture(autouse=True)
def _no_leftovers(there: Remote, _spare: Remote) -> Iterator[None]:
    """No process of a client, but of those that tests share."""
    yield
    shared = {each._worker._process.pid for each in (there, _spare) if each._worker}
    assert set(children(os.getpid(), "tvmconv.rpc.client.worker")) <= shared


@pytest.fixture(scope="module")
def _spare() -> Iterator[Remote]:
    with Remote(Where("nowhere", server=address.Address("127.0.0.1", 1))) as remote:
        yield remote


@pytest.fixture
def direct(_spare: Remote) -> Remote:
    """A client for any server; its TVM is ready."""
    _spare.start()
    return _spare


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Builds the kernel with a fault."""
    folder = tmp_path_factory.mktemp("faulty")
    return lambda fault: Check(faulty_kernel.build(fault, targets.native(), folder, ffi=True), SHAPE)


@pytest.fixture(scope="module")
def stock_server() -> Iterator[Where]:
    """TVM's own server, connected to directly."""
    port = free_port()
    with stock("server", port, "--key", "k"):
        yield Where(f"127.0.0.1:{port}", "k", server=address.Address("127.0.0.1", port))


def begins(there: Remote) -> bool:
    with contextlib.suppress(DeviceError):
        there.begin(LEAST)
        return True
    return False


def verdicts(where: Where, *checks: Check) -> list[Verdict]:
    with Remote(where) as there:
        return list(verify(checks, there))


def device_error(there: Remote, most: float) -> str:
    """What a session that cannot begin says within so many seconds."""
    began = time.monotonic()
    with pytest.raises(DeviceError) as caught:
        there.begin(LEAST)
    assert time.monotonic() - began < most + SLACK / 2
    return str(caught.value)


def beyond_tracker(tracker: address.Address) -> Remote:
    return Remote(Where("pixel6", "pixel6", tracker=tracker))


# What a kernel does, what is said of it, and the seconds that this may take beside SLACK.
FAULTS = [
    ("NONE", "ok", None, 0.0),
    ("OFF_BY_ONE", "mismatch", "plain, arrays at the first byte .* 1 of 120 outputs are wrong", 0),
    ("NO_CLAMP", "mismatch", "with bias and clamp", 0),
    ("SKIPS_LAST", "mismatch", ": nan in the place of", 0),
    ("TRUSTS_WORKSPACE", "mismatch", "120 of 120 outputs are wrong", 0),
    ("READS_BEHIND_X", "ok", None, 0),  # nothing there tells of it, as nothing comes of it
    ("WRITES_BEFORE_Y", "error", "the kernel writes at byte -4 of y, which has 480 bytes", 0),
    ("WRITES_BEHIND_Y", "error", "the kernel writes at byte 480 of y, which has 480 bytes", 0),
    ("WRITES_BEHIND_WORKSPACE", "error", "the kernel writes at byte 4 of workspace, which has 4 bytes", 0),
    ("WANTS_ALIGNMENT", "error", "the kernel on native crashed twice, the second time in a new session", 0),
    ("ENDS", "error", "the kernel on native crashed twice", 0),
    ("HANGS", "error", "was ended by the server at the session's deadline, twice: it loops", 2 * (LEAST + 1)),
]


@pytest.mark.parametrize(("fault", "status", "reason", "seconds"), FAULTS, ids=[fault for fault, *_ in FAULTS])
def test_what_a_kernel_can_do_to_a_device(
    there: Remote, kernel: Make, fault: str, status: str, reason: str | None, seconds: float
) -> None:
    check, right = kernel(fault), kernel("NONE")
    began = time.monotonic()
    found, after = verify([check, right], there)
    assert time.monotonic() - began < seconds + SLACK
    assert found.status == status
    assert re.search(reason or "^$", found.reason or ""), found.reason
    assert after.exact, "the device serves on"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU")
def test_threads_of_the_device(there: Remote, kernel: Make) -> None:
    together, right = (replace(kernel(fault), threads=2) for fault in ("NEEDS_ALL_UNITS", "NONE"))
    assert [found.status for found in verify([together, right], there)] == ["mismatch", "ok"]


def test_tvms_own_server(stock_server: Where, kernel: Make) -> None:
    right, wrong = kernel("NONE"), kernel("OFF_BY_ONE")
    exact, mismatch, threads = verdicts(stock_server, right, wrong, replace(right, threads=2))
    assert (exact.status, mismatch.status, threads.status) == ("ok", "mismatch", "error")
    assert "TVM's own server has no threads" in (threads.reason or "")


def test_a_kernel_of_another_architecture_is_not_uploaded(there: Remote) -> None:
    check = Check(build_path(Request(SHAPE, "direct", "cortex-a53")), SHAPE)
    (found,) = verify([check], there)
    assert re.match(r"the kernel was made for aarch64, and the device is x86_64", found.reason or "")


def test_a_key_that_nobody_serves_is_said_at_once(device: NativeDevice) -> None:
    said = device_error(Remote(at(device, "pixel9")), 0)
    assert re.match(rf"nobody serves pixel9 at the tracker {device.tracker}, only native \(. of 1 free\): name", said)


def test_no_tracker() -> None:
    port = free_port()
    said = device_error(beyond_tracker(address.Address("127.0.0.1", port)), 0)
    assert said.startswith(f"no tracker answers at 127.0.0.1:{port} (Connection refused): start one")


@pytest.mark.parametrize(
    ("reply", "sentence", "seconds"),
    [
        (None, "did not answer within 1 s", 1.0),
        (b"HTTP/1.1 400 Bad Request\r\n", "is no TVM tracker", 0.0),
        (b"\x71\xf2\x02\x00\xff\xff\xff\x7f", "is no TVM tracker", 0.0),  # its magic, and a length of two gigabytes
        (b"\x71\xf2\x02\x00\x04\x00\x00\x00null", "is no TVM tracker", 0.0),
        (b"\x71\xf2\x02\x00\x09\x00\x00\x00[0,", "did not answer within", 1.0),
    ],
)
def test_what_is_no_tracker(reply: bytes | None, sentence: str, seconds: float) -> None:
    with liar(reply) as tracker:
        assert sentence in device_error(beyond_tracker(tracker), seconds)


@pytest.mark.parametrize(
    ("reply", "sentence", "seconds"),
    [
        (None, "it serves somebody else, or cannot be reached", WAIT),
        (b"HTTP/1.1 400 Bad Request\r\n", "is no TVM RPC server", 0.0),
        (b"\x71\xf2", "it serves somebody else, or cannot be reached", WAIT),
    ],
)
def test_what_is_no_server(direct: Remote, reply: bytes | None, sentence: str, seconds: float) -> None:
    with liar(reply) as server:
        direct.where = Where(str(server), server=server)
        assert sentence in device_error(direct, seconds)


def test_no_server(direct: Remote) -> None:
    port = free_port()
    direct.where = Where("there", server=address.Address("127.0.0.1", port))
    assert device_error(direct, 0).startswith(f"no RPC server answers at 127.0.0.1:{port}")


def test_no_host(direct: Remote) -> None:
    direct.where = Where("there", server=address.Address("no.such.host.invalid", 9090))
    assert device_error(direct, 0).startswith("there is no host of the name no.such.host.invalid")


def test_another_key_than_the_servers(stock_server: Where, direct: Remote) -> None:
    direct.where = replace(stock_server, key="other")
    assert "has another key: give it with --key" in device_error(direct, 0)


def test_two_clients_of_one_device(device: NativeDevice) -> None:
    heard: list[str] = []
    with Remote(at(device)) as first, Remote(at(device), warn=heard.append) as second:
        first.begin(60)
        with pytest.raises(DeviceError, match=f"native is busy: no server of it became free within {WAIT:.0f} s"):
            second.begin(LEAST)
        assert heard == [f"native is busy: waiting for it, {WAIT:.0f} s at most"]
        threading.Timer(1, first.kill).start()
        second.begin(LEAST)


def test_a_frozen_device(kernel: Make) -> None:
    """Nothing comes back: neither an answer nor an end."""
    with NativeDevice() as device, Remote(at(device)) as there:
        there.begin(60)
        (session,) = children(device._server.pid)
        frozen = [device._server.pid, session]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(DeviceError, match=f"no answer within {LEAST + 1:.0f} s"):
            there.ask("the kernel", kernel("NONE"), LEAST)
        assert time.monotonic() - began < LEAST + 1 + SLACK / 2
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def test_a_device_that_dies_during_an_upload(there: Remote, device: NativeDevice, kernel: Make) -> None:
    """It is stopped before it has read anything of the file."""
    there.begin(60)
    (session,) = children(device._server.pid)
    os.kill(session, signal.SIGSTOP)
    timer = threading.Timer(0.5, os.kill, (session, signal.SIGKILL))
    timer.start()
    with pytest.raises(DeviceError) as caught:
        there.ask("the kernel", kernel("NONE"), LEAST)
    timer.join()
    assert caught.value.kind == "lost"


def test_a_device_that_dies_in_a_run(kernel: Make) -> None:
    with NativeDevice() as device, Remote(at(device)) as there:
        assert there.asked("the kernel", kernel("NONE"), LEAST).exact
        timer = threading.Timer(1, device._server.stop)
        timer.start()
        began = time.monotonic()
        hanging, after = list(verify([kernel("HANGS"), kernel("NONE")], there))
        timer.join()
        assert time.monotonic() - began < 1 + AGAIN + SLACK
    assert re.match(r"the kernel: the link to native was lost .*nobody serves native", hanging.reason or "")
    assert (after.status, hanging.status) == ("error", "error")


def test_a_tracker_that_starts_again(kernel: Make) -> None:
    """The session goes on without it; the server registers with the next one, at the same port."""
    with NativeDevice() as device, Remote(at(device)) as there:
        there.begin(60)
        device._tracker.stop()
        assert there.ask("the kernel", kernel("NONE"), LEAST).exact
        there.leave()
        port = device.tracker.rpartition(":")[2]
        program = f"from tvmconv.rpc.deploy.tracker import serve; serve('127.0.0.1', {port}, stop_at_eof=True)"
        with Listening([sys.executable, "-c", program], 60):
            until(lambda: begins(there), 30)
            assert there.ask("the kernel", kernel("NONE"), LEAST).exact


def test_a_full_disk(kernel: Make) -> None:
    with NativeDevice(["--disk", "1000"]) as device:
        (found,) = verdicts(at(device), kernel("NONE"))
    assert (found.status, found.reason) == (
        "error",
        "the kernel's file did not arrive whole: make room on the device's disk",
    )

"""Where the device server listens and registers: addresses, options, trackers."""

from __future__ import annotations

import os
import platform
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tvmconv
from tests.processes import in_group
from tests.serving import KEY, Client, faulty_module, free_port, serving, stock
from tests.waiting import PATIENCE, until
from tvmconv.rpc.deploy import tracker
from tvmconv.rpc.deploy.local_device import NativeDevice, native_command
from tvmconv.rpc.process import Listening

WORKLOAD = "mb2ic8ih6oc20kh3ph1"


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


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="there is no IPv6 here")
def test_ipv6(client: Client) -> None:
    with serving("--host", "::1") as running:
        assert running.address.startswith("[::1]:")
        assert client.ask("hello", running.address, KEY) < 1
    with serving("--host", "::") as running:
        assert client.ask("hello", f"127.0.0.1:{running.address.rpartition(':')[2]}", KEY) < 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "65536"], "--port 65536 is not a port"),
        (["--port", "x"], "--port x is not a port"),
        (["--tracker", "localhost"], "--tracker localhost is not HOST:PORT"),
        (["--tracker", "::1:9190"], "--tracker ::1:9190 is not HOST:PORT"),
        (["--tracker", "localhost:9190"], "without --key"),
        (["--key", "two words"], "a name of printable ASCII without blanks"),
        (["--key", "né"], "a name of printable ASCII without blanks"),
        (["--cpus", "a"], "not a list of CPUs"),
        (["--session-timeout", "-1"], "not a number of seconds"),
        (["--disk", "1G"], "not a number of bytes"),
        (["--lib", "/nowhere", "--port", "0"], "TVM's runtime cannot be loaded"),
        (["--host", "nowhere.invalid", "--port", "0"], "--host nowhere.invalid"),
        (["stray"], "argument stray is not known"),
        (["--frobnicate"], "unrecognized option"),
    ],
)
def test_a_wrong_option_is_one_line(options: list[str], sentence: str) -> None:
    done = subprocess.run([*native_command(), *options], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode in (1, 2)
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)
    assert sentence in done.stderr


def test_a_taken_port(address: str) -> None:
    port = address.rpartition(":")[2]
    done = subprocess.run([*native_command(), "--port", port], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use; use another --port" in done.stderr


def free_slots(client: Client, tracker: str, key: str) -> int:
    return int(client.ask("summary", tracker)["queue_info"].get(key, {}).get("free", 0))


def test_tvms_own_tracker(client: Client, kernel: Path, faulty: Path) -> None:
    """The server comes before its tracker, outlives it, and is found again by the next one."""
    port, key = free_port(), 'a"key\\of:ours'
    tracker = f"127.0.0.1:{port}"
    with serving("--tracker", tracker, "--key", key) as running:
        with stock("tracker", port):
            until(lambda: "knows this server" in running.log)
            (known,) = client.ask("summary", tracker)["server_info"]
            assert known == {"key": f"server:{key}", "addr": ["127.0.0.1", int(running.address.rpartition(":")[2])]}
            assert client.ask("convolve_through", tracker, key, kernel) is True
            until(lambda: free_slots(client, tracker, key) == 1)
            assert "error" in client.ask("hello", running.address, key)  # past the tracker
            assert_two_take_turns(client, tracker, key)
        until(lambda: "has gone" in running.log)
        with stock("tracker", port):
            until(lambda: client.ask("summary", tracker)["server_info"])
            assert client.ask("convolve_through", tracker, key, kernel) is True


def assert_two_take_turns(client: Client, tracker: str, key: str) -> None:
    other = Client()
    client.send("hold", tracker, key, 0.3)
    other.send("hold", tracker, key, 0.3)
    (_, first_ends), (second_begins, _) = sorted([client.receive(), other.receive()])
    other.kill()
    assert first_ends <= second_begins


def test_a_custom_address_is_told_to_the_tracker(client: Client) -> None:
    with tracker.start() as running:
        place = ("--tracker", running.address, "--key", "k", "--custom-addr", "localhost")
        with serving(*place) as device:
            (known,) = client.ask("summary", running.address)["server_info"]
            assert known["addr"] == ["localhost", int(device.address.rpartition(":")[2])]


def test_an_entry_that_nobody_used_is_renewed(client: Client) -> None:
    """A client that takes it from the tracker and dies would make the device unreachable."""
    with NativeDevice() as device:
        host, _, port = device.tracker.rpartition(":")
        with socket.create_connection((host, int(port)), PATIENCE) as gone:
            request = b'[4, "native", "", 1]'
            gone.sendall(struct.pack("<i", 0x2F271))
            gone.recv(4)
            gone.sendall(struct.pack("<i", len(request)) + request)
            gone.recv(4096)
        until(lambda: free_slots(client, device.tracker, device.key) == 0)
        until(lambda: free_slots(client, device.tracker, device.key) == 1, 12)


def test_a_tracker_that_is_none(client: Client) -> None:
    """It takes connections and says nothing, or hangs up: the server goes on, and says so once."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with serving("--tracker", address, "--key", "k") as running:
            until(lambda: "does not speak as a tracker does" in running.log)
            assert "error" in client.ask("hello", running.address, "k")
            assert running.log.count("trying again") == 1


def test_a_device_ends_with_all_that_it_started(tmp_path: Path, faulty: Path) -> None:
    """Also where the process that had it is killed."""
    program = (
        "import sys, time; from tvmconv.rpc.deploy.local_device import NativeDevice\n"
        "with NativeDevice() as d: print(d._server.pid, d._tracker.pid, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as owner:
        assert owner.stdout
        groups = [int(word) for word in owner.stdout.readline().split()]
        assert all(map(in_group, groups))
        owner.kill()
    until(lambda: not any(map(in_group, groups)))
    assert not list(tmp_path.glob("tvmconv-session-*"))


def test_the_command(client: Client) -> None:
    command = [sys.executable, "-m", "tvmconv", "rpc", "serve", "--port", "0", "--key", KEY]
    with Listening(command, 60) as running:
        assert client.ask("hello", running.address, KEY) < 1
    with Listening([sys.executable, "-m", "tvmconv", "rpc", "tracker", "--port", "0"], 60) as running:
        assert client.ask("summary", running.address) == {"queue_info": {}, "server_info": []}

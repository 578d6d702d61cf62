"""The device server: TVM's protocol as TVM's own client speaks it, and faults that it outlives.

It is compiled for this machine; tests/test_bundle.py has the one for devices.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import tvmconv
from tests.processes import in_group, is_running
from tests.serving import KEY, Client, faulty_module, free_port, serving, stock
from tests.waiting import PATIENCE, until
from tvmconv.native import toolchain
from tvmconv.rpc.deploy import tracker
from tvmconv.rpc.deploy.local_device import NativeDevice, native_command
from tvmconv.rpc.deploy.server_build import GLIBC, SOURCES, tvm_headers
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


def test_clusters_clocks_and_temperatures(tmp_path: Path) -> None:
    """As a phone shows them: two kinds of core, of which one has two clocks; a sensor that is off; odd names."""
    for cpu, (midr, khz, now) in enumerate(
        [*[("0x411fd050", 1803000, 300000)] * 2, ("0x411fd440", 2400000, 2400000), ("0x411fd440", 2802000, 2802000)]
    ):
        folder = tmp_path / f"devices/system/cpu/cpu{cpu}"
        write(folder / "regs/identification/midr_el1", f"{midr.replace('0x', '0x00000000')}\n")
        write(folder / "cpufreq/cpuinfo_max_freq", f"{khz}\n")
        write(folder / "cpufreq/scaling_cur_freq", f"{now}\n")
    for zone, (name, temperature) in enumerate(
        [('a "big"\\ zone\x01é', "45100"), ("off", "-274000"), ("soc", "38000")]
    ):
        write(tmp_path / f"class/thermal/thermal_zone{zone}/type", f"{name}\n")
        write(tmp_path / f"class/thermal/thermal_zone{zone}/temp", temperature)
    described, sensors = described_by(tmp_path, "0-3,7")
    assert described["clusters"] == [
        {"cpus": "0-1", "implementer": "0x41", "part": "0xd05", "max_mhz": 1803},
        {"cpus": "2", "implementer": "0x41", "part": "0xd44", "max_mhz": 2400},
        {"cpus": "3", "implementer": "0x41", "part": "0xd44", "max_mhz": 2802},
        {"cpus": "7", "implementer": None, "part": None, "max_mhz": None},
    ]
    assert (described["cpus"], described["tvm_ffi"]) == ("0-3,7", "1.2.3")
    assert sensors == {
        "mhz": {"0": 300, "1": 300, "2": 2400, "3": 2802},
        "celsius": {'a "big"\\ zone\x01??': 45.1, "soc": 38.0},
    }


def described_by(system: Path, cpus: str) -> list[dict[str, Any]]:
    """What the server would say if that folder were /sys."""
    program = system / "machine"
    names = ("machine/machine.c", "machine/cpus.c", "text.c", "log.c")
    parts = [*(SOURCES / name for name in names), toolchain.NATIVE / "cpu_list.c"]
    flags = (f'-DSYS="{system}"', '-DVERSION="0"', "-D_GNU_SOURCE", "-std=c11", "-Wall", "-Wextra", "-Werror")
    includes = (f"-I{SOURCES}", f"-I{toolchain.NATIVE}", f"-I{tvm_headers()}")
    triple = f"{platform.machine()}-linux-gnu.{GLIBC}"
    source = Path(__file__).with_name("machine.c")
    toolchain.zig_program(triple, *flags, "-fPIE", "-pie", *includes, "-o", program, source, *parts, static=False)
    done = subprocess.run([program, cpus], capture_output=True, text=True, timeout=PATIENCE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)

"""What the doctor says: on the way to a device, and of what it finds there."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tvmconv import cli
from tvmconv.rpc import doctor
from tvmconv.rpc.address import Address, Where, parse, parse_address
from tvmconv.rpc.client.tracker_client import Queue, TrackerClient
from tvmconv.rpc.deploy.local_device import NativeDevice
from tvmconv.rpc.device_info import Described, DeviceCluster
from tvmconv.rpc.doctor import Finding, examine
from tvmconv.rpc.errors import DeviceError
from tvmconv.target.targets import native
from tvmconv.verify.check import Verdict

STEPS = [
    *("tracker", "key", "free slot", "round trip", "ABI and version", "CPU features"),
    *("trivial kernel", "verified convolution"),
]


@pytest.fixture(scope="module")
def device() -> Iterator[NativeDevice]:
    with NativeDevice() as running:
        yield running


def where(device: NativeDevice, key: str = "native") -> Where:
    found = parse(key, device.tracker)
    assert found
    return found


def statuses(findings: list[Finding]) -> list[str]:
    assert [finding.step for finding in findings] == STEPS
    return [finding.status for finding in findings]


def test_all_is_well(device: NativeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    """The tracker's only device need not be named."""
    assert cli.main(["rpc", "doctor", "--tracker", device.tracker, "--json"]) == 0
    _, *rows = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(row["step"], row["status"], row["device"]) for row in rows] == [(step, "ok", "native") for step in STEPS]
    assert f"-t {native().name} fits" in rows[STEPS.index("CPU features")]["text"]


def test_no_tracker(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    assert cli.main(["rpc", "doctor", "--device", "pixel6", "--tracker", address]) == 1
    assert f"failed  tracker               no tracker answers at {address}" in capsys.readouterr().out
    assert cli.main(["rpc", "doctor", "--tracker", address]) == 1


def test_a_key_that_nobody_serves(device: NativeDevice) -> None:
    findings = list(examine(where(device, "pixel6")))
    assert statuses(findings) == ["ok", "failed", *["skipped"] * 6]
    assert "nobody serves pixel6" in findings[1].text and "only native" in findings[1].text


def test_a_device_that_serves_another(device: NativeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_FREE", 0.5)
    with TrackerClient(parse_address(device.tracker)) as other:
        _wait_until_free(other)
        grant = other.request("native", 10)
        findings = list(examine(where(device)))
    assert statuses(findings) == ["ok", "ok", "failed", *["skipped"] * 5]
    assert "native serves others" in findings[2].text
    with socket.create_connection((grant.server.host, grant.server.port)):
        pass  # it has waited for its client, who went away again: it registers anew


def _wait_until_free(tracker: TrackerClient) -> None:
    end = time.monotonic() + 20
    while not tracker.queue("native").free and time.monotonic() < end:
        time.sleep(0.1)


def test_nobody_at_the_servers_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = Address("127.0.0.1", closed.getsockname()[1])
    findings = list(examine(Where(str(address), server=address)))
    assert statuses(findings) == ["skipped"] * 3 + ["failed"] + ["skipped"] * 4
    assert f"no RPC server answers at {address}" in findings[3].text


PIXEL6 = frozenset(("fp", "asimd", "fphp", "asimdhp", "asimddp", "atomics"))
DESCRIBED = Described("tvmconv 0.1.0", "aarch64", PIXEL6, (0, 1), tvm_ffi="same", libc="glibc 2.36")
A53 = (DeviceCluster((0, 1), "0xd03", None, "0x41"),)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, tuple[str, str]]]:
    """What the doctor says of a device that is described, and of a verdict of its kernels."""

    def examined(name: str, described: Described, verdict: Verdict | DeviceError) -> dict[str, tuple[str, str]]:
        class Remote:
            def __init__(self, where: Where, say: object) -> None:
                self.described = described
                self.deadlines = SimpleNamespace(seconds=lambda shape: 1.0)

            def __enter__(self) -> Remote:
                return self

            def __exit__(self, *exception: object) -> None: ...

            def begin(self, seconds: float) -> None: ...

            def ask(self, *message: object) -> None: ...

            def asked(self, *message: object) -> Verdict:
                if isinstance(verdict, DeviceError):
                    raise verdict
                return verdict

        monkeypatch.setattr(doctor, "Remote", Remote)
        monkeypatch.setattr(doctor, "_ffi_version", lambda: "same")
        monkeypatch.setattr(doctor, "build_all", lambda requests, jobs: dict.fromkeys(requests, Path("kernel.so")))
        findings = examine(Where(name, server=Address("127.0.0.1", 1)))
        return {finding.step: (finding.status, finding.text) for finding in findings}

    return examined


@pytest.mark.parametrize(
    ("name", "changes", "step", "status", "words"),
    [
        ("pixel6", {}, "CPU features", "ok", "it has all that -t pixel6 needs"),
        ("pixel8", {}, "CPU features", "failed", "the device lacks i8mm"),
        ("pixel8", {"clusters": A53}, "CPU features", "failed", "-t cortex-a53 fits"),
        ("board", {}, "CPU features", "ok", "board is none of `list devices`: -t aarch64 fits"),
        ("board", {"clusters": A53}, "CPU features", "ok", "-t cortex-a53 fits"),
        ("board", {"features": None}, "CPU features", "ok", "-t aarch64 fits"),
        ("board", {"machine": "riscv64"}, "CPU features", "failed", "no target for a machine like this (riscv64)"),
        ("board", {"machine": None}, "CPU features", "skipped", "does not tell what machine it is on"),
        ("board", {"machine": None}, "trivial kernel", "skipped", "nobody knows what code the device takes"),
        ("board", {"tvm_ffi": "0.2.0"}, "ABI and version", "failed", "TVM's FFI 0.2.0, and here is same: deploy"),
        ("board", {"tvm_ffi": None}, "ABI and version", "skipped", "does not tell its version"),
        ("board", {"server": "tvmconv 0.0.9"}, "ABI and version", "ok", "tvmconv 0.0.9, while here is tvmconv"),
    ],
)
def test_what_a_device_is(
    name: str, changes: dict[str, Any], step: str, status: str, words: str, found: Callable[..., Any]
) -> None:
    told = found(name, replace(DESCRIBED, **changes), Verdict("ok"))
    assert told[step][0] == status
    assert words in told[step][1]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict("mismatch", "y[0] is 3, not 4"), "is wrong: y[0] is 3, not 4; the kernel is kernel.so"),
        (DeviceError("lost", "the kernel crashed"), "the kernel crashed"),
    ],
)
def test_a_kernel_that_is_not_exact(verdict: Verdict | DeviceError, words: str, found: Callable[..., Any]) -> None:
    told = found("pixel6", DESCRIBED, verdict)
    assert told["trivial kernel"][0] == "failed" and words in told["trivial kernel"][1]
    assert told["verified convolution"][0] == "skipped"


def test_only_one_device_goes_without_a_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Tracker:
        def __init__(self, address: Address) -> None: ...

        def __enter__(self) -> Tracker:
            return self

        def __exit__(self, *exception: object) -> None: ...

        def queues(self) -> dict[str, Queue]:
            return dict.fromkeys(("a", "b"), Queue(1, 1, 0))

    monkeypatch.setattr("tvmconv.cli.commands.rpc_doctor.TrackerClient", Tracker)
    assert cli.main(["rpc", "doctor"]) == 2
    assert "knows several devices, so name one: --device a, b" in capsys.readouterr().err
    assert cli.main(["rpc", "doctor", "--device", "local"]) == 2

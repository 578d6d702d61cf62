"""bench on devices: complete rows of the same form as here, lost sessions begun again, devices told apart."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.processes import children
from tvmconv import cli
from tvmconv.cli import values
from tvmconv.compiler.builder import Request, build_path
from tvmconv.database import results
from tvmconv.database.rows import Row
from tvmconv.measure.contestant import SMALLEST, Failure, Play, Ready, Setup, Turn
from tvmconv.measure.entries import KernelEntry
from tvmconv.measure.interleaved import Conditions, Rules, measure
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.client.remote_measure import SessionGroup
from tvmconv.rpc.deploy.local_device import NativeDevice, emulated_command
from tvmconv.target import targets
from tvmconv.verify.reference import integer_case
from tvmconv.workload.shape import ConvShape

SHAPE = ConvShape.parse("ic8ih6oc20kh3ph1")
NATIVE = targets.native()
CPU = min(os.sched_getaffinity(0))
QUICK = ("--samples", "2", "--min-time", "0.001", "--jobs", "1")

Capture = pytest.CaptureFixture[str]


def run(capture: Capture, *argv: str) -> tuple[int, Row, list[Row]]:
    """bench's exit code, context and results."""
    code = cli.main(["bench", str(SHAPE), "-t", "native", "--json", *QUICK, *argv])
    context, *rows = [json.loads(line) for line in capture.readouterr().out.splitlines()]
    return code, context, rows


def missing(row: Row) -> set[str]:
    """What a row does not say, but for its reason: it has one where the core had less to offer."""
    return {key for key in row if row[key] is None} - {"reason"}


def test_rows_are_as_complete_as_those_of_this_machine(capsys: Capture, device: NativeDevice, tmp_path: Path) -> None:
    there = ("--device", "native", "--tracker", device.tracker)
    path = tmp_path / "results.jsonl"
    _, _, (local,) = run(capsys, "-a", "indirect", "--cpus", str(CPU), "--output", str(path))
    code, context, (row, skipped) = run(
        capsys, *there, "-a", "indirect", "--cpus", str(CPU), "--peers", "onednn", "--output", str(path)
    )
    assert code == 0
    assert row.keys() == local.keys()
    assert missing(row) <= missing(local)
    assert (row["device"], row["cpus"], row["exact"], row["verified"]) == ("native", [CPU], True, True)
    assert (row["emulated"], row["workspace_bytes"]) == (False, local["workspace_bytes"])
    assert row["sensors"].keys() == {"before", "after"}
    assert row["overhead_us"] > 0 and row["peak_fraction"] > 0
    assert (context["server"].split()[0], context["peak_gflops"] > 1) == ("tvmconv", True)
    assert (skipped["peer"], skipped["status"]) == ("onednn", "skipped")
    assert "this machine alone" in skipped["reason"]
    _, _, (again, _) = run(
        capsys, *there, "-a", "indirect", "--cpus", str(CPU), "--peers", "onednn", "--output", str(path)
    )
    assert again["seconds"] == row["seconds"], "what this device has measured is not measured again"

    wanted = {"target": NATIVE.name, "layout": "nhwc", "threads": 1}
    for name, own in (("local", local), ("native", row)):
        ranking = results.read(path, {**wanted, "device": name}).ranking(SHAPE)
        assert [each["seconds"] for each in ranking] == [own["seconds"]]


def test_what_was_emulated_is_never_chosen_by(tmp_path: Path, device: NativeDevice, capsys: Capture) -> None:
    path = tmp_path / "results.jsonl"
    _, context, (row,) = run(capsys, "--device", "native", "--tracker", device.tracker, "-a", "direct")
    path.write_text("".join(json.dumps(each) + "\n" for each in (context, {**row, "emulated": True})))
    with pytest.raises(ValueError, match="it has no time of a verified kernel"):
        results.read(path, {"device": "native"})


def entry(algorithm: str, shape: ConvShape = SHAPE) -> KernelEntry:
    return KernelEntry(build_path(Request(shape, algorithm)))


def setup(algorithm: str) -> Setup:
    return Setup(entry(algorithm), SHAPE, integer_case(SHAPE), 1, (CPU,), NATIVE.isa)


def test_a_lost_session_is_begun_again(there: Remote, device: NativeDevice) -> None:
    """Those who were set up in it are set up again when it is their turn."""
    stage = SessionGroup(there, NATIVE, SHAPE, 30)
    one, other = stage.contestant(), stage.contestant()
    assert isinstance(one.ask(setup("direct"), 0), Ready)
    assert isinstance(other.ask(setup("indirect"), 0), Ready)
    before = there.sessions
    for pid in children(device._server.pid):
        os.kill(pid, signal.SIGKILL)
    assert isinstance(one.ask(Play(0.001), 0), Turn)
    assert isinstance(other.ask(Play(0.001), 0), Turn)
    assert there.sessions == before + 1
    for proxy in (one, other):
        proxy.kill()
    assert not there.is_open


def test_a_session_that_is_lost_each_time(there: Remote, device: NativeDevice) -> None:
    """Its contestant has that as its result, in words; the others have theirs."""
    stage, ended = SessionGroup(there, NATIVE, SHAPE, 30), threading.Event()
    one, other = stage.contestant(), stage.contestant()
    assert isinstance(one.ask(setup("direct"), 0), Ready)

    def kill_all() -> None:
        while not ended.wait(0.01):
            for pid in children(device._server.pid):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    failure = one.ask(Play(0.5), 0)
    ended.set()
    killer.join()
    assert isinstance(failure, Failure)
    assert "crashed twice" in failure.reason or "link to native was lost" in failure.reason
    assert isinstance(other.ask(setup("indirect"), 0), Ready)
    for proxy in (one, other):
        proxy.kill()


def test_measure_on_a_device(there: Remote) -> None:
    case, rules = integer_case(SHAPE), Rules(samples=3, min_time=0.001, max_time=10)
    stage = SessionGroup(there, NATIVE, SHAPE, rules.max_time)
    began = time.monotonic()
    outcome = measure(
        [entry("direct"), entry("indirect")],
        SHAPE,
        case,
        Conditions(NATIVE.isa, (CPU,), rules=rules, start=stage.contestant),
        smallest=[entry("direct", SMALLEST), None],
    )
    assert time.monotonic() - began < 60
    assert [(found.status, found.reason) for found in outcome.measurements if found.status != "ok"] == []
    assert outcome.best.peak_gflops > 1
    direct, indirect = outcome.measurements
    assert direct.seconds and direct.seconds.n == 3 and direct.overhead and indirect.overhead is None


# A stride, a remainder of pixels and channels; what gemm takes; what winograd takes.
EVERY_KIND = ("ic8ih7oc20kh3ph1sh2", "mb2ic8ih6oc20kh1ph0", "ic8ih6oc20kh3ph1")


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_every_algorithm_is_exact_on_the_emulated_device(capsys: Capture, layout: str) -> None:
    """Through tracker, server and upload; the command starts them, and they end with it."""
    _need_the_emulated_device()
    threads, before = min(2, len(os.sched_getaffinity(0))), children(os.getpid())
    argv = ["verify", *EVERY_KIND, "--layout", layout, "--threads", str(threads), "--json", "-q"]
    assert cli.main([*argv, "--device", "emulated-aarch64"]) == 0
    context, *rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "asimd" in context["features"]
    assert {row["algorithm"] for row in rows if row["exact"]} == {*values.all_algorithms(layout).names}
    assert {(row["target"], row["threads"]) for row in rows} == {("aarch64", threads)}
    assert children(os.getpid()) == before


def test_times_of_an_emulated_device_are_marked(capsys: Capture) -> None:
    _need_the_emulated_device()
    argv = ["bench", str(SHAPE), "-a", "indirect", "--device", "emulated-aarch64", "--json", *QUICK]
    assert cli.main(argv) == 0
    said = capsys.readouterr()
    context, row = [json.loads(line) for line in said.out.splitlines()]
    assert "its times mean nothing" in said.err
    assert (row["emulated"], row["status"], row["peak_fraction"], context["peak_gflops"]) == (True, "ok", None, None)


def _need_the_emulated_device() -> None:
    try:
        emulated_command(lambda said: None)  # what it downloads is none of what the command prints
    except RuntimeError as error:
        pytest.skip(str(error))

"""Tuning on devices: this machine as one, and an emulated one; those that die, return, or are gone for good."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.serving import at
from tests.waiting import until
from tvmconv import cli
from tvmconv.compiler.builder import Request
from tvmconv.database.log import Key, Log, Logs, Record
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.deploy.local_device import NativeDevice
from tvmconv.rpc.errors import DeviceError
from tvmconv.rpc.process import Listening
from tvmconv.target.devices import EMULATED
from tvmconv.target.tile import Tile
from tvmconv.tune import remote_runner
from tvmconv.tune.outcome import Outcome
from tvmconv.tune.remote_runner import RemoteTrialRunner
from tvmconv.tune.runner import MeasureConfig, try_all
from tvmconv.verify.check import cached_case
from tvmconv.workload.shape import ConvShape

WORKLOAD = "mb1ic8ih6oc20oh6kh3ph1"
REQUEST = Request(ConvShape.parse(WORKLOAD), "direct").check()
QUICK = MeasureConfig(samples=2, min_time=0.001, final_samples=2, final_min_time=0.001, final_max_time=5)
REQUESTS = [replace(REQUEST, tile=Tile.parse(f"{rows}x16_kr1_mc0_kc0_pf0_st0")) for rows in (2, 3, 4, 5)]


def records(folder: Path) -> list[Record]:
    return [item for path in folder.glob("*/*.jsonl") for item in Log(path).records()]


def tune(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> tuple[int, dict[str, object]]:
    common = ["-a", "direct", "--jobs", "1", "--log-dir", str(folder), "--json"]
    code = cli.main(["tune", WORKLOAD, *common, *more])
    *_, row = map(json.loads, capsys.readouterr().out.splitlines())
    return code, row


def test_a_device_of_a_tracker(device: NativeDevice, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = ("--device", "native", "--tracker", device.tracker, "-t", "native", "--trials", "3")
    code, row = tune(capsys, tmp_path, *there)
    assert (code, row["status"], row["device"]) == (0, "ok", "native")
    found = records(tmp_path)
    assert [item.stage for item in found].count("trial") == 3
    assert {item.device for item in found} == {"native"}
    assert Logs([tmp_path]).best(Key.of(REQUEST, 1)).best
    assert tune(capsys, tmp_path, *there)[1]["trials"] == {"done": 3, "measured": 0, "failed": 0}


def test_all_devices_of_a_key_at_once(device: NativeDevice) -> None:
    second = ["--port", "0", "--tracker", device.tracker, "--key", "native", "--stop-at-eof", "--work", "/tmp"]
    command = [*device._command(), *second]
    with Listening(command, 60, environment={}), Remote(at(device)) as remote:
        until(lambda: len(remote.all_of_its_key()) == 2, 30)
        used: list[Remote] = []
        with RemoteTrialRunner(remote, "a CPU", 1, 1, QUICK) as runner:
            measure = runner._measure
            runner._measure = lambda remote, *rest: used.append(remote) or measure(remote, *rest)  # type: ignore[method-assign]
            outcomes = dict(try_all(runner, REQUESTS, {REQUEST.algorithm: 1.0}))
            assert [outcomes[number].status for number in range(4)] == ["ok"] * 4
            assert [found.status for found in runner.finals(REQUESTS[:2])] == ["ok"] * 2
        assert len(set(used)) == 2


def test_a_device_that_dies_and_returns_costs_no_candidate(device: NativeDevice) -> None:
    """Its server is killed with all its sessions, and started again; the tracker stays."""
    command = [*device._command(), "--port", "0", "--tracker", device.tracker, "--key", "mortal", "--stop-at-eof"]
    where = at(device)
    mortal = type(where)("mortal", "mortal", tracker=where.tracker)
    server = Listening([*command, "--work", "/tmp"], 60, environment={})
    servers = [server]

    def restart() -> None:
        os.killpg(server.pid, signal.SIGKILL)
        time.sleep(2)
        servers.append(Listening([*command, "--work", "/tmp"], 60, environment={}))

    with Remote(mortal) as remote, RemoteTrialRunner(remote, "a CPU", 1, 1, QUICK) as runner:
        trials = try_all(runner, REQUESTS, {REQUEST.algorithm: 1.0})
        first = next(trials)
        killer = threading.Thread(target=restart)
        killer.start()
        outcomes = dict([first, *trials])
        killer.join()
    for each in servers:
        each.stop()
    assert [outcomes[number].status for number in range(4)] == ["ok"] * 4


def test_a_candidate_that_takes_its_device_away_each_time_is_given_up(device: NativeDevice) -> None:
    with Remote(at(device)) as remote, RemoteTrialRunner(remote, "a CPU", 1, 1, QUICK) as runner:
        runner._measure = lambda *_: [Outcome("error", "the device is gone")]  # type: ignore[method-assign]
        runner._was_away = lambda *_: True  # type: ignore[method-assign]
        ((_, outcome),) = try_all(runner, REQUESTS[:1], {REQUEST.algorithm: 1.0})
    assert (outcome.status, outcome.reason) == ("error", "the device went away with it, 3 times")


def test_what_is_measured_is_known_while_others_are_built(device: NativeDevice) -> None:
    built: list[Request] = []

    def build(requests: Sequence[Request], folder: Path) -> Generator[Outcome, None, None]:
        for each in requests:
            time.sleep(0.1)
            built.append(each)
            yield Outcome("error", "not built")

    with Remote(at(device)) as remote, RemoteTrialRunner(remote, "a CPU", 1, 1, QUICK) as runner:
        runner._compilers.build = build  # type: ignore[method-assign,assignment]
        outcomes = try_all(runner, REQUESTS, {REQUEST.algorithm: 1.0})
        first = next(outcomes)
        assert first[1].reason == "not built" and len(built) < len(REQUESTS)
        assert {number for number, _ in (first, *outcomes)} == {*range(len(REQUESTS))}


def test_a_device_that_is_waited_for_keeps_no_outcome_of_another_back(device: NativeDevice) -> None:
    slow = threading.Event()

    def trial(request: Request, *_: object) -> Outcome:
        if request is REQUESTS[0]:
            slow.wait(30)
        return Outcome("error", "made up")

    with Remote(at(device)) as remote, RemoteTrialRunner(remote, "a CPU", 1, 1, QUICK) as runner:
        runner._pool = ThreadPoolExecutor(2)
        runner._trial = trial  # type: ignore[method-assign,assignment]
        kernels = [Outcome("error", "not built")] * len(REQUESTS)
        outcomes = runner.measured(REQUESTS, kernels, {REQUEST.algorithm: 1.0})
        assert {next(outcomes)[0] for _ in REQUESTS[1:]} == {1, 2, 3}
        slow.set()
        assert next(outcomes)[0] == 0


@pytest.mark.parametrize("is_back", [False, True])
def test_what_failed_is_repeated_where_the_device_was_gone(device: NativeDevice, is_back: bool) -> None:
    """Also where it is back before anybody asks whether it is there."""
    begun: list[Remote] = []
    answers: list[list[Outcome]] = []

    def measured(remote: Remote, *_: object) -> list[Outcome]:
        remote.absences += is_back and len(answers) == 2
        return answers.pop(0)

    def begin(remote: Remote, seconds: float) -> None:
        begun.append(remote)
        if not is_back and len(begun) == 1:
            raise DeviceError("lost", "it is not there")

    with Remote(at(device)) as remote, RemoteTrialRunner(remote, "a CPU", 1, 1, QUICK) as runner:
        remote.begin = begin.__get__(remote)  # type: ignore[method-assign]
        runner._compared = runner._measure = measured  # type: ignore[method-assign,assignment]
        answers += [[Outcome("error", "gone")] * 2, [Outcome("ok")] * 2]
        assert [*runner.finals(REQUESTS[:2])] == [Outcome("ok")] * 2
        begun.clear()
        answers += [[Outcome("error", "gone")], [Outcome("ok")]]
        assert runner._trial(REQUESTS[0], Path("built"), cached_case(REQUESTS[0].shape)) == Outcome("ok")


def test_a_device_that_is_gone_for_good_ends_the_search(
    device: NativeDevice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remote_runner, "RETURN", 1.0)
    monkeypatch.setattr("tvmconv.rpc.client.connection.AGAIN", 1.0)
    monkeypatch.setattr("tvmconv.rpc.client.connection.WAIT", 4.0)
    with NativeDevice() as other:
        append = Log.append

        def and_die(self: Log, record: Record) -> None:
            append(self, record)
            if len(records(tmp_path)) == 2:
                os.killpg(other._server.pid, signal.SIGKILL)

        monkeypatch.setattr(Log, "append", and_die)
        there = ("--device", "native", "--tracker", other.tracker, "-t", "native", "--trials", "9")
        code, row = tune(capsys, tmp_path, *there)
    assert code == 1
    assert row["status"] == "skipped" and "which are kept" in str(row["reason"])
    kept = records(tmp_path)
    assert 2 <= len(kept) < 9 and {item.status for item in kept} == {"ok"}


@pytest.mark.emulated
def test_an_emulated_device_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, row = tune(capsys, tmp_path, "--device", EMULATED, "--trials", "3")
    assert (code, row["status"]) == (0, "ok")
    found = records(tmp_path)
    assert {item.device for item in found} == {EMULATED} and len(found) >= 4
    asked = Request(REQUEST.shape, "direct", "aarch64")
    looked_up = Logs([tmp_path]).best(Key.of(asked, 1))
    assert looked_up.best is None and "whose times mean nothing" in looked_up.refused[0]

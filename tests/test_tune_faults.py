"""Tuning that meets every fault that there is: it ends with a kernel that is right, and says what happened."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import faulty_compiler, faulty_kernel
from tests.fake_trial_runner import FakeTrialRunner
from tests.faulty_compiler import CRASHES, FAILS, HANGS
from tests.processes import users_of
from tests.tuning import record, written
from tests.waiting import until
from tvmconv import cli
from tvmconv.cli.commands import tune as command
from tvmconv.compiler import builder
from tvmconv.compiler.builder import Request
from tvmconv.database.log import Log, Record
from tvmconv.measure import probe
from tvmconv.native import toolchain
from tvmconv.target import targets
from tvmconv.target.tile import Tile
from tvmconv.tune import builder_pool, runner
from tvmconv.tune.model import Nothing
from tvmconv.tune.outcome import Outcome
from tvmconv.tune.run import Plan
from tvmconv.tune.search import TileSearch
from tvmconv.tune.space import Space
from tvmconv.tune.tuner import tune as search

HERE = Path(__file__).parent
WORKLOAD = str(faulty_kernel.SHAPE)
REQUEST = Request(faulty_kernel.SHAPE, "direct").check()

STRAYS = ("error", r"the kernel crashed \(SIG(SEGV|BUS)\)")
EXPECTED = {
    "OFF_BY_ONE": ("wrong", "plain, .*: 1 of 120 outputs are wrong, the first at n0 h1 w2 c3"),
    "TRUSTS_WORKSPACE": ("wrong", ".*120 of 120 outputs are wrong"),
    "READS_BEHIND_X": STRAYS,
    "WRITES_BEHIND_Y": STRAYS,
    "WRITES_BEHIND_WORKSPACE": STRAYS,
    "ENDS": ("error", "the kernel ended with exit code 7"),
    "HANGS": ("error", "the kernel did not answer within 6 s"),
    CRASHES: ("error", r"the compiler crashed \(SIGABRT\)"),
    HANGS: ("error", "the compiler did not answer within 6 s"),
    FAILS: ("error", "the build failed: InternalError: no register is left"),
}


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One kernel of each fault."""
    folder = tmp_path_factory.mktemp("faulty")
    for fault in {"NONE", *EXPECTED} - {CRASHES, HANGS, FAILS}:
        faulty_kernel.build(fault, targets.native(), folder)
    return folder


@pytest.fixture
def cache(kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without kernels, and the compiler is faulty_compiler's."""
    if platform.machine() != "x86_64":
        pytest.skip("a fault is written for x86-64")
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(toolchain.cache() / "zig"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{HERE.parent}")
    monkeypatch.setenv(faulty_compiler.KERNELS, str(kernels))
    monkeypatch.setenv(faulty_compiler.FATES, str(tmp_path / "fates"))
    (tmp_path / "fates").write_text("{}")
    monkeypatch.setattr(builder, "COMPILER", "faulty_compiler")
    monkeypatch.setattr(runner, "_PATIENCE", 6.0)
    monkeypatch.setattr(builder_pool, "_BUILD_PATIENCE", 6.0)
    monkeypatch.setattr(builder, "PATIENCE", 6.0)
    probe.tile_speed(targets.native().isa)  # compiled now, and not on the first candidate's time
    return tmp_path / "cache"


def tune(folder: Path, *more: str) -> list[str]:
    """The command line; what it will try does not depend on times."""
    fixed = ["-a", "direct", "--searcher", "random", "--jobs", "2", "--log-dir", str(folder)]
    return ["tune", WORKLOAD, *fixed, *more]


def records(folder: Path) -> list[Record]:
    (log,) = folder.glob("*/*.jsonl")
    return Log(log).records()


def fates(folder: Path, faults: Sequence[str]) -> dict[str, str]:
    """Decides what becomes of the tiles that will be tried: the default is right, then each fault has its turn."""
    rehearsal = FakeTrialRunner()
    search(
        [Plan(TileSearch(Space(REQUEST), Nothing()), 1)],
        len(faults) + 1,
        rehearsal,
        Log(folder / "rehearsal"),
        lambda state: None,
    )
    chosen = dict(zip([str(tile) for _, tile in rehearsal.made], ("NONE", *faults), strict=True))
    (folder / "fates").write_text(json.dumps(chosen))
    return chosen


def test_bad_candidates_cost_one_trial_each(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = [*EXPECTED, *(["NONE"] * 3)]
    chosen = fates(tmp_path, faults)
    assert cli.main(tune(tmp_path, "--trials", str(len(chosen)), "--json", "-v")) == 0
    out, err = capsys.readouterr()
    (row,) = (row for row in map(json.loads, out.splitlines()) if row["kind"] == "result")
    trials = [item for item in records(tmp_path) if item.stage == "trial"]
    assert [item.tile for item in trials] == list(chosen)
    for item in trials:
        status, reason = EXPECTED.get(chosen[item.tile], ("ok", ""))
        assert item.status == status and re.match(reason, item.reason or ""), (chosen[item.tile], item.reason)
        assert item.reason is None or f"tile {item.tile}: {item.reason}" in err
    assert (row["status"], chosen[row["tile"]], row["trials"]["failed"]) == ("ok", "NONE", len(EXPECTED))
    assert users_of(cache) == []


# In a process of its own, in which the compilers are the faulty ones too.
_COMMAND = """
import sys
from tvmconv import cli
from tvmconv.compiler import builder
builder.COMPILER = 'faulty_compiler'
sys.exit(cli.main())
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    process = [sys.executable, "-c", _COMMAND, *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(process, start_new_session=True, cwd=HERE.parent, **pipes)


def lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*/*.jsonl"))


@pytest.fixture
def interrupted(cache: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """The command after some trials, ended by a signal."""
    process = start(*tune(tmp_path, "--trials", "8"))
    try:
        until(lambda: lines(tmp_path) >= 3, 60)
        process.send_signal(request.param)
        process.wait(20)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("interrupted", [signal.SIGKILL, signal.SIGINT], indirect=True)
def test_what_was_interrupted_goes_on(
    interrupted: subprocess.Popen[str], cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    until(lambda: not users_of(cache), 5)
    if interrupted.returncode == cli.INTERRUPTED:
        assert interrupted.stdout
        assert re.search(r"stopped after \d+ of 8 trials, which are kept", interrupted.stdout.read())
    else:
        assert interrupted.returncode == -signal.SIGKILL
    before = records(tmp_path)
    assert cli.main([*tune(tmp_path, "--trials", "8"), "--json"]) == 0
    *_, row = map(json.loads, capsys.readouterr().out.splitlines())
    assert row["trials"]["done"] == 8
    after = records(tmp_path)
    assert after[: len(before)] == before
    tiles = [item.tile for item in after if item.stage == "trial"]
    assert len(tiles) == len(set(tiles)) == 8


def fake(runner: FakeTrialRunner, folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    """The command with a runner whose times are made up, 12 trials."""

    class InPlace(FakeTrialRunner):
        def __init__(self, *arguments: object) -> None:
            vars(self).update(vars(runner))

        def __enter__(self) -> FakeTrialRunner:
            return runner

        def __exit__(self, *error: object) -> None:
            pass

    monkeypatch.setattr(command, "LocalTrialRunner", InPlace)
    return cli.main(tune(folder, "--trials", "12", *more))


def test_a_full_disk_ends_the_search_and_keeps_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    append, room = Log.append, [5]

    def fill(self: Log, item: Record) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(28, "cannot be written: No space left on device", str(self.path))
        append(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", fill)
        assert fake(FakeTrialRunner(), tmp_path, monkeypatch) == 1
    out, err = capsys.readouterr()
    assert "stopped after 5 of 12 trials" in out.replace("\n", " ")
    assert re.fullmatch(r"tvmconv: \S+\.jsonl: cannot be written: No space left on device\n", err)
    rest = FakeTrialRunner()
    assert fake(rest, tmp_path, monkeypatch) == 0 and len(rest.made) == 7


def test_sigterm_ends_it_as_ctrl_c_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Asked(FakeTrialRunner):
        def outcome(self, request: Request, tile: Tile) -> Outcome:
            if len(self.made) == 5:
                assert [*(tmp_path / "temporary").iterdir()]
                signal.raise_signal(signal.SIGTERM)
            return super().outcome(request, tile)

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert fake(Asked(), tmp_path, monkeypatch) == 128 + signal.SIGTERM
    assert "stopped after 4 of 12 trials" in capsys.readouterr().out.replace("\n", " ")
    assert not [*(tmp_path / "temporary").iterdir()]


def test_no_room_for_kernels_is_not_the_candidates_fault(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fates(tmp_path, [FAILS])
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert cli.main(tune(tmp_path, "--trials", "2")) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*.jsonl"))


def test_logs_that_are_torn_foreign_or_of_another_cpu_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = FakeTrialRunner()
    assert fake(first, tmp_path, monkeypatch) == 0
    (log,) = tmp_path.glob("*/*.jsonl")
    whole = log.read_bytes().splitlines(keepends=True)
    foreign = whole[1].replace(b'"schema": 1', b'"schema": 999')
    other = written(tmp_path / "other", record(device="local")).read_bytes()
    log.write_bytes(whole[0] + foreign + other + b"".join(whole[2:5]) + whole[5][:50])
    capsys.readouterr()
    again = FakeTrialRunner()
    assert fake(again, tmp_path, monkeypatch, "-v") == 0
    assert len(again.made) == 12 - 4
    assert "was cut off in the middle of writing" in capsys.readouterr().err
    assert foreign in log.read_bytes()
    log.write_bytes(b"text\n")
    assert fake(FakeTrialRunner(), tmp_path, monkeypatch) == 1
    assert re.fullmatch(r"tvmconv: \S+:1 is not a tuning record: .*\n", capsys.readouterr().err)


def test_auto_searches_all_algorithms_of_a_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their trials make one row: of the best, beside what the layer is by hand."""

    def row(runner: FakeTrialRunner, code: int) -> dict[str, Any]:
        assert fake(runner, tmp_path, monkeypatch, "-a", "auto", "--json") == code
        *_, last = map(json.loads, capsys.readouterr().out.splitlines())
        return dict(last)

    stopped = row(FakeTrialRunner(dies_at=9), cli.INTERRUPTED)
    assert (stopped["status"], stopped["trials"]["done"], stopped["by_hand"]) == ("skipped", 9, "direct")
    done = row(FakeTrialRunner(), 0)
    assert (done["status"], done["trials"]) == ("ok", {"done": 12, "measured": 3, "failed": done["trials"]["failed"]})
    assert done["algorithm"] not in ("direct", "im2row") and done["by_hand"] == "direct"
    assert done["gain"] == pytest.approx(done["default"]["median"] / done["seconds"]["median"]) and done["gain"] > 1.2
    assert len({item.key.algorithm for item in records(tmp_path)}) == 6

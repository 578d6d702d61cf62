"""What `tune` and `log` say of the best: the same of the same records, with the algorithm that auto takes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.fake_trial_runner import FakeTrialRunner
from tests.tuning import WORKLOAD, record, written
from tvmconv import cli
from tvmconv.bench.plan import Setting, plan
from tvmconv.cli.commands import tune
from tvmconv.compiler.builder import Request
from tvmconv.database.log import Key, Log, Logs, Record, Versions
from tvmconv.target.targets import native
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

Capture = pytest.CaptureFixture[str]
LAYER = "ic64ih14oc64kh3ph1"


def of(algorithm: str, tile: str, milliseconds: float | None, **changes: Any) -> Record:
    key = Key.of(Request(ConvShape.parse(LAYER), algorithm), 1)
    return record(tile, milliseconds, key, **{"stage": "final", "time": "then", **changes})


def best(capture: Capture, *argv: object) -> list[dict[str, Any]]:
    assert cli.main(["log", "best", "--json", *map(str, argv)]) == 0
    return [json.loads(line) for line in capture.readouterr().out.splitlines()][1:]


HAND = of("direct", "6x64", 0.00412, default=True)
BY_HAND = [HAND, of("direct", "5x64", 0.0041), of("winograd", "8x32", 0.00315, default=True)]
OLD = replace(Versions.here(), llvm="21")

# Records; what auto takes; by algorithm, the gain and the algorithm that it is a gain over.
CASES: list[tuple[Sequence[Record], str, dict[str, tuple[float | None, str | None]]]] = [
    (BY_HAND, "winograd", {"direct": (1.0, "direct"), "winograd": (0.00412 / 0.00315, "direct")}),
    (BY_HAND[:2], "direct", {"direct": (1.0, "direct")}),
    # Of two finals each algorithm is compared within its own.
    (
        [*BY_HAND[:2], of("winograd", "8x32", 0.002, default=True, time="later")],
        "winograd",
        {"direct": (1.0, "direct"), "winograd": (1.0, "winograd")},
    ),
    # Nothing is known of the kernel by hand: there is nothing to choose by.
    (BY_HAND[2:], "direct", {"winograd": (1.0, "winograd")}),
    ([of("winograd", "8x32", 0.003)], "direct", {"winograd": (None, None)}),
    # It was wrong.
    ([of("direct", "6x64", None, default=True), *BY_HAND[1:]], "winograd", {"winograd": (None, None)}),
    # Trials, too; records of other versions count nowhere.
    (
        [replace(one, stage="trial") for one in BY_HAND],
        "winograd",
        {"direct": (1.0, "direct"), "winograd": (0.00412 / 0.00315, "direct")},
    ),
    (
        [*BY_HAND, of("indirect", "6x64", 0.001, default=True, versions=OLD)],
        "winograd",
        {"direct": (1.0, "direct"), "winograd": (0.00412 / 0.00315, "direct"), "indirect": (1.0, "indirect")},
    ),
]


@pytest.mark.parametrize(("records", "taken", "gains"), CASES)
def test_what_auto_takes_is_named_with_its_gain_over_the_kernel_by_hand(
    tmp_path: Path,
    records: Sequence[Record],
    taken: str,
    gains: dict[str, tuple[float | None, str | None]],
    capsys: Capture,
) -> None:
    written(tmp_path / native().name / "net.jsonl", *records)
    rows = best(capsys, tmp_path)
    assert {row["auto"] for row in rows} == {taken}
    found = {row["algorithm"]: (row["gain"], row["by_hand"]) for row in rows if row["algorithm"] in gains}
    assert found == {name: (gain and pytest.approx(gain), hand) for name, (gain, hand) in gains.items()}
    setting = Setting(native(), cpus=(0,), logs=Logs([tmp_path]))
    (task,) = plan([Layer("here", ConvShape.parse(LAYER))], ["auto"], setting)
    assert task.algorithm == taken, "auto itself takes another"


def test_tables_mark_it_and_have_enough_digits(tmp_path: Path, capsys: Capture) -> None:
    path = written(tmp_path / "net.jsonl", *BY_HAND)
    assert cli.main(["log", "best", str(path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"winograd \* .* 0.00315 +direct 0.00412 +1.308", out)
    assert re.search(r"direct  .* 0.00412 +0.00412 +1.000", out)
    assert "tuned over hand, geometric mean of 1: 1.308" in out
    assert cli.main(["log", "show", str(path)]) == 0
    assert "0.00315" in capsys.readouterr().out


def test_many_records_are_shown_without_a_table(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "net.jsonl", *BY_HAND, of("direct", "5x64", None, reason="a\n\x1b[2Jb"))
    assert cli.main(["log", "show", str(path)]) == 0
    table = capsys.readouterr().out
    monkeypatch.setattr("tvmconv.cli.commands.log._TABLE", 2)
    assert cli.main(["log", "show", str(path)]) == 0
    lines = capsys.readouterr().out
    assert [line.split() for line in table.splitlines() if "─" not in line and line.strip()] == [
        line.split() for line in lines.splitlines()
    ]
    assert r"wrong: a\n\x1b[2Jb" in lines and "\x1b" not in lines


def tuned(runner: FakeTrialRunner, folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    """The command with a runner whose times are made up."""

    class InPlace:
        def __init__(self, *arguments: object) -> None: ...
        def __enter__(self) -> FakeTrialRunner:
            return runner

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(tune, "LocalTrialRunner", InPlace)
    argv = ["tune", LAYER, "-a", "auto", "--searcher", "random", "--trials", "16", "--log-dir", str(folder)]
    return cli.main([*argv, *more])


def test_tune_and_log_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert tuned(FakeTrialRunner(cpu=record().cpu), tmp_path, monkeypatch, "--json") == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    (said,) = (one for one in best(capsys, tmp_path) if one["auto"] == one["algorithm"])
    for name in ("algorithm", "tile", "schedule", "seconds", "gflops", "gain", "by_hand"):
        assert row[name] == said[name]
    assert row["default"] == said["default_seconds"] and row["gain"] > 1.2


@pytest.mark.parametrize("dies_at", [0, 1, 16])
def test_a_search_that_is_stopped_shows_what_the_kept_trials_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, dies_at: int
) -> None:
    class Stopped(FakeTrialRunner):
        def finals(self, requests: Sequence[Request]) -> Any:
            raise KeyboardInterrupt

    runner = Stopped(cpu=record().cpu, dies_at=dies_at)
    assert tuned(runner, tmp_path, monkeypatch) == cli.INTERRUPTED
    out = capsys.readouterr().out
    if not dies_at:
        assert "stopped before the first trial" in out and "GFLOP/s" not in out
        return
    assert f"stopped after {dies_at} of 16 trials, which are kept" in out
    (said,) = (one for one in best(capsys, tmp_path) if one["auto"] == one["algorithm"])
    assert re.search(rf"{said['algorithm']} +{said['tile']} .* {said['gain']:.3f} .* {dies_at}", out)
    assert f"tuned over hand, geometric mean of 1: {said['gain']:.3f}" in out


@pytest.mark.parametrize("what", ["show", "best", *(["plot"] if find_spec("matplotlib") else [])])
@pytest.mark.parametrize("is_json", [False, True])
def test_no_match_is_said_with_what_there_is(tmp_path: Path, what: str, is_json: bool, capsys: Capture) -> None:
    path = written(tmp_path / "net.jsonl", *BY_HAND, record())
    output = ["-o", str(tmp_path / "a.svg")] if what == "plot" else []
    argv = ["log", what, *output, str(path), *(["--json"] if is_json else [])]
    assert cli.main([*argv, "--match", "resnet"]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert f"--match resnet is found in none of the 3 keys in {path}, which are such as: " in err and WORKLOAD in err
    path.write_text("")
    assert cli.main(argv) == 1
    assert f"there is no tuning record in {path}: `tvmconv tune` makes them" in capsys.readouterr().err


def test_nothing_to_check_or_to_draw_is_said(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "net.jsonl"
    path.write_text("")
    assert cli.main(["log", "check", str(path)]) == 1
    assert f"there is no tuning record in {path}" in capsys.readouterr().err
    Log(path).append(HAND)
    if find_spec("matplotlib"):
        assert cli.main(["log", "plot", "-o", str(tmp_path / "a.svg"), str(path)]) == 1
        assert f"there is no trial to draw in {path}" in capsys.readouterr().err

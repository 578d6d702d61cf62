"""tvmconv log: show, check, merge, plot."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.log_calls import OLD, Capture, logged, run
from tests.tuning import KEY, WORKLOAD, key, record, written
from tvmconv import cli
from tvmconv.database.log import Log

FINAL = "2999-01-01T00:00:00+00:00"
RECORDS = [
    record("2x16", 2.0, trial=0, default=True),
    record("4x16", 1.0, trial=1),
    record("3x16", None, trial=2, searcher="xgb"),
    record("2x16", 2.2, trial=0, default=True, stage="final", time=FINAL),
    record("4x16", 1.1, trial=1, stage="final", time=FINAL),
]


def test_logs_are_shown(tmp_path: Path, capsys: Capture) -> None:
    path = logged(tmp_path, *RECORDS)
    code, found, _ = run(capsys, "log", "show", path)
    assert (code, [row["tile"] for row in found]) == (0, ["2x16", "4x16", "3x16", "2x16", "4x16"])
    assert found[2]["reason"] == "3 of 720 outputs are wrong"
    assert found[0]["workload"] == WORKLOAD
    code, (best,), _ = run(capsys, "log", "best", "--log-dir", tmp_path, "--match", WORKLOAD)
    assert (code, best["tile"], best["stage"], best["trials"]) == (0, "4x16", "final", 3)
    assert best["gain"] == pytest.approx(2.0)
    code, (only,), _ = run(capsys, "log", "check", path)
    assert (code, only["status"], only["records"]) == (0, "ok", 5)
    for what in ("show", "best", "check"):
        assert cli.main(["log", what, str(path)]) == 0
        assert WORKLOAD in capsys.readouterr().out


def test_check_names_each_bad_line_and_what_is_of_another_machine(tmp_path: Path, capsys: Capture) -> None:
    path = logged(tmp_path, record(), record(versions=OLD), record(key=key(features=(*KEY.features, "amx"))))
    path.write_text(f"mother\n{path.read_text()}father\n")
    code, found, _ = run(capsys, "log", "check", path)
    assert code == 1
    assert [(row["status"], row["reason"] and row["reason"][:22]) for row in found] == [
        *(("error", "line 1 is not a tuning"), ("error", "line 5 is not a tuning"), ("ok", None)),
        *(("rejected", "it was made with TVM 0"), ("rejected", "its CPU features are n")),
    ]
    code, _, err = run(capsys, "log", "show", path)
    assert (code, "net.jsonl:1 is not a tuning record" in err) == (1, True)


def test_logs_are_merged(tmp_path: Path, capsys: Capture) -> None:
    one, two = (written(tmp_path / name, *records) for name, records in (("a", RECORDS[:3]), ("b", RECORDS[1:])))
    assert cli.main(["log", "merge", "-o", str(one), str(one), str(two)]) == 0
    assert "5 records of 2 files" in capsys.readouterr().out
    assert Log(one).records() == RECORDS
    earlier = [replace(item, time="2001-01-01T00:00:00+00:00") for item in RECORDS]
    written(two, *earlier, *RECORDS)
    assert cli.main(["log", "merge", "--finals", "-o", str(two), str(one), str(two)]) == 0
    assert Log(two).records() == [record for record in RECORDS if record.stage == "final"]


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="no matplotlib")
def test_convergence_is_drawn(tmp_path: Path) -> None:
    logged(tmp_path, *RECORDS, record(protocol={"samples": 9}, searcher="xgb", time=FINAL))
    for path in (tmp_path / "a.svg", tmp_path / "a.png"):
        assert cli.main(["log", "plot", "-o", str(path), str(tmp_path), "--match", WORKLOAD]) == 0
    text = (tmp_path / "a.svg").read_text()
    assert "best GFLOP/s so far" in text
    by_xgb = f">{KEY}, xgb, seed 0, {record().cpu}"
    for title in (
        f">{KEY}, random, seed 0, {record().cpu}<",
        f"{by_xgb}, from {RECORDS[2].time}<",
        f"{by_xgb}, from {FINAL}<",
    ):
        assert title in text
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["show", "/nowhere.jsonl"], "/nowhere.jsonl: there is no such file or folder"),
        (["show", "--log-dir", "/nowhere"], "there is no such folder"),
        (["show", "-o", "a.jsonl"], "unrecognized arguments: -o"),
        (["merge", "a.jsonl"], "required: -o"),
        (["merge", "-o", "a.jsonl"], "required: FILE|DIR"),
        (["merge", "/tmp", "-o", "/nowhere/a.jsonl"], "there is no folder /nowhere"),
        (["plot", "-o", "a.pdf"], r"ends in .png or .svg"),
        (["shw"], "invalid choice"),
    ],
)
def test_wrong_calls_of_log(argv: list[str], sentence: str, capsys: Capture) -> None:
    try:
        code = cli.main(["log", *argv])
    except SystemExit as end:
        code = int(end.code or 0)
    err = capsys.readouterr().err
    assert (code, len(err.splitlines())) == (2, 1)
    assert sentence in err

"""Tuned schedules in use: every command and build take them where a record has exactly their key, and say so."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tvmconv
from tests.log_calls import OLD, Capture, logged, run
from tests.tuning import KEY, WORKLOAD, key, record
from tvmconv import cli
from tvmconv.bench.plan import Setting, Task, plan
from tvmconv.compiler.builder import Request
from tvmconv.database.log import Key, Logs, Record
from tvmconv.database.rows import Row
from tvmconv.report.bench import bench_table
from tvmconv.report.tables import show
from tvmconv.target.targets import native
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

SHAPE = ConvShape.parse(WORKLOAD)
TILES = {"indirect": "4x16", "direct": "3x16", "winograd": "4x16_kr1_mc18"}
HAND = str(Request(SHAPE, "indirect").check().tile)


def task(folder: Path, *records: Record, algorithm: str = "indirect", **changes: Any) -> Task:
    if records:
        logged(folder, *records)
    setting = Setting(native(), cpus=(0,), logs=Logs([folder]))
    (only,) = plan([Layer("here", SHAPE)], [algorithm], replace(setting, **changes))
    return only


@pytest.mark.parametrize(
    ("schedule", "records", "outcome"),
    [
        ("auto", [record("4x16")], ("tuned", "4x16")),
        ("auto", [], ("hand", HAND)),
        ("auto", [record(key=key(threads=2))], ("hand", HAND)),
        ("auto", [record(versions=OLD)], ("hand", HAND)),
        ("auto", [record("4x16_kc3")], ("hand", HAND)),
        ("hand", [record("4x16")], ("hand", HAND)),
        ("tuned", [record("4x16")], ("tuned", "4x16")),
        # The default as it was then won: the kernel by hand, as it is by now.
        ("tuned", [record("4x16", default=True)], ("hand", HAND)),
        ("tuned", [record(key=key(threads=2))], "there is one for threads 2"),
        ("tuned", [record(versions=OLD)], "made with TVM 0.26.0; here is TVM"),
        ("tuned", [record("4x16_kc3")], r"net\.jsonl cannot be used: tile .* KC must divide"),
        ("tuned", [], "`tvmconv tune` makes one"),
    ],
)
def test_which_schedule_a_kernel_gets(
    tmp_path: Path, schedule: str, records: list[Record], outcome: tuple[str, str] | str
) -> None:
    found = task(tmp_path, *records, schedules=(schedule,))
    if isinstance(outcome, str):
        assert re.search(outcome, found.reason or "")
        return
    assert found.request
    assert (found.request.schedule, str(found.request.tile)[: len(outcome[1])]) == outcome
    assert (found.tuned_by is None) == (outcome[0] == "hand" and schedule != "tuned")


def test_a_tile_of_ones_own_is_by_hand(tmp_path: Path) -> None:
    tile = tvmconv.Tile.parse("3x16")
    found = task(tmp_path, record("4x16"), tile=tile)
    assert found.request
    assert (found.request.schedule, found.tuned_by) == ("hand", None)
    with pytest.raises(ValueError, match="leave the tile out"):
        task(tmp_path, tile=tile, schedules=("tuned",))


# Algorithm, ms and time of one final after the other; what auto takes then, and by what.
FINALS = [
    ("direct", 2.0, "2998", ("direct", "rule")),
    ("indirect", 1.92, "2998", ("indirect", "records")),
    # At another time: not before it is faster by more than two finals of one kernel differ.
    ("winograd", 1.9, "2999", ("indirect", "records")),
    ("winograd", 1.8, "3000", ("winograd", "records")),
]


def test_auto_takes_the_fastest_of_the_records_where_they_know_the_rules_choice(tmp_path: Path) -> None:
    shape = ConvShape.parse("ic64ih12oc64kh3ph1")
    setting = Setting(native(), cpus=(0,), logs=Logs([tmp_path]))

    def chosen(
        schedule: str = "auto", limit: int | None = None, cpu: str | None = None, **seconds: float
    ) -> tuple[str, str]:
        for path in tmp_path.rglob("*.jsonl"):
            path.unlink()
        found = [record(TILES[name], ms, Key.of(Request(shape, name), 1)) for name, ms in seconds.items()]
        logged(tmp_path, *(replace(one, cpu=cpu or one.cpu) for one in found))
        changes = {"schedules": (schedule,), "max_workspace": limit, "logs": Logs([tmp_path])}
        (only,) = plan([Layer("here", shape)], ["auto"], replace(setting, **changes))
        assert only.tuned_by is None or str(only.request and only.request.tile).startswith(TILES[only.algorithm])
        return only.algorithm, only.chosen_by

    assert chosen(indirect=2.0, direct=1.0) == ("direct", "records")
    assert chosen(indirect=1.0, direct=2.0) == ("indirect", "records")
    assert chosen(indirect=1.0) == chosen(winograd=1.0) == ("direct", "rule")
    assert chosen(direct=1.0) == ("direct", "rule")
    # Algorithms that the rule never takes, too; not where they need more memory than there is, nor by hand.
    assert chosen(indirect=2.0, direct=1.5, winograd=1.0) == ("winograd", "records")
    assert chosen(indirect=2.0, direct=1.5, winograd=1.0, limit=0) == ("direct", "records")
    assert chosen(direct=2.0, winograd=1.0, schedule="hand") == ("direct", "rule")
    assert chosen(direct=1.0, winograd=0.999) == ("direct", "records")
    # On another CPU, where a small difference says nothing of this one.
    assert chosen(direct=1.05, winograd=1.0, cpu="Z80") == ("direct", "records")
    assert chosen(direct=1.15, winograd=1.0, cpu="Z80") == ("winograd", "records")
    # A final, in which all were measured side by side, is compared with finals alone.
    for name, ms, time, expected in FINALS:
        logged(tmp_path, record(TILES[name], ms, Key.of(Request(shape, name), 1), stage="final", time=time))
        (only,) = plan([Layer("here", shape)], ["auto"], replace(setting, logs=Logs([tmp_path])))
        assert (only.algorithm, only.chosen_by) == expected, (name, ms, time)
    # And trials with those that were measured in the same way.
    key = Key.of(Request(shape, "indirect"), 1)
    assert chosen(direct=2.0, indirect=9.0) == ("direct", "records")
    logged(tmp_path, record(TILES["indirect"], 1.0, key, protocol={"samples": 9}, time="9999"))
    (only,) = plan([Layer("here", shape)], ["auto"], replace(setting, logs=Logs([tmp_path])))
    assert (only.algorithm, only.chosen_by) == ("direct", "rule")
    # Asked for a tuned schedule, it is content with what there is.
    assert chosen(winograd=1.0, schedule="tuned") == ("winograd", "records")
    assert chosen(indirect=2.0, winograd=1.0, schedule="tuned") == ("winograd", "records")
    assert chosen(direct=2.0, winograd=1.0) == ("winograd", "records")
    assert tvmconv.build(shape, "auto", log_dir=tmp_path).description["algorithm"] == "winograd"


def test_auto_says_where_records_know_others_alone(tmp_path: Path, capsys: Capture) -> None:
    logged(tmp_path, record("4x16"))
    assert cli.main(["show", WORKLOAD, "--workspace", "-a", "auto", "--log-dir", str(tmp_path), "-v"]) == 0
    assert f"{WORKLOAD}: records know indirect, but not direct, which the rule takes" in capsys.readouterr().err


def test_build_takes_a_tuned_schedule(tmp_path: Path, no_tuning_logs_of_its_own: Path) -> None:
    def built(**options: Any) -> tuple[str, str]:
        described = tvmconv.build(WORKLOAD, "indirect", **options).description
        return described["schedule"], described["tile"][:4]

    logged(tmp_path, record("4x16"))
    assert built(log_dir=tmp_path) == built(log_dir=str(tmp_path), schedule="tuned") == ("tuned", "4x16")
    assert built()[0] == built(log_dir=tmp_path, schedule="hand")[0] == "hand"
    assert built(log_dir=tmp_path, threads=2)[0] == "hand"
    with pytest.raises(ValueError, match="no tuning record of mb1ic8"):
        built(schedule="tuned")
    logged(no_tuning_logs_of_its_own / "tvmconv/tuning_logs", record("3x16"))
    assert built() == ("tuned", "3x16")
    (tmp_path / KEY.target / "net.jsonl").write_text("mother\n")
    with pytest.warns(UserWarning, match=r"net\.jsonl:1 is not a tuning record"):
        assert built(log_dir=tmp_path)[0] == "hand"


def test_every_row_says_by_what_it_was_tuned(tmp_path: Path, capsys: Capture) -> None:
    threads = Key.of(Request(SHAPE, "direct"), 2)
    path = logged(tmp_path, record("4x16", cpu="Z80", time="then"), record("4x16", key=threads))
    origin = {"file": str(path), "cpu": "Z80", "time": "then"}
    work = (WORKLOAD, "-a", "indirect,direct", "--log-dir", tmp_path, "-v", "--jobs", 1)
    quick = ("--samples", 2, "--min-time", 0.001)
    output = ("-o", tmp_path / "all.so", "--schedule", "auto")
    for argv in (("verify", *work), ("show", *work), ("compile", *work, *output), ("bench", *work, *quick)):
        code, (indirect, direct), err = run(capsys, *argv)
        assert code == 0
        assert (indirect["schedule"], indirect["tuned_by"], indirect["tile"][:4]) == ("tuned", origin, "4x16")
        assert (direct["schedule"], direct["tuned_by"]) == ("hand", None)
        assert "no tuning record of mb1ic8ih6oc20oh6kh3ph1, direct in nhwc" in err
        assert "there is one for threads 2" in err


def test_bench_compares_both(tmp_path: Path, capsys: Capture) -> None:
    logged(tmp_path, record("4x16"))
    work = ["bench", WORKLOAD, "-a", "indirect,direct", "--log-dir", tmp_path, "--schedule", "hand,tuned"]
    output = tmp_path / "r.jsonl"
    quick = ["--samples", 2, "--min-time", 0.001, "--output", output]
    code, found, _ = run(capsys, *work, *quick)
    assert code == 0
    kept = [json.loads(line) for line in output.read_text().splitlines()]
    for row in kept:  # as on a quiet machine: times of slower rounds would be no headline
        row.update({"rounds": {**row["rounds"], "offered": 1.0, "slow": 0}} if row.get("rounds") else {})
    output.write_text("".join(json.dumps(row) + "\n" for row in kept))
    assert [(row["algorithm"], row["schedule"], row["status"]) for row in found] == [
        *(("indirect", "hand", "ok"), ("indirect", "tuned", "ok")),
        *(("direct", "hand", "ok"), ("direct", "tuned", "rejected")),
    ]
    assert "there is one for algorithm indirect" in found[3]["reason"]
    assert cli.main([str(word) for word in (*work, *quick)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"indirect hand +indirect tuned +direct hand +direct tuned", out)
    ratio = found[0]["seconds"]["median"] / found[1]["seconds"]["median"]
    assert f"indirect tuned / indirect hand {ratio:.3f} in speed, geometric mean of 1 layer" in out


def test_where_the_default_won_it_is_measured_once(tmp_path: Path, capsys: Capture) -> None:
    path = logged(tmp_path, record("4x16", default=True))
    work = ["bench", WORKLOAD, "-a", "indirect", "--log-dir", tmp_path, "--schedule", "hand,tuned"]
    _, (hand, tuned), _ = run(capsys, *work, "--samples", 2, "--min-time", 0.001)
    assert (tuned["schedule"], tuned["schedule_asked"], tuned["tuned_by"]["file"]) == ("hand", "tuned", str(path))
    assert (hand["tuned_by"], hand["seconds"]) == (None, tuned["seconds"])


ROW: Row = {
    **{"source": "net", "name": None, "count": 1, "workload": WORKLOAD, "peer": None, "status": "ok"},
    **{"seconds": {"median": 1e-3, "p20": 1e-3, "p80": 1e-3}, "rounds": {"n": 1, "repeated": 0, "slow": 0}},
    **{"gflops": 1.0, "peak_fraction": 0.5, "workspace_bytes": 0, "schedule_asked": "auto"},
}


def test_tables_tell_tuned_cells(capsys: Capture) -> None:
    show(bench_table([{**ROW, "algorithm": name, "schedule": name} for name in ("hand", "tuned")]))
    assert len(re.findall(r"^ +tuned *$", capsys.readouterr().out, re.MULTILINE)) == 1


def test_tables_have_one_column_for_auto_and_tell_what_it_took(capsys: Capture) -> None:
    """Beside an algorithm asked for by name that it took, too; tuned and by hand are compared."""
    asked = [("gemm", "rule", "hand", 2e-3), ("winograd", "records", "tuned", 1e-3), ("gemm", "user", "hand", 2e-3)]
    rows = []
    for name, chooser, schedule, seconds in asked:
        times = {"seconds": dict.fromkeys(("median", "p20", "p80"), seconds), "schedule_asked": schedule}
        rows.append({**ROW, **times, "algorithm": name, "chosen_by": chooser, "schedule": schedule})
    show(bench_table(rows))
    out = capsys.readouterr().out
    assert re.search(r"auto hand +auto tuned +gemm hand", out)
    assert re.search(r"^ +gemm +winograd *$", out, re.MULTILINE)
    assert "auto tuned / auto hand 2.000 in speed, geometric mean of 1 layer" in out

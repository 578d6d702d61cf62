"""bench: rows with all figures, wrong kernels without a time, nothing measured twice."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tvmconv import cli
from tvmconv.bench import batch
from tvmconv.bench.layer import Bench
from tvmconv.bench.plan import Setting, Task, blank_row, plan
from tvmconv.database.rows import Row
from tvmconv.measure import peers
from tvmconv.measure.entries import KernelEntry
from tvmconv.measure.interleaved import Best, Rules
from tvmconv.report.bench import bench_table
from tvmconv.report.tables import show
from tvmconv.target import targets
from tvmconv.verify.check import Verdict
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

HERE = Path(__file__).parent
SHAPE = ConvShape.parse("ic8ih6oc20kh3ph1")
LAYER = Layer("here", SHAPE, "a layer", count=3)
SETTING = Setting(targets.native(), cpus=(0,))
QUICK = Rules(samples=2, min_time=0.001, max_time=5.0)
ONEDNN = peers.find("onednn")

Capture = pytest.CaptureFixture[str]


def bench(**changes: Any) -> Bench:
    options: dict[str, Any] = {"peers": (), "rules": QUICK, "jobs": 1, "known": lambda rows: None, "best": Best()}
    return Bench(SETTING, **{**options, **changes})


def kernels(*algorithms: str, of: Layer = LAYER) -> list[batch.Built]:
    return batch.build_tasks(list(plan([of], algorithms, SETTING)), SETTING, 1, lambda done, total: None)


def layer(given: Bench, built: list[batch.Built]) -> list[Row]:
    return given.layer(LAYER, built, lambda done, wanted: None)


def run(capture: Capture, *argv: str) -> tuple[int, list[Row]]:
    code = cli.main(["bench", *argv, "--json", "--samples", "2", "--min-time", "0.001", "--jobs", "1"])
    return code, [json.loads(line) for line in capture.readouterr().out.splitlines()]


def test_the_figures_of_a_row(capsys: Capture) -> None:
    code, (context, row) = run(capsys, str(SHAPE), "-a", "indirect")
    assert (code, row["status"], row["verified"]) == (0, "ok", True)
    assert context["peak_gflops"] > 1
    seconds = row["seconds"]
    assert 0 < seconds["p20"] <= seconds["median"] <= seconds["p80"]
    assert (seconds["n"], row["rounds"]["n"]) == (2, 2)
    assert row["flops"] == 2 * 36 * 20 * 8 * 9
    assert row["gflops"] == pytest.approx(row["flops"] / seconds["median"] / 1e9)
    assert 0 < row["peak_fraction"] <= row["gflops"] / context["peak_gflops"] <= 1
    assert row["indirection_bytes"] >= 36 * 9 * 4
    assert row["workspace_bytes"] >= row["indirection_bytes"] + 8 * 4
    assert row["packed_weight_bytes"] >= (20 * 8 * 9 + 20) * 4
    assert {"peer_version", "cold"} <= row.keys()
    assert 0 < row["overhead_us"] < 1e6
    assert row["whole_call_seconds"] is None


def test_the_peak_grows_with_what_is_seen() -> None:
    given = bench(best=Best(peak_gflops=1.0))
    (row,) = layer(given, kernels("direct"))
    assert given.best.peak_gflops > 1.0
    assert row["peak_fraction"] == pytest.approx(row["gflops"] / given.best.peak_gflops)


def test_a_wrong_kernel_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = [Verdict("mismatch", "3 of 720 outputs are wrong", 1.0), Verdict("ok", max_error=0.0)]
    monkeypatch.setattr(batch, "verify", lambda checks, jobs: iter(verdicts))
    wrong, right = layer(bench(), kernels("direct", "indirect"))
    assert (wrong["status"], wrong["verified"], wrong["seconds"], wrong["gflops"]) == ("mismatch", False, None, None)
    assert wrong["reason"] == "3 of 720 outputs are wrong"
    assert right["status"] == "ok"
    assert right["seconds"]["median"] > 0


def test_a_rejected_layer_is_a_row_for_everybody() -> None:
    rejected = Layer("here", None, reason="problems:3: 3-D is not supported")
    built = [batch.Built(Task(rejected, "direct", rejected.reason), blank_row(rejected, SETTING, algorithm="direct"))]
    rows = bench(peers=(ONEDNN,)).layer(rejected, built, lambda done, wanted: None)
    assert [(row["algorithm"], row["peer"]) for row in rows] == [("direct", None), (None, "onednn")]
    assert rows[1]["status"] == "rejected"
    assert rows[1]["reason"] == rejected.reason


def test_what_is_known_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(rows: Sequence[Row]) -> list[Row]:
        assert all(row["tile"] and row["kernel"] for row in rows)
        return [{**row, "status": "ok", "gflops": 77.0} for row in rows]

    monkeypatch.setattr("tvmconv.bench.layer.measure", lambda *args, **options: pytest.fail("measured"))
    rejected, row = layer(bench(known=known), kernels("gemm", "direct"))
    assert (rejected["status"], rejected["gflops"]) == ("rejected", None)
    assert row["gflops"] == 77.0


@pytest.mark.skipif(peers.available(ONEDNN) is None, reason=f"onednn is not installed: {peers.install_line(ONEDNN)}")
def test_a_row_says_what_would_be_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's file, which has another name once its code may be another, and the peer's package."""
    asked: list[Row] = []
    monkeypatch.setattr("tvmconv.bench.layer.measure", lambda *args, **options: pytest.fail("measured"))
    built = kernels("direct")
    layer(bench(known=lambda rows: asked.extend(rows) or rows, peers=(ONEDNN,)), built)
    assert built[0].kernel
    assert asked[0]["kernel"] == built[0].kernel.stem
    assert asked[1]["peer_package"] == f"onednn-cpu-gomp {peers.available(ONEDNN)}"


def test_a_file_of_results_resumes(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    _, (_, first) = run(capsys, str(SHAPE), "-a", "indirect", "--output", str(path))
    run(capsys, str(SHAPE), "-a", "indirect", "--output", str(path))
    assert len(path.read_text().splitlines()) == 2
    _, (_, again, more) = run(capsys, str(SHAPE), "-a", "indirect,direct", "--output", str(path))
    assert [row["algorithm"] for row in (again, more)] == ["indirect", "direct"]
    assert again["seconds"] != first["seconds"]  # what is compared comes from one run
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["kind"] for row in written] == ["context", "result", "context", "result", "result"]
    assert [written[1], *written[3:]] == [first, again, more]


def test_a_file_of_something_else_is_exit_code_1(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is measured."""
    monkeypatch.setattr("tvmconv.cli.commands.bench.measured_peak", lambda isa: pytest.fail("probed"))
    path = tmp_path / "notes.txt"
    path.write_text("mine\n")
    assert cli.main(["bench", str(SHAPE), "-a", "direct", "--output", str(path)]) == 1
    assert "notes.txt:1 is not one of tvmconv's results" in capsys.readouterr().err
    assert path.read_text() == "mine\n"


@pytest.mark.skipif(peers.available(ONEDNN) is None, reason=f"onednn is not installed: {peers.install_line(ONEDNN)}")
def test_a_peer_is_a_row(capsys: Capture) -> None:
    code, (_, ours, theirs) = run(capsys, str(SHAPE), "-a", "indirect", "--peers", "onednn")
    assert code == 0
    assert ours["algorithm"]
    assert (theirs["algorithm"], theirs["peer"], theirs["verified"]) == (None, "onednn", True)
    assert theirs["peer_version"]
    assert theirs["seconds"]["n"] == 2
    assert theirs["flops"] == ours["flops"]


def test_a_peer_that_is_not_there(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "available", lambda peer: None)
    assert cli.main(["bench", str(SHAPE), "--peers", "onednn"]) == 2
    assert capsys.readouterr().err == f"tvmconv: peer onednn is not installed: {peers.install_line(ONEDNN)}\n"


def test_a_kernel_that_fails_only_now_is_an_error_row(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file is gone between verify and measure: a row with a reason, also when nobody is left to be measured."""
    monkeypatch.setattr("tvmconv.bench.layer.KernelEntry", lambda path: KernelEntry(tmp_path / "gone.so"))
    code, (_, row) = run(capsys, str(SHAPE), "-a", "direct")
    assert (code, row["status"], row["seconds"]) == (1, "error", None)
    assert "gone.so" in row["reason"]


def test_times_of_slow_rounds_are_no_headline(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contestant that sleeps does not have its core, as if another process had it."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{HERE.parent}")
    monkeypatch.setattr("tvmconv.measure.interleaved._PAUSE", 0.0)
    from fake_contestant import Fake

    monkeypatch.setattr("tvmconv.bench.layer.KernelEntry", lambda path: Fake(0.002, asleep=True))
    monkeypatch.setattr("tvmconv.bench.layer.PeerEntry", lambda name: Fake(0.0015))
    given = bench(peers=(ONEDNN,))
    layers = [replace(LAYER, name=str(ic), shape=replace(SHAPE, ic=ic)) for ic in (8, 12)]
    rows = [row for one in layers for row in given.layer(one, kernels("direct", of=one), lambda done, wanted: None)]
    ours, theirs = ([row["rounds"]["offered"] for row in rows if row[key]] for key in ("algorithm", "peer"))
    assert max(ours) < 0.9 * min(theirs)

    for row in rows:  # as on a quiet machine: on a busy one the other contestant is slow in some rounds, too
        median, offered, slow = (0.00201, 0.4, 3) if row["algorithm"] else (0.00151, 1.0, 0)
        row["rounds"] |= {"offered": offered, "slow": slow}
        row["seconds"] |= {"median": median}
    show(bench_table(rows))
    out = capsys.readouterr().out
    assert "our best / best peer n/a: 2 layers left out, not measured alike" in out
    assert "2 layers without *: a time of slower rounds might be the fastest" in out
    assert "* 1.5" not in out and "~2." in out


def test_help_says_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["bench", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for value in (Rules().samples, Rules().min_time, round(Rules().max_time)):
        assert f"(default: {value})" in text

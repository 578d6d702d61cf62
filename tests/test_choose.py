"""What `-a auto` takes: by the rule, by results, under a limit of memory."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tvmconv
from tvmconv import cli
from tvmconv.algorithms import algorithm
from tvmconv.bench.plan import Setting, Task, plan
from tvmconv.database import heuristic, results
from tvmconv.database import rows as record
from tvmconv.database.rows import Row
from tvmconv.support.jsonlines import BadFile
from tvmconv.target import targets
from tvmconv.workload import networks
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

SHAPE = ConvShape.parse("ic64ih12oc64kh3ph1")
OTHER = ConvShape.parse("ic64ih12oc64kh1")
SETTING = Setting(targets.native(), cpus=(0,))
WANTED = {"target": SETTING.target.name, "layout": "nhwc", "device": "local", "threads": 1}


@pytest.mark.parametrize(
    ("descriptor", "nhwc", "nchw"),
    [
        ("ic64ih56oc64kh1", ["gemm", "direct"], ["gemm", "im2col", "kn2row-aa", "direct"]),
        ("ic64ih56oc128kh1sh2", ["direct"], ["im2col", "direct"]),
        ("ic64ih56oc64kh3ph1", ["direct"], ["im2col", "kn2row-aa", "direct"]),
        ("ic32ih56oc64kh1ph1", ["direct"], ["im2col", "kn2row-aa", "direct"]),
        ("ic3ih224oc64kh7sh2ph3", ["direct"], ["direct"]),
        ("ic31ih56oc64kh3ph1", ["direct"], ["direct"]),
        ("ic16ih55oc64kh1", ["gemm", "direct"], ["gemm", "im2col", "kn2row-aa", "direct"]),
        ("g64ic64ih28oc64kh3ph1", ["direct"], ["direct"]),
        ("g2ic128ih28oc64kh3ph1", ["direct"], ["direct"]),
    ],
)
def test_rule(descriptor: str, nhwc: list[str], nchw: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything that the rule names, whether it is there already or not."""
    rejects = {"gemm": lambda shape: "no" if (shape.kh, shape.sh, shape.ph) != (1, 1, 0) else None}
    there = {(name, layout) for line in heuristic.RULE for layout, names in line.names.items() for name in names}
    fakes = [
        SimpleNamespace(name=name, layout=layout, rejects=rejects.get(name, lambda shape: None))
        for name, layout in sorted(there)
    ]
    monkeypatch.setattr(heuristic, "ALGORITHMS", fakes)
    shape = ConvShape.parse(descriptor)
    assert (heuristic.preferred(shape, "nhwc"), heuristic.preferred(shape, "nchw")) == (nhwc, nchw)


def test_what_is_chosen_takes_the_shape() -> None:
    for network in networks.NETWORKS:
        for layer in networks.layers(network):
            for layout in ("nhwc", "nchw"):
                assert algorithm(heuristic.by_rule(layer.shape, layout), layout).rejects(layer.shape) is None


def test_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heuristic, "ALGORITHMS", ())
    with pytest.raises(ValueError, match="no algorithm computes mb1ic64ih12oc64oh12kh3ph1 in layout nhwc"):
        heuristic.by_rule(SHAPE)


def test_python_knows_auto() -> None:
    assert tvmconv.build(OTHER, "auto").algorithm == "gemm"


def task(name: str, *, found: results.Results | None = None, shape: ConvShape = SHAPE, **changes: Any) -> Task:
    (only,) = plan([Layer("here", shape)], [name], Setting(**{**vars(SETTING), **changes}), found)
    return only


NEEDED = {name: algorithm(name).workspace(SHAPE, task(name).request.tile) for name in ("direct", "indirect", "im2row")}


@pytest.mark.parametrize(
    ("name", "limit", "outcome"),
    [
        ("auto", None, "direct"),
        ("auto", 0, "direct"),
        ("indirect", NEEDED["indirect"], "indirect"),
        ("indirect", 100, f"indirect needs {NEEDED['indirect']} bytes of extra memory, not 100 or less"),
        ("direct", 0, "direct"),
    ],
)
def test_limit_of_memory(name: str, limit: int | None, outcome: str) -> None:
    found = task(name, max_workspace=limit)
    assert (found.algorithm if found.request else found.reason) == outcome
    assert found.chosen_by == ("rule" if name == "auto" else "user")


def test_tight_memory_in_nchw() -> None:
    assert task("auto", layout="nchw").algorithm == "im2col"
    found = task("auto", layout="nchw", max_workspace=0)
    assert found.request
    assert (found.algorithm, found.request.layout) == ("kn2row-aa", "nchw")


def test_nothing_fits_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heuristic, "preferred", lambda shape, layout: ["im2row", "indirect"])
    sentence = "no algorithm needs 8 bytes of extra memory or less here: the smallest is indirect with"
    assert task("auto", max_workspace=8).reason == f"{sentence} {NEEDED['indirect']}"


def measured(name: str, median: float, shape: ConvShape = SHAPE, **changes: Any) -> Row:
    row = {
        **{"kind": "result", "workload": str(shape), "algorithm": name, "peer": None, **WANTED, "schedule": "hand"},
        **{"tile": "4x16", "status": "ok", "verified": True, "seconds": {"median": median}},
        "workspace_bytes": NEEDED[name],
    }
    return {**row, **changes}


def written(path: Path, *runs: list[Row], **context: Any) -> Path:
    lines = [row for run in runs for row in ({**record.context([], "22"), **context}, *run)]
    path.write_text("".join(map(record.line, lines)))
    return path


DIRECT, INDIRECT, IM2ROW = measured("direct", 3.0), measured("indirect", 2.0), measured("im2row", 1.0)


@pytest.mark.parametrize(
    ("runs", "limit", "outcome"),
    [
        ([[DIRECT, INDIRECT, IM2ROW]], None, ("im2row", "results")),
        ([[DIRECT, INDIRECT, IM2ROW]], NEEDED["im2row"] - 1, ("indirect", "results")),
        ([[DIRECT, INDIRECT, IM2ROW]], 0, ("direct", "results")),
        ([[INDIRECT, IM2ROW]], 0, ("direct", "rule")),
        ([[DIRECT, INDIRECT], [IM2ROW]], None, ("indirect", "results")),  # the run that compared more
        ([[INDIRECT, IM2ROW], [DIRECT, measured("im2row", 4.0)]], None, ("direct", "results")),  # else the latest
        ([[DIRECT, {**IM2ROW, "verified": False}]], None, ("direct", "results")),
        ([[DIRECT, {**IM2ROW, "status": "mismatch", "seconds": None}]], None, ("direct", "results")),
        ([[DIRECT, {**IM2ROW, "algorithm": None, "peer": "onednn"}]], None, ("direct", "results")),
        ([[DIRECT, {**IM2ROW, "target": "another"}, {**INDIRECT, "threads": 2}]], None, ("direct", "results")),
        ([[DIRECT, {**IM2ROW, "layout": "nchw"}]], None, ("direct", "results")),
        ([[DIRECT, {**IM2ROW, "tile": "64x64"}]], None, ("direct", "results")),  # such a tile is not built any more
        ([[DIRECT, {**IM2ROW, "algorithm": "fft"}]], None, ("direct", "results")),
        ([[measured("direct", 1.0, OTHER)]], None, ("direct", "rule")),
    ],
)
def test_the_measured_winner(
    tmp_path: Path, runs: list[list[Row]], limit: int | None, outcome: tuple[str, str]
) -> None:
    found = task("auto", found=results.read(written(tmp_path / "r.jsonl", *runs), WANTED), max_workspace=limit)
    assert (found.algorithm, found.chosen_by) == outcome
    assert found.request and found.request.tile
    assert str(found.request.tile).startswith("4x16_") == (outcome[1] == "results")


def in_rounds(row: Row, slow: int, offered: float | None = None) -> Row:
    return {**row, "rounds": {"n": 5, "repeated": 15, "slow": slow, "offered": offered}}


@pytest.mark.parametrize(
    ("rows", "algorithm", "is_doubtful"),
    [
        ([in_rounds(DIRECT, 5, 0.5), in_rounds(INDIRECT, 0, 1.0)], "direct", True),
        ([in_rounds(DIRECT, 5, 0.8), in_rounds(INDIRECT, 0, 1.0)], "indirect", False),  # slower at any speed
        ([in_rounds(DIRECT, 0, 1.0), in_rounds(INDIRECT, 5, 0.5)], "indirect", False),
        ([in_rounds(DIRECT, 5, 0.5), in_rounds(INDIRECT, 5, 0.5)], "indirect", False),
        ([in_rounds(DIRECT, 5), in_rounds(INDIRECT, 0)], "direct", True),
    ],
)
def test_a_winner_of_times_that_were_not_measured_alike(
    rows: list[Row],
    algorithm: str,
    is_doubtful: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What would be the fastest at full speed is taken, and compile says that this is a guess."""
    path = written(tmp_path / "r.jsonl", rows)
    found = results.read(path, WANTED)
    assert (task("auto", found=found).algorithm, found.is_doubtful(SHAPE)) == (algorithm, is_doubtful)
    monkeypatch.setattr("tvmconv.cli.commands.compile.build", lambda *_: pytest.skip("built"))
    with pytest.raises(pytest.skip.Exception):
        cli.main(["compile", str(SHAPE), "-o", str(tmp_path / "layer.so"), "--results", str(path)])
    said = "does not tell which is the fastest for 1 of 1 layers" in capsys.readouterr().err
    assert said == is_doubtful


@pytest.mark.parametrize(
    ("rows", "context", "sentence"),
    [
        ([], {}, "it has no time of a verified kernel; "),
        ([{**DIRECT, "verified": False}], {}, "it has no time of a verified kernel; "),
        ([DIRECT], {"cpu": "Z80"}, "it is not of a machine like this one (.*), but of Z80"),
        ([DIRECT], {"features": ["fpu"]}, "it is not of a machine like this one"),
        ([{**DIRECT, "target": "pdp11"}], {}, "it has nothing of target x86-64-v., only of target pdp11"),
        ([{**DIRECT, "layout": "nchw"}], {}, "it has nothing of layout nhwc, only of layout nchw"),
        ([{**DIRECT, "threads": 2}, {**IM2ROW, "threads": 4}], {}, "it has nothing of threads 1, only of threads 2, 4"),
        ([{**DIRECT, "threads": 2}, {**IM2ROW, "layout": "nchw"}], {}, "it has nothing of .* threads 1 together"),
    ],
)
def test_results_of_something_else(tmp_path: Path, rows: list[Row], context: Row, sentence: str) -> None:
    path = written(tmp_path / "r.jsonl", rows, **context)
    with pytest.raises(ValueError, match=rf"^--results .*r\.jsonl: {sentence}"):
        results.read(path, WANTED)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no such file; `tvmconv bench … --output"):
        results.read(tmp_path / "nowhere", WANTED)
    with pytest.raises(ValueError, match=r"^--results \S+ is a folder; name a file"):
        results.read(tmp_path, WANTED)
    path = tmp_path / "notes"
    path.write_text("mine\n")
    with pytest.raises(BadFile, match="notes:1 is not one of tvmconv's results"):
        results.read(path, WANTED)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", " has none of tvmconv's results; `tvmconv bench"),
        (b'{"kind', " has none of tvmconv's results; `tvmconv bench"),
        (b"\x7fELF\x02\x01\0\xff\n\0", ":1 is not one of tvmconv's results"),
        (b"\x7fELF", " is not a file of tvmconv's results"),
        (b'{\n  "mine": 1\n}\n', ":1 is not one of tvmconv's results"),
        (b'{"mine": 1}\n', ":1 is not one of tvmconv's results"),
        (b"[" * 100_000 + b"\n", ":1 is not one of tvmconv's results"),
    ],
)
def test_content_of_something_else(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=rf"r\.jsonl{sentence}"):
        results.read(path, WANTED)


@pytest.mark.parametrize(
    "damage",
    [
        *({"seconds": seconds} for seconds in (None, {}, {"p20": 1.0}, [1.0], 1.0)),
        *({"seconds": {"median": median}} for median in (None, [1.0], -1.0, 0, "1", True, 10**400)),
        *({"workspace_bytes": size} for size in (None, "64", -1, 0.5, True)),
        *({"tile": tile} for tile in (None, 4, ["4x32"])),
        *({"rounds": rounds} for rounds in (1, {}, {"n": 0, "slow": 0}, {"n": 3, "slow": 4}, {"n": 3, "slow": "1"})),
        *({"rounds": {"n": 3, "slow": 1, "offered": offered}} for offered in ("1", -1, 2)),
        *({"algorithm": ["direct"]}, {"schedule": None}, {"layout": {}}, {"target": []}, {"threads": "1"}),
    ],
    ids=str,
)
def test_a_damaged_row(tmp_path: Path, damage: Row) -> None:
    path = written(tmp_path / "r.jsonl", [DIRECT, {**INDIRECT, **damage}])
    with pytest.raises(BadFile, match=r"r\.jsonl:3 is not one of tvmconv's results: "):
        results.read(path, WANTED)


def test_a_row_of_nobody(tmp_path: Path) -> None:
    nobody = {key: value for key, value in DIRECT.items() if key != "algorithm"}
    with pytest.raises(BadFile, match=r"r\.jsonl:2 is not one of tvmconv's results: "):
        results.read(written(tmp_path / "r.jsonl", [nobody]), WANTED)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"algorithm": "fft"}, "unknown algorithm 'fft'"),
        ({"schedule": "by foot"}, "schedule 'by foot'"),
        ({"tile": "four"}, "tile 'four' is not MRxNR"),
        ({"tile": "64x64"}, "64x64"),
    ],
)
def test_results_that_are_unknown_here(tmp_path: Path, changes: Row, sentence: str) -> None:
    """The rule chooses, and the task says why; not where slower results are of use."""
    found = task("auto", found=results.read(written(tmp_path / "r.jsonl", [{**IM2ROW, **changes}]), WANTED))
    assert found.chosen_by == "rule"
    assert sentence in str(found.unknown)
    both = results.read(written(tmp_path / "r.jsonl", [{**IM2ROW, **changes}, DIRECT]), WANTED)
    assert (task("auto", found=both).chosen_by, task("auto", found=both).unknown) == ("results", None)


def test_results_are_read_while_they_are_written(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", [DIRECT])
    torn = path.read_bytes() + json.dumps(IM2ROW).encode()[:-9]
    path.write_bytes(torn)
    assert [row["algorithm"] for row in results.read(path, WANTED).ranking(SHAPE)] == ["direct"]
    assert path.read_bytes() == torn

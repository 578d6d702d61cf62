"""Plots: everything that has a name is on them, the same each time, and what cannot be drawn is said beforehand."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.timed_rows import timed
from tvmconv import cli
from tvmconv.database.rows import Row
from tvmconv.report import bench_plot, figure
from tvmconv.support.install import install_line

drawing = pytest.mark.skipif(find_spec("matplotlib") is None, reason=f"no matplotlib: {install_line('plot')}")

COMMON = {"threads": 2, "target": "x86-64-v3", "layout": "nhwc"}
ROWS: list[Row] = [
    {**timed(*row, **{kind: name}), **COMMON}
    for name, kind, workspace in (("indirect", "algorithm", 4096), ("gemm", "algorithm", 0), ("onednn", "peer", None))
    for row in (("first <$1$>", 1, 0.004, workspace),)
] + [
    {**timed("second", 3, 0.002, 1 << 20, algorithm="indirect"), **COMMON},
    {**timed("second", 3, 0.002, algorithm="gemm", status="rejected", reason="not 1x1"), **COMMON},
    {**timed("second", 3, 0.001, None, peer="onednn"), **COMMON},
]


@pytest.mark.slow
@drawing
def test_a_drawing_names_all_there_is(tmp_path: Path) -> None:
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    for path in (first, second):
        bench_plot.draw(ROWS, "Z80 @ 4 MHz", path)
    text = first.read_text()
    for name in (
        *("Z80 @ 4 MHz, 2 threads, target x86-64-v3, NHWC, float32", "first &lt;$1$&gt;", "second ×3", ">net<"),
        *(">indirect<", ">gemm<", ">onednn<", "best mix of ours", "time of all layers, ms", "1 KB", "256 KB"),
        "% of the measured FMA peak",
    ):
        assert name in text
    assert second.read_bytes() == first.read_bytes()


@drawing
def test_slow_rounds_are_faint(tmp_path: Path) -> None:
    slow = {**ROWS[0], "rounds": {"n": 11, "repeated": 33, "slow": 11, "offered": 0.5}}
    faint = []
    for rows in (ROWS, [slow, *ROWS[1:]]):
        bench_plot.draw(rows, "Z80", tmp_path / "a.svg")
        text = (tmp_path / "a.svg").read_text()
        assert (">faint: in slow rounds<" in text) == (slow in rows)
        faint.append(text.count("opacity: 0.35"))
    assert faint[0] == 0
    assert faint[1] >= 4  # the point, the sum of its network, the best mix that it may be in, the legend


@drawing
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], [{**ROWS[0], "name": None}, {**ROWS[3], "source": "alone"}]])
def test_png(tmp_path: Path, rows: list[Row]) -> None:
    """Of a network, of a single layer, of layers that are no network."""
    bench_plot.draw(rows, "Z80", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a.pdf", r"name a file that ends in \.png or \.svg"),
        ("a", r"name a file that ends in \.png or \.svg"),
        ("nowhere/a.png", "there is no folder .*nowhere; make it first"),
        ("folder.svg", "is a folder or a special file: name a plain file"),
    ],
)
def test_what_cannot_be_drawn_is_said_first(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tvmconv.cli.commands.bench.build", lambda *arguments: pytest.fail("built"))
    (tmp_path / "folder.svg").mkdir()
    assert cli.main(["bench", "ic8ih6oc20kh3ph1", "--plot", str(tmp_path / name)]) == 2
    with pytest.raises(ValueError, match=sentence):
        figure.check(tmp_path / name, "--plot")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_matplotlib_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^--plot needs matplotlib, which is not installed: .*plot"):
        figure.check(tmp_path / "a.svg", "--plot")


@pytest.mark.slow
@drawing
def test_known_results_are_drawn_without_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = ["bench", "ic8ih6oc20kh3ph1", "-a", "direct", "--output", str(tmp_path / "r.jsonl"), "--samples", "2"]
    assert cli.main([*work, "--min-time", "0.001"]) == 0
    monkeypatch.setattr("tvmconv.bench.layer.measure", lambda *arguments, **options: pytest.fail("measured"))
    assert cli.main([*work, "--plot", str(tmp_path / "a.svg")]) == 0
    assert ">mb1ic8ih6oc20oh6kh3ph1<" in (tmp_path / "a.svg").read_text()

    monkeypatch.setattr(
        figure, "write_whole", lambda path, content: (_ for _ in ()).throw(OSError(f"{path}: disk full"))
    )
    capsys.readouterr()
    assert cli.main([*work, "--plot", str(tmp_path / "b.svg")]) == 1
    out, err = capsys.readouterr()
    assert "direct" in out  # the table is there all the same
    assert "disk full" in err

"""Sums of networks, ratios and times, as tables say them."""

from __future__ import annotations

import pytest

from tests.calling import Capture
from tests.timed_rows import timed
from tvmconv.database.rows import Row
from tvmconv.report import tables
from tvmconv.report.bench import bench_table


def test_sums_of_a_network(capsys: Capture) -> None:
    rejected = {"status": "rejected", "reason": "not 1x1"}
    network = [
        timed("a", 1, 0.004, 100, algorithm="indirect"),
        timed("a", 1, 0.001, 0, algorithm="gemm"),
        timed("a", 1, 0.003, None, peer="onednn"),
        timed("a", 1, 0.0005, None, peer="naive"),
        timed("b", 3, 0.002, 2048, algorithm="indirect"),
        timed("b", 3, 9.0, algorithm="gemm", **rejected),
        timed("b", 3, 0.001, None, peer="onednn", whole_call_seconds=0.002),
        timed("b", 3, 0.009, None, peer="naive"),
    ]
    tables.show(bench_table(network, uncounted={"naive"}))
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "a 4.00 * 1.00 3.00 0.500" in lines
    assert "b ×3 2.00 – * 1.00 9.00" in lines
    assert "net: sum, ms 10.0 n/a 6.00 27.5" in lines
    assert "net: peak workspace 2.0 KB n/a n/a n/a" in lines
    assert "net: best mix 7.00 ms, peak workspace 2.0 KB; layers: gemm 1, indirect 1" in lines
    assert "net: best peer of each layer 6.00 ms; layers: onednn 2" in lines
    ratio = "our best / best peer 1.225 in speed, geometric mean of 2 layers; below 1 in 1, worst 0.50 (b)"
    assert f"net: {ratio}" in lines
    assert "all layers" not in out
    assert "onednn: the convolution alone, by the library's own profiler, where that is less" in lines
    assert max(map(len, out.splitlines())) <= 100


def test_our_algorithms_against_the_one_that_builds_patches(capsys: Capture) -> None:
    """The papers' baseline; where it builds no patches, on 1x1 kernels, nothing is claimed."""
    network = [
        *(
            timed("a", 1, time, size, algorithm=name)
            for name, time, size in (("im2col", 0.006, 99), ("kn2row", 0.002, 9))
        ),
        *(
            timed("b", 2, time, size, algorithm=name)
            for name, time, size in (("im2col", 0.001, 99), ("kn2row", 0.003, 9))
        ),
        *(timed("c", 3, time, 0, algorithm=name) for name, time in (("im2col", 0.002), ("kn2row", 0.001))),
    ]
    tables.show(bench_table(network))
    ratio = "kn2row / im2col 1.000 in speed, geometric mean of 2 layers; below 1 in 1, worst 0.33 (b)"
    assert f"net: {ratio}" in capsys.readouterr().out


def slow(row: Row, rounds: int, offered: float | None = None) -> Row:
    """The row with so many slow rounds of 11, as earlier versions have it unless it is told what the cores offered."""
    figures = {"n": 11, "repeated": 33, "slow": rounds}
    return {**row, "rounds": figures if offered is None else {**figures, "offered": offered}}


OURS, THEIRS = timed("b", 1, 0.004, 0, algorithm="direct"), timed("b", 1, 0.002, None, peer="onednn")
QUIET = [timed("a", 3, 0.001, 0, algorithm="direct"), timed("a", 3, 0.002, None, peer="onednn")]
UNLIKE = "2.000 in speed, geometric mean of 1 layer; below 1 in 0, worst 2.00 (a); 1 layer left out, not measured alike"
MEAN = "1.000 in speed, geometric mean of 2 layers"
BELOW = "below 1 in 1, worst 0.50 (b)"


@pytest.mark.parametrize(
    ("ours", "theirs", "ratio", "is_marked", "has_winner"),
    [
        (OURS, THEIRS, f"{MEAN}; {BELOW}", False, True),
        (slow(OURS, 11), THEIRS, UNLIKE, True, False),  # of an earlier file, which knows no more than that
        (slow(OURS, 11, 0.45), THEIRS, UNLIKE, True, False),  # it may be faster
        (slow(OURS, 11, 0.8), THEIRS, UNLIKE, True, True),  # it cannot be
        (slow(OURS, 11, 0.5), slow(THEIRS, 11, 0.85), UNLIKE, True, True),
        (slow(OURS, 11, 0.5), slow(THEIRS, 11, 0.48), f"~{MEAN}; 1 of them in slow rounds (~); {BELOW}", True, True),
        (slow(OURS, 1), THEIRS, f"~{MEAN}; 1 of them in slow rounds (~); {BELOW}", True, True),
        (OURS, slow(THEIRS, 11, 0.5), UNLIKE, False, True),  # the slower rounds made it the fastest all the same
    ],
)
def test_ratios_are_of_times_that_were_measured_alike(
    ours: Row, theirs: Row, ratio: str, is_marked: bool, has_winner: bool, capsys: Capture
) -> None:
    tables.show(bench_table([*QUIET, ours, theirs]))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"net: our best / best peer {ratio}" in lines
    (mix,) = (line for line in lines if "best mix" in line)
    assert ("~7.00 ms" in mix) == is_marked
    (times,) = (line for line in lines if line.startswith("b "))
    assert ("* " in times) == has_winner
    assert ("1 layer without *: a time of slower rounds might be the fastest" in lines) != has_winner


def test_the_best_of_several_must_be_known(capsys: Capture) -> None:
    """Where another peer may be the best one, our ratio to the best is not known."""
    other = slow(timed("b", 1, 0.0025, None, peer="openvino"), 11, 0.5)
    tables.show(bench_table([*QUIET, OURS, THEIRS, other]))
    assert f"net: our best / best peer {UNLIKE}" in capsys.readouterr().out


def test_sums_without_a_layer_that_nobody_computes(capsys: Capture) -> None:
    """As a model's layers that are no convolution here; what one contestant alone cannot do leaves it without a sum."""
    nobody = {"status": "rejected", "reason": "3-D"}
    network = [
        *(timed(name, 1, 0.004, algorithm="direct") for name in ("a", "b")),
        timed("c", 1, 9.0, algorithm="direct", **nobody),
        timed("c", 1, 9.0, peer="onednn", **nobody),
    ]
    alone = [timed("a", 1, 0.002, peer="onednn", source="x"), timed("a", 1, 0.001, algorithm="direct", source="x")]
    tables.show(bench_table([*network, *alone]))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "net: sum of 2 of 3 layers, ms 8.00 n/a" in lines
    assert "net: best mix 8.00 ms, peak workspace 0 B; layers: direct 2" in lines
    assert not [line for line in lines if line.startswith("net: best peer")]
    ratio = "our best / best peer 2.000 in speed, geometric mean of 1 layer; below 1 in 0, worst 2.00 (a)"
    assert f"all layers: {ratio}" in lines


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00000412, "0.00412"),
        (0.0000000999, "0.0000999"),
        (0.0000123, "0.0123"),
        (0.000999, "0.999"),
        (0.0009999, "1.00"),
        (0.001234, "1.23"),
        (0.01234, "12.3"),
        (0.1234, "123"),
        (1.234, "1234"),
    ],
)
def test_milliseconds(seconds: float, text: str) -> None:
    assert tables.milliseconds(seconds) == text

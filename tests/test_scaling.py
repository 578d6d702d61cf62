"""Several threads against one: what is measured, the figures of a row, the command."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tvmconv import cli
from tvmconv.bench.plan import Setting
from tvmconv.bench.scaling import ScalingBench, trials
from tvmconv.cli.scripts import arguments as scripts
from tvmconv.cli.scripts.scaling import scaling_table
from tvmconv.measure.comparable import Timed
from tvmconv.measure.interleaved import Best, Rules
from tvmconv.report.tables import show
from tvmconv.target import targets
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

CPUS = sorted(os.sched_getaffinity(0))
SMALL = "ic8ih6oc20kh3ph1"

Capture = pytest.CaptureFixture[str]


def test_what_is_measured() -> None:
    """Large layers, each shape once, by every algorithm that takes it."""
    texts = ("ic64ih56oc64kh3ph1", "ic64ih56oc64kh3ph1", "ic256ih56oc64kh1", SMALL)
    layers = [*(Layer(text, ConvShape.parse(text)) for text in texts), Layer("?", None, reason="is no layer")]
    found = {str(trial.shape): [*trial.kernels] for trial in trials(layers, Setting(targets.native()))}
    assert found == {
        str(ConvShape.parse("ic64ih56oc64kh3ph1")): ["direct", "indirect"],
        str(ConvShape.parse("ic256ih56oc64kh1")): ["direct", "indirect", "gemm"],
    }


def test_a_kernel_that_was_not_built_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmconv.bench.scaling.LEAST_FLOPS", 0)
    setting = Setting(targets.native(), cpus=(CPUS[0],))
    (trial,) = trials([Layer(SMALL, ConvShape.parse(SMALL))], setting)
    files = {request: ValueError("out of registers") for request in trial.kernels.values()}
    found = ScalingBench(setting, Rules(), Best()).row(trial, files, lambda done, wanted: None)
    assert (found["status"], found["reason"], found["ratio"]) == ("error", "the build failed: out of registers", None)


@pytest.mark.skipif(len(CPUS) < 2, reason="there is one CPU")
def test_the_command(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmconv.bench.scaling.LEAST_FLOPS", 0)
    call = [SMALL, "--threads", "2", "--samples", "2", "--max-time", "0.5", "--json"]
    assert cli.main(call, scripts.parse_scaling) == 0
    context, row = map(json.loads, capsys.readouterr().out.splitlines())
    seconds = {name: found["median"] for name, found in row["seconds"].items()}
    assert [*seconds] == ["direct.1", "direct.2", "indirect.1", "indirect.2"]
    fastest = {
        threads: min(("direct", "indirect"), key=lambda name: seconds[f"{name}.{threads}"]) for threads in (1, 2)
    }
    assert (row["alone"], row["algorithm"]) == (fastest[1], fastest[2])
    assert row["ratio"] == pytest.approx(seconds[f"{row['alone']}.1"] / seconds[f"{row['algorithm']}.2"])
    assert row["peak_gflops"] >= context["peak_gflops"] > 1

    show(scaling_table([row], bound=1.9))
    table = capsys.readouterr().out
    assert f"geometric mean {row['ratio']:.3f} of 1 layers" in table


@pytest.mark.parametrize(
    ("offered", "alike"),
    [
        ((1.0, 1.0, 1.0, 1.0), True),
        ((1.0, 0.5, 1.0, 1.0), False),  # of direct on all threads
        ((1.0, 1.0, 1.0, 0.5), False),  # of indirect on all threads, which may be the fastest
        ((0.5, 0.5, 0.5, 0.5), True),
    ],
)
def test_a_ratio_of_times_that_were_not_measured_alike_is_marked(
    offered: tuple[float, ...], alike: bool, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{name}.{threads}" for name in ("direct", "indirect") for threads in (1, 2)]
    times = dict(zip(names, map(Timed, (0.004, 0.002, 0.005, 0.0025), offered), strict=True))
    monkeypatch.setattr("tvmconv.bench.scaling.LEAST_FLOPS", 0)
    monkeypatch.setattr(ScalingBench, "measured", lambda self, row, *asked: {**row, **asked[2](times)})
    setting = Setting(targets.native(), threads=2, cpus=tuple(CPUS[:2]))
    (trial,) = trials([Layer(SMALL, ConvShape.parse(SMALL))], setting)
    files = {request: Path() for request in trial.kernels.values()}
    row = ScalingBench(setting, Rules(), Best()).row(trial, files, lambda done, wanted: None)
    assert (row["alike"], row["ratio"]) == (alike, 2.0)
    row |= {"status": "ok", "rounds": {"n": 8, "slow": 2}, "flops": 1e6, "peak_gflops": 1.0}
    row |= {"seconds": {name: {"median": time.seconds} for name, time in times.items()}}
    show(scaling_table([row], bound=2.0))
    out = capsys.readouterr().out
    assert ("~2.00" in out) != alike
    assert ("geometric mean 2.000 of 1 layers, none measured alike" in out) != alike


def test_more_threads_than_cpus(capsys: Capture) -> None:
    assert cli.main([SMALL, "--threads", "1000"], scripts.parse_scaling) == 2
    assert "--threads 1000 needs as many CPUs" in capsys.readouterr().err

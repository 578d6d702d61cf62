"""Probes of cores."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tvmconv.measure import probe
from tvmconv.target.dtype import FLOAT32
from tvmconv.target.isa import AVX2, AVX512, SSE4, Isa
from tvmconv.target.targets import host_features, native

pytestmark = pytest.mark.alone


def runnable(isa: Isa) -> Any:
    missing = not host_features().issuperset(isa.features)
    return pytest.param(isa, id=isa.name, marks=pytest.mark.skipif(missing, reason=f"this CPU has no {isa.name}"))


@pytest.mark.parametrize("isa", [runnable(isa) for isa in (SSE4, AVX2, AVX512)])
def test_probe_measures_vectors(isa: Isa) -> None:
    """The clock is unknown, but a scalar loop or one that spills is under half of one vector's FMA a nanosecond."""
    for measure_speed in (probe.fma_peak, probe.tile_speed):
        best = max(measure_speed(isa) for _ in range(10))
        assert isa.lanes(FLOAT32) < best < 100 * isa.lanes(FLOAT32)


def test_probe_may_be_compiled_by_several_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        assert all(peak > 1 for peak in pool.map(probe.fma_peak, [SSE4] * 3))
    assert len([*(tmp_path / "tvmconv").glob("probe-*.so")]) == 1
    assert not list((tmp_path / "tvmconv").glob(".probe-*"))


def test_evicted_memory_is_read_more_slowly() -> None:
    source, isa = np.ones(1 << 15), native().isa

    def seconds(cold: bool) -> float:
        if cold:
            probe.evict(isa, source.ctypes.data, source.nbytes)
        return probe.seconds_of(source.sum)

    warm, cold = (min(seconds(cold) for _ in range(50)) for cold in (False, True))
    assert cold > 1.2 * warm

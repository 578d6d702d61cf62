"""Probes of a device's cores: the loops of native/probe.c, uploaded and timed there."""

from __future__ import annotations

import math
from typing import Any

from tvmconv.measure import probe
from tvmconv.rpc.client.session import DeviceSession
from tvmconv.target.targets import Target

_SECONDS = 0.002  # of a probe
_FIRST_FLOPS = 2_000_000  # of the first run of a loop: a millisecond of a slow core


class DeviceProbe:
    """The probes of one instruction set, on all threads of a pool at once."""

    def __init__(self, session: DeviceSession, target: Target, threads: int) -> None:
        """Raises ValueError for an instruction set that has no probe."""
        triple = target.triple.replace("-unknown-", "-")
        self._module = session.module(probe.compiled(target.isa, triple))
        self._device, self._threads = session.device, threads
        self._pool = session.pool(threads) if threads > 1 else 0
        self._flops = probe.flops_of_round(target.isa)
        self._per_second = {loop: self._first(loop) for loop in self._flops}

    def fma_peak(self) -> float:
        """GFLOP/s of independent multiply-adds, all threads together."""
        return self._gflops("fma")

    def tile_speed(self) -> float:
        """GFLOP/s of a matrix product's inner loop in the first-level cache; all threads as slow as the slowest."""
        return self._gflops("tile")

    def _first(self, loop: str) -> float:
        """Rounds a second of one thread."""
        rounds = max(1, _FIRST_FLOPS // self._flops[loop])
        return rounds / self._time(loop, rounds)

    def _gflops(self, loop: str) -> float:
        rounds = max(1, math.ceil(_SECONDS * self._per_second[loop]))
        return rounds * self._flops[loop] * self._threads / self._time(loop, rounds) / 1e9

    def _time(self, loop: str, rounds: int) -> float:
        """Seconds on the device's clock; TVM runs it once before, which brings the clock rate up."""
        evaluator: Any = self._module.time_evaluator(f"tvmconv_probe_{loop}", self._device, number=1, repeat=1)
        return max(1e-9, float(evaluator(rounds, self._pool, self._threads).mean))

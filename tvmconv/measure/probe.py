"""Probes of cores: the peak of multiply-adds, a small matrix product; and a way to empty caches."""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tvmconv.native.toolchain import library
from tvmconv.target.dtype import FLOAT32
from tvmconv.target.isa import Isa

# Two accumulators a row, of which more are needed than latency × units (4 × 2 on all of today's cores).
_ROWS = {16: 6, 32: 12}  # by the number of registers
_DEPTH = 128  # as in the C file
_FIRST_FLOPS = 10_000_000  # of the first run: a fraction of a millisecond
_WARM_UP = 0.1  # share of the time that is spent before the clock starts: vectors this wide change the clock rate


def fma_peak(isa: Isa, seconds: float = 0.002) -> float:
    """GFLOP/s of independent f32 multiply-adds on the core that runs this, measured in about `seconds`.

    A multiply-add counts 2, also where the instruction set needs two instructions for it. The first call for an
    instruction set compiles the loops, unless the cache has them.
    """
    return _load(isa).fma.gflops(seconds)


def tile_speed(isa: Isa, seconds: float = 0.002) -> float:
    """GFLOP/s of a matrix product's inner loop in the first-level cache: what kernels do, at its very best.

    It suffers, as they do and as registers alone do not, when another thread shares the core's caches and decoders.
    """
    return _load(isa).tile.gflops(seconds)


class Cores:
    """Probes on each of several CPUs, at once. With one it is the caller's, wherever that runs."""

    def __init__(self, cpus: Sequence[int]) -> None:
        self._threads = [
            ThreadPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, [cpu]))
            for cpu in (cpus if len(cpus) > 1 else ())
        ]

    def fma_peak(self, isa: Isa) -> float:
        """GFLOP/s of all cores together, as fma_peak measures them."""
        return sum(self._each(functools.partial(fma_peak, isa)))

    def tile_speed(self, isa: Isa) -> float:
        """GFLOP/s as tile_speed measures them, all counted as slow as the slowest, which decides when all is done."""
        speeds = self._each(functools.partial(tile_speed, isa))
        return len(speeds) * min(speeds)

    def _each(self, measure: Callable[[], float]) -> list[float]:
        if not self._threads:
            return [measure()]
        return [speed.result() for speed in [thread.submit(measure) for thread in self._threads]]


def evict(isa: Isa, address: int, size: int) -> None:
    """Drop `size` bytes at `address` from every cache."""
    if size:
        _load(isa).library.tvmconv_probe_evict(ctypes.c_void_p(address), ctypes.c_long(size))


def seconds_of(run: Callable[[], object]) -> float:
    """The time that one call of `run` takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class _Loop:
    """A compiled loop that does so many operations in a round, and how fast it was when it was loaded."""

    def __init__(self, function: Callable[[ctypes.c_long], object], flops_per_round: int) -> None:
        self._function, self._flops_per_round = function, flops_per_round
        rounds = max(1, _FIRST_FLOPS // flops_per_round)
        self._rounds_per_second = rounds / min(self._run(rounds) for _ in range(3))

    def gflops(self, seconds: float) -> float:
        rounds = max(1, int(seconds * self._rounds_per_second))
        self._run(max(1, int(rounds * _WARM_UP)))
        return rounds * self._flops_per_round / self._run(rounds) / 1e9

    def _run(self, rounds: int) -> float:
        """Seconds in which the thread had its core: what others had of it does not make the core slower."""
        start = time.thread_time()
        self._function(ctypes.c_long(rounds))
        return time.thread_time() - start


def compiled(isa: Isa, triple: str | None = None) -> Path:
    """The library for one instruction set and zig's triple, by default this machine's."""
    flags = (*isa.probe_flags, f"-DVECTOR_BYTES={isa.vector_bytes}", f"-DROWS={_ROWS[isa.registers]}")
    return library("probe.c", isa.name, *flags, triple=triple)


def flops_of_round(isa: Isa) -> dict[str, int]:
    """Floating-point operations of one round of each loop, by the end of its function's name."""
    fma = 2 * 2 * _ROWS[isa.registers] * isa.lanes(FLOAT32)
    return {"fma": fma, "tile": fma * _DEPTH}


class _Probe:
    """The library for one instruction set."""

    def __init__(self, path: Path, isa: Isa) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.tvmconv_probe_evict.restype = None
        self.library.tvmconv_probe_fma.restype = self.library.tvmconv_probe_tile.restype = ctypes.c_float
        flops = flops_of_round(isa)
        self.fma = _Loop(self.library.tvmconv_probe_fma, flops["fma"])
        self.tile = _Loop(self.library.tvmconv_probe_tile, flops["tile"])


@functools.cache
def _load(isa: Isa) -> _Probe:
    return _Probe(compiled(isa), isa)

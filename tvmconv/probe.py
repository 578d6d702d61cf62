"""What this core can do right now: its f32 multiply-add peak, its copying bandwidth; and a way to empty its caches."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tvmconv.link import NATIVE, cache, zig
from tvmconv.target import Isa

_SOURCE = NATIVE / "probe.c"
# What the compiler needs to know to use an instruction set's vectors; by the names of target.py.
_FLAGS = {
    "sse4": ("-target", "x86_64-linux-gnu", "-msse4.2"),
    "avx2": ("-target", "x86_64-linux-gnu", "-mavx2", "-mfma"),
    "avx512": ("-target", "x86_64-linux-gnu", "-mavx512f"),
}
_COMPILE = (
    *("-O2", "-ffp-contract=fast", "-std=gnu11", "-Wall", "-Wextra", "-Werror"),
    *("-shared", "-fPIC", "-nostdlib", "-fno-sanitize=all", "-fno-stack-protector"),
)
# Beside the accumulators two operands are live. More than latency × units (4 × 2 on all of today's cores) are needed.
_OPERANDS = 2
_MOST_ACCUMULATORS = 24
_WARM_UP = 0.1  # share of the time that is spent before the clock starts: vectors this wide change the clock rate


def fma_peak(isa: Isa, seconds: float = 0.002) -> float:
    """GFLOP/s of independent f32 multiply-adds on the core that runs this, measured in about `seconds`.

    A multiply-add counts 2, also where the instruction set needs two instructions for it. The first call for an
    instruction set compiles the loop, unless the cache has it. Raises ValueError for one that has no probe.
    """
    probe = _load(isa)
    rounds = max(1, int(seconds * probe.rounds_per_second))
    probe.seconds(max(1, int(rounds * _WARM_UP)))
    return rounds * probe.flops_per_round / probe.seconds(rounds) / 1e9


def memcpy_bandwidth(size: int, seconds: float = 0.01) -> float:
    """GB/s at which libc copies `size` bytes from one array to another, again and again; each byte counts once.

    Both arrays stay where they are, so small ones are copied from cache to cache. The best of several copies counts.
    Below 100 kB a call from Python costs more than the copy.
    """
    source, destination = (ctypes.create_string_buffer(size) for _ in range(2))
    ctypes.memset(source, 1, size)  # else all its pages are the same page of zeros
    copy = functools.partial(ctypes.memmove, destination, source, size)
    copy()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        best = min(best, _seconds(copy))
    return size / best / 1e9


def evict(isa: Isa, address: int, size: int) -> None:
    """Drop `size` bytes at `address` from every cache."""
    if size:
        _load(isa).library.tvmconv_probe_evict(ctypes.c_void_p(address), ctypes.c_long(size))


class _Probe:
    """The compiled loop for one instruction set, and how fast it was when it was loaded."""

    def __init__(self, path: Path, flops_per_round: int) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.tvmconv_probe_fma.restype = ctypes.c_float
        self.library.tvmconv_probe_evict.restype = None
        self.flops_per_round = flops_per_round
        rounds = 20_000  # a fraction of a millisecond
        self.rounds_per_second = rounds / min(self.seconds(rounds) for _ in range(3))

    def seconds(self, rounds: int) -> float:
        return _seconds(functools.partial(self.library.tvmconv_probe_fma, ctypes.c_long(rounds)))


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@functools.cache
def _load(isa: Isa) -> _Probe:
    if isa.name not in _FLAGS:
        raise ValueError(f"the peak of {isa.name} cannot be measured (known: {', '.join(_FLAGS)})")
    accumulators = min(_MOST_ACCUMULATORS, isa.registers - _OPERANDS)
    flags = (*_FLAGS[isa.name], f"-DVECTOR_BYTES={isa.vector_bytes}", f"-DACCUMULATORS={accumulators}")
    key = hashlib.sha256(_SOURCE.read_bytes() + repr(flags).encode()).hexdigest()[:16]
    path = cache() / f"probe-{isa.name}-{key}.so"
    if not path.exists():
        _compile(flags, path)
    return _Probe(path, flops_per_round=2 * accumulators * isa.lanes)


def _compile(flags: tuple[str, ...], path: Path) -> None:
    """The library appears by rename: two processes may do this at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".probe-") as folder:
        library = Path(folder) / path.name
        zig(*_COMPILE, *flags, "-o", library, _SOURCE)
        os.replace(library, path)

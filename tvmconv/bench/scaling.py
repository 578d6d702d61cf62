"""Measures thread scaling: each layer's best kernel on all threads against the best on one, interleaved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tvmconv.algorithms import algorithm
from tvmconv.bench.comparison import Contest
from tvmconv.bench.plan import Setting, blank_row, finished
from tvmconv.compiler.builder import Request
from tvmconv.database.rows import Row
from tvmconv.measure.comparable import Timed, are_alike, is_fastest
from tvmconv.measure.entries import Entry, KernelEntry
from tvmconv.measure.peers.runner import Runner
from tvmconv.verify.reference import Case
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

# Operations of a layer that is worth several threads.
LEAST_FLOPS = 50e6
_ALGORITHMS = ("direct", "indirect", "gemm")

# What a row adds to others, None as long as it is not known.
_FIGURES: Row = dict.fromkeys(("seconds", "rounds", "flops", "peak_gflops", "alone", "ratio", "alike"))


@dataclass(frozen=True)
class OnThreads:
    """An entry on a number of threads of its own."""

    entry: Entry
    threads: int

    @property
    def tolerance(self) -> float:
        return self.entry.tolerance

    def start(self, shape: ConvShape, case: Case, threads: int) -> Runner:
        return self.entry.start(shape, case, self.threads)


@dataclass(frozen=True)
class Trial:
    """A layer, and its kernels by algorithm."""

    layer: Layer
    shape: ConvShape
    kernels: Mapping[str, Request]


def trials(layers: Iterable[Layer], setting: Setting) -> Iterator[Trial]:
    """Each distinct layer of at least LEAST_FLOPS by every algorithm that takes it."""
    seen: set[ConvShape] = set()
    for layer in layers:
        shape = layer.shape
        if shape is None or layer.reason or shape in seen or shape.flops < LEAST_FLOPS:
            continue
        seen.add(shape)
        names = [name for name in _ALGORITHMS if not algorithm(name).rejects(shape)]
        yield Trial(layer, shape, {name: setting.request(shape, name) for name in names})


class ScalingBench(Contest):
    """Measures thread scaling."""

    def row(self, trial: Trial, files: Mapping[Request, Path | Exception], progress: Callable[[int, int], None]) -> Row:
        """The layer's best algorithm on all threads, and `ratio`: the best time on one to its; `alone` is whose.

        `alike`: whether both are known to be the best, and were measured alike.
        """
        row = {**blank_row(trial.layer, self.setting, algorithm="auto"), **_FIGURES}
        entries: dict[str, Entry] = {}
        for name, request in trial.kernels.items():
            file = files[request]
            if isinstance(file, Exception):
                return finished(row, "error", f"the build failed: {file}")
            for threads in (1, self.setting.threads):
                entries[f"{name}.{threads}"] = OnThreads(KernelEntry(file), threads)

        def figures(times: Mapping[str, Timed]) -> Row:
            on_one, on_all = (
                {name: times[f"{name}.{threads}"] for name in trial.kernels} for threads in (1, self.setting.threads)
            )
            alone, together = (min(own, key=lambda name: own[name].seconds) for own in (on_one, on_all))
            known = is_fastest(on_one[alone], on_one.values()) and is_fastest(on_all[together], on_all.values())
            return {
                "algorithm": together,
                "tile": str(trial.kernels[together].tile),
                "alone": alone,
                "ratio": on_one[alone].seconds / on_all[together].seconds,
                "alike": known and are_alike(on_one[alone], on_all[together]),
            }

        return self.measured(row, trial.shape, entries, figures, progress)

"""Measures the indirect paper's claim: faster than im2row, and level with gemm on 1x1 kernels.

All that is timed for a layer has the same register tile, and runs in one interleaved measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tvmconv.algorithms import algorithm
from tvmconv.bench.comparison import Contest
from tvmconv.bench.plan import Setting, blank_row, finished
from tvmconv.compiler.builder import Request
from tvmconv.database.rows import Row
from tvmconv.measure.baselines import MemcpyEntry, PatchesEntry, patch_bytes, product_shape
from tvmconv.measure.comparable import Timed, are_alike
from tvmconv.measure.entries import Entry, KernelEntry
from tvmconv.target.tile import Tile
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

# Layers of 1x1 kernels and stride 1: a network made of them, and the widest of resnet50.
POINTWISE = ("squeezenet1.1", "ic256ih56oc64kh1", "ic512ih28oc128kh1", "ic1024ih14oc256kh1", "ic2048ih7oc512kh1")

# What a claim's row adds to others, None as long as it is not known; behind `alike` all that is about im2row alone.
_FIGURES: Row = dict.fromkeys(
    (
        *("rival", "seconds", "rounds", "flops", "peak_gflops", "ratio", "alike"),
        *("run_peak_fraction", "gemm_peak_fraction", "patch_bytes", "copy_gb_per_s", "memcpy_gb_per_s", "copy_share"),
    )
)


@dataclass(frozen=True)
class Claim:
    """indirect against its rival on one layer; the kernels by name, MR and NR the same in all of them."""

    layer: Layer
    shape: ConvShape
    rival: str
    tile: Tile
    kernels: Mapping[str, Request]

    def entries(self, files: Mapping[Request, Path | Exception]) -> dict[str, Entry]:
        """The entries to time, by name. Raises the exception of a kernel that could not be built."""
        paths = {name: _built(files[request]) for name, request in self.kernels.items()}
        if self.rival == "gemm":
            return {name: KernelEntry(path) for name, path in paths.items()}
        return {
            "indirect": KernelEntry(paths["indirect"]),
            "im2row": KernelEntry(paths["im2row"]),
            "im2row.copy": KernelEntry(paths["im2row"], phase="copy"),
            "im2row.run": KernelEntry(paths["im2row"], phase="run"),
            "gemm": PatchesEntry(paths["gemm"]),
            "memcpy": MemcpyEntry(patch_bytes(self.shape)),
        }


def _built(file: Path | Exception) -> Path:
    if isinstance(file, Exception):
        raise file
    return file


def claims(spatial: Iterable[Layer], pointwise: Iterable[Layer], setting: Setting) -> list[Claim]:
    """indirect against im2row on `spatial` where there is more than one tap, against gemm on `pointwise` where it fits.

    Each shape once; those with groups or several images are left out.
    """
    gemm = algorithm("gemm")
    patched = [_claim(layer, shape, "im2row", setting) for shape, layer in _distinct(spatial) if shape.taps > 1]
    plain = [_claim(layer, shape, "gemm", setting) for shape, layer in _distinct(pointwise) if not gemm.rejects(shape)]
    return patched + plain


def _distinct(layers: Iterable[Layer]) -> Iterable[tuple[ConvShape, Layer]]:
    """The first layer of each shape that is one matrix product."""
    first: dict[ConvShape, Layer] = {}
    for layer in layers:
        if layer.shape and not layer.reason and (layer.shape.g, layer.shape.mb) == (1, 1):
            first.setdefault(layer.shape, layer)
    return first.items()


def _claim(layer: Layer, shape: ConvShape, rival: str, setting: Setting) -> Claim:
    """A task with indirect's default register tile."""
    problems = {"indirect": shape, "gemm": product_shape(shape)} | ({} if rival == "gemm" else {rival: shape})
    chosen = setting.request(shape, "indirect").tile
    assert chosen
    tile = Tile(chosen.mr, chosen.nr)
    same_tile = replace(setting, tile=tile)
    kernels = {name: same_tile.request(problem, name) for name, problem in problems.items()}
    return Claim(layer, shape, rival, tile, kernels)


class ClaimBench(Contest):
    """Measures claims."""

    def row(self, claim: Claim, files: Mapping[Request, Path | Exception], progress: Callable[[int, int], None]) -> Row:
        """The claim with its times, or with what kept it from having them."""
        row = {
            **blank_row(claim.layer, self.setting, algorithm="indirect"),
            **_FIGURES,
            "tile": str(claim.tile),
            "rival": claim.rival,
        }
        try:
            entries = claim.entries(files)
        except Exception as error:
            return finished(row, "error", f"the build failed: {error}")

        def figures(times: Mapping[str, Timed]) -> Row:
            return _figures(claim, times, self.best.peak_gflops)

        return self.measured(row, claim.shape, entries, figures, progress)


def _figures(claim: Claim, times: Mapping[str, Timed], peak_gflops: float) -> Row:
    seconds = {name: found.seconds for name, found in times.items()}
    ratio = {
        "ratio": seconds[claim.rival] / seconds["indirect"],
        "alike": are_alike(times[claim.rival], times["indirect"]),
    }
    if claim.rival == "gemm":
        return ratio
    flops, size = claim.shape.flops, patch_bytes(claim.shape)
    return {
        **ratio,
        "run_peak_fraction": flops / seconds["im2row.run"] / 1e9 / peak_gflops,
        "gemm_peak_fraction": flops / seconds["gemm"] / 1e9 / peak_gflops,
        "patch_bytes": size,
        "copy_gb_per_s": size / seconds["im2row.copy"] / 1e9,
        "memcpy_gb_per_s": size / seconds["memcpy"] / 1e9,
        "copy_share": seconds["memcpy"] / seconds["im2row.copy"],
    }


def mean_ratio(rows: Sequence[Row]) -> float:
    """The geometric mean of the rows' ratios. NaN of no row at all."""
    ratios = [row["ratio"] for row in rows]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def mean_in_words(rows: Sequence[Row]) -> str:
    """The mean ratio; where not all of them are of two times that were measured alike, also the mean of those."""
    own = [row for row in rows if row["alike"]]
    mean = f"geometric mean {mean_ratio(rows):.3f} of {len(rows)} layers"
    if len(own) == len(rows):
        return mean
    return f"{mean}, {mean_ratio(own):.3f} of the {len(own)} measured alike" if own else f"{mean}, none measured alike"

"""The indirect paper's claim, measured: without the copy of im2row, and no slower than gemm where there is none.

Per layer everything has the same register tile and runs in one interleaved measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tvmconv.algorithms import algorithm
from tvmconv.builder import Request
from tvmconv.contestant import Entry, KernelEntry
from tvmconv.measure import Best, Measurement, Rules, measure
from tvmconv.plan import Setting, blank_row, finished
from tvmconv.record import Row
from tvmconv.reference import integer_case
from tvmconv.tile import Tile
from tvmconv.workload import Layer, resolve
from tvmconv.yardsticks import MemcpyEntry, PatchesEntry, patch_bytes, product_shape

_SEED = 20190704

# Where the kernel is 1x1: a network made of them, and the bottlenecks' largest of ResNet-50.
_POINTWISE = (
    "squeezenet1.1",
    "ic256ih56oc64kh1",
    "ic512ih28oc128kh1",
    "ic1024ih14oc256kh1",
    "ic2048ih7oc512kh1",
)

# What a row of either kind adds, None where it was not measured.
_FIGURES: Row = dict.fromkeys(
    (
        *("seconds", "rounds", "flops", "peak_gflops", "ratio", "patch_bytes", "copy_gb_per_s", "memcpy_gb_per_s"),
        *("copy_share", "product_peak_fraction", "gemm_peak_fraction"),
    )
)


@dataclass(frozen=True)
class Comparison:
    """indirect and its rival on one layer: the kernels by the names of their algorithms, all with one register tile."""

    layer: Layer
    rival: str
    kernels: Mapping[str, Request]

    @property
    def tile(self) -> str:
        """MRxNR."""
        tile = self.kernels["indirect"].tile
        assert tile
        return f"{tile.mr}x{tile.nr}"

    def entries(self, files: Mapping[Request, Path]) -> dict[str, Entry]:
        """What is timed, by name."""
        paths = {name: files[request] for name, request in self.kernels.items()}
        if self.rival == "gemm":
            return {name: KernelEntry(path) for name, path in paths.items()}
        assert self.layer.shape
        return {
            "indirect": KernelEntry(paths["indirect"]),
            "im2row": KernelEntry(paths["im2row"]),
            "im2row.copy": KernelEntry(paths["im2row"], phase="copy"),
            "im2row.run": KernelEntry(paths["im2row"], phase="run"),
            "gemm": PatchesEntry(paths["gemm"]),
            "memcpy": MemcpyEntry(patch_bytes(self.layer.shape)),
        }


def comparisons(networks: Sequence[str], setting: Setting, warn: Callable[[str], None]) -> list[Comparison]:
    """indirect against im2row on the networks' distinct layers of larger kernels, then against gemm on 1x1 of stride 1.

    The latter are the networks' own and some more. Layers with groups are left out. Raises ValueError for a network
    that is unknown.
    """
    own = resolve(networks, warn)
    spatial = [layer for layer in own if layer.shape and layer.shape.g == 1 and layer.shape.taps > 1]
    pointwise = [layer for layer in [*own, *resolve(_POINTWISE, warn)] if _is_product(layer)]
    return [
        *(_against_im2row(layer, setting) for layer in _distinct(spatial)),
        *(_against_gemm(layer, setting) for layer in _distinct(pointwise)),
    ]


def _is_product(layer: Layer) -> bool:
    return layer.shape is not None and layer.shape.g == 1 and algorithm("gemm").rejects(layer.shape) is None


def _distinct(layers: Iterable[Layer]) -> Iterable[Layer]:
    """The first layer of each shape."""
    return {layer.shape: layer for layer in reversed([*layers])}.values().__reversed__()


def _against_im2row(layer: Layer, setting: Setting) -> Comparison:
    assert layer.shape
    indirect, tile = _indirect(layer, setting)
    product = product_shape(layer.shape)
    im2row = Request(layer.shape, "im2row", setting.target.name, setting.schedule, tile).check()
    gemm = Request(product, "gemm", setting.target.name, setting.schedule, tile).check()
    return Comparison(layer, "im2row", {"indirect": indirect, "im2row": im2row, "gemm": gemm})

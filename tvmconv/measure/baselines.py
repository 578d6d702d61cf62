"""Baselines for the two halves of im2row: gemm on given patches, and a copy of as many bytes."""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvmconv.measure.entries import KernelEntry
from tvmconv.measure.peers.runner import Runner
from tvmconv.runtime.arrays import aligned
from tvmconv.verify.reference import Array, Case
from tvmconv.workload.shape import ConvShape


def product_shape(shape: ConvShape) -> ConvShape:
    """The 1x1 convolution whose input is the patch matrix of an ungrouped `shape`: the same matrix product, the same y.

    Raises ValueError for a shape with groups, which is more than one product.
    """
    if shape.g != 1:
        raise ValueError(f"{shape} has groups: as a matrix product it is {shape.g} of them; take a layer with g1")
    return ConvShape(
        mb=shape.mb, ic=shape.k, ih=shape.oh, iw=shape.ow, oc=shape.oc, oh=shape.oh, ow=shape.ow, kh=1, kw=1
    )


def patch_bytes(shape: ConvShape) -> int:
    """Bytes of the patch matrix of one image, float32."""
    return 4 * shape.m * shape.k


@dataclass(frozen=True)
class PatchesEntry:
    """A gemm kernel for `product_shape`, given the patches of the layer's input as its own."""

    path: Path
    tolerance: float = 0.0

    def start(self, shape: ConvShape, case: Case, threads: int) -> Runner:
        weights = case.w.transpose(0, 2, 3, 1).reshape(shape.oc, shape.k, 1, 1)
        given = replace(case, x=patches(case.x, shape), w=weights)
        return KernelEntry(self.path).start(product_shape(shape), given, threads)


def patches(x: Array, shape: ConvShape) -> Array:
    """The patch matrix of `x` as an NHWC image (mb, oh, ow, kh·kw·ic); the taps are outermost in a pixel."""
    extents = (1 + (shape.kh - 1) * (shape.dh + 1), 1 + (shape.kw - 1) * (shape.dw + 1))
    padding = ((0, 0), (shape.ph, max(0, shape.pb)), (shape.pw, max(0, shape.pr)), (0, 0))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, padding), extents, axis=(1, 2))
    pixels = windows[:, :: shape.sh, :: shape.sw][:, : shape.oh, : shape.ow]
    taps = pixels[..., :: shape.dh + 1, :: shape.dw + 1]  # n, oh, ow, ic, kh, kw
    matrix: Array = taps.transpose(0, 1, 2, 4, 5, 3).reshape(shape.mb, shape.oh, shape.ow, shape.k)
    return matrix


@dataclass(frozen=True)
class MemcpyEntry:
    """libc, copying `size` bytes from one array to another. Its y is right as long as the copy is one."""

    size: int
    tolerance: float = 0.0

    def start(self, shape: ConvShape, case: Case, threads: int) -> Runner:
        return _Memcpy(self.size, case.fused)


class _Memcpy:
    layout = "bytes"

    def __init__(self, size: int, y: Array) -> None:
        self.version = " ".join(platform.libc_ver())
        self._size, self._y = size, y
        self._source, self._copy = aligned(size), aligned(size)
        self._source.fill(1)
        self._pointers = (self._copy.ctypes.data, self._source.ctypes.data)

    def run(self) -> None:
        ctypes.memmove(*self._pointers, self._size)

    def poison_output(self) -> None:
        self._copy.fill(0)

    def y(self) -> NDArray[np.float32]:
        return self._y if np.array_equal(self._copy, self._source) else np.full_like(self._y, np.nan)

    def memory(self) -> list[tuple[int, int]]:
        return [(pointer, self._size) for pointer in self._pointers]

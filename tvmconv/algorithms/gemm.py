"""gemm: 1x1 kernels of stride 1 without padding, for which the input itself is the matrix.

    for n, pixel, oc:
        y[n, pixel, oc] = bias[oc] + Σ over ic of x[n, pixel, ic] · w[oc, ic]

Schedule: one matrix product, without extra memory. In NHWC the rows of the matrix are the pixels of all images, and a
register tile holds MR pixels by NR channels. In NCHW the rows are the channels of an image, and a register tile holds
output channels by vectors of pixels.
"""

from __future__ import annotations

from typing import Any

from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.gemm_nchw import Taps, pixel_product, product_program
from tvmconv.algorithms.microkernel.gemm_nhwc import MatrixView, matrix_product, row_addresses
from tvmconv.algorithms.microkernel.packing import PackedLayout, pack_function
from tvmconv.algorithms.microkernel.pixel_vectors import PixelView
from tvmconv.algorithms.microkernel.program import Program, no_preparation
from tvmconv.target.tile import NchwTile, Tile
from tvmconv.workload.shape import ConvShape


def why_not_gemm(shape: ConvShape) -> str | None:
    """Why the input itself is not the matrix, or None."""
    if shape.depthwise:
        return "gemm does not suit depthwise: one channel a group leaves no matrix product; use direct"
    if (shape.kh, shape.kw, shape.sh, shape.sw) != (1, 1, 1, 1):
        return "gemm takes 1x1 kernels of stride 1 alone; use another algorithm, such as direct"
    if any((shape.ph, shape.pw, shape.pb, shape.pr)):
        return "gemm takes no padding; use another algorithm, such as direct"
    return None


class Gemm(Algorithm):
    """No workspace. The images of a batch are the rows of one matrix."""

    name = "gemm"
    layout = "nhwc"
    summary = "the input itself is the matrix: 1x1, stride 1, no padding"

    def rejects(self, shape: ConvShape) -> str | None:
        return why_not_gemm(shape)

    def view(self, shape: ConvShape, tile: Tile) -> MatrixView:
        layout = PackedLayout(shape.g, shape.ocg, 1, shape.icg, tile, self.dtype)
        return MatrixView(1, shape.mb * shape.m, layout, shape.ic)

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        from tvm.script import tirx as T

        view, element = self.view(shape, tile), self.dtype.bytes

        def pixel(x: Any, workspace: Any, n: Any, g: Any, m: Any, tap: Any) -> Any:
            return x + T.cast(m, "int64") * (shape.ic * element) + T.cast(g, "int64") * (shape.icg * element)

        return Program(
            dtype=self.dtype,
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": no_preparation(self.dtype),
                "run": matrix_product("run", view, row_addresses(view, pixel)),
            },
            phases=(view.partition.phase("run"),),
            images=1,
            packed_bytes=view.layout.bytes,
        )


class GemmNchw(Algorithm):
    """No workspace."""

    name = "gemm"
    layout = "nchw"
    summary = Gemm.summary

    def rejects(self, shape: ConvShape) -> str | None:
        return why_not_gemm(shape)

    def view(self, shape: ConvShape, tile: Tile) -> PixelView:
        sizes = NchwTile.of(tile)
        layout = PackedLayout(shape.g, shape.ocg, 1, shape.icg, sizes, self.dtype)
        return PixelView(shape, layout, sizes, in_blocks=True)

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view = self.view(shape, tile)
        return product_program(shape, view, pixel_product("run", view, Taps.ALL, steps=view.layout.k_blocks))

"""im2row and im2col: every patch is copied into a matrix, then one GEMM. The baseline of both papers.

    for n:
        for oh, ow, (r, s), ic:
            patches[(oh, ow), (r, s), ic] = x[n, oh·SH + r·DH − PH, ow·SW + s·DW − PW, ic], or 0 in the padding
        for pixel, oc:
            y[n, pixel, oc] = bias[oc] + Σ over k = (r, s), ic of patches[pixel, k] · w[oc, k]

Schedule: the matrix is built for one image at a time, so that memory does not grow with the batch. A patch is a row of
it in NHWC (im2row), a column in NCHW (im2col). Where gemm applies, the copy is skipped.
"""

from __future__ import annotations

from typing import Any

from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.gemm import Gemm, GemmNchw, why_not_gemm
from tvmconv.algorithms.microkernel.gemm_nchw import Taps, pixel_product, product_program
from tvmconv.algorithms.microkernel.gemm_nhwc import MatrixView, matrix_product, row_addresses
from tvmconv.algorithms.microkernel.packing import PackedLayout, pack_function
from tvmconv.algorithms.microkernel.pixel_vectors import PixelView
from tvmconv.algorithms.microkernel.program import Phase, Program, constant, no_preparation, phase_function
from tvmconv.target.dtype import DType
from tvmconv.target.tile import NchwTile, Tile
from tvmconv.workload.shape import ConvShape


class Im2row(Algorithm):
    """Workspace: patches[OH·OW][taps][IC] of one image."""

    name = "im2row"
    layout = "nhwc"
    summary = "copies every patch into a matrix, then one GEMM; skips the copy where gemm applies"

    def rejects(self, shape: ConvShape) -> str | None:
        if shape.depthwise:
            return "im2row does not suit depthwise: one channel a group leaves no matrix product; use direct"
        return None

    def view(self, shape: ConvShape, tile: Tile) -> MatrixView:
        """An ungrouped patch is one long row; with groups each tap's channels of a group are apart."""
        if why_not_gemm(shape) is None:
            return Gemm(self.dtype).view(shape, tile)
        taps, channels = (1, shape.k) if shape.g == 1 else (shape.taps, shape.icg)
        layout = PackedLayout(shape.g, shape.ocg, taps, channels, tile, self.dtype)
        return MatrixView(1, shape.m, layout, shape.taps * shape.ic)

    def memory(self, shape: ConvShape, tile: Tile) -> dict[str, int]:
        if why_not_gemm(shape) is None:
            return {}
        return {"patches": shape.m * shape.taps * shape.ic * self.dtype.bytes}

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        from tvm.script import tirx as T

        if why_not_gemm(shape) is None:
            return Gemm(self.dtype).module(shape, tile)
        view, element = self.view(shape, tile), self.dtype.bytes

        def patch(x: Any, workspace: Any, n: Any, g: Any, m: Any, tap: Any) -> Any:
            start = workspace + T.cast(m, "int64") * (shape.taps * shape.ic * element)
            return start + T.cast(tap, "int64") * (shape.ic * element) + T.cast(g, "int64") * (shape.icg * element)

        return Program(
            dtype=self.dtype,
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": no_preparation(self.dtype),
                "copy": copy_patches(shape, self.dtype),
                "run": matrix_product("run", view, row_addresses(view, patch)),
            },
            phases=(Phase("copy", shape.oh), view.partition.phase("run")),
            images=shape.mb,
            packed_bytes=view.layout.bytes,
            memory=self.memory(shape, tile),
        )


def copy_patches(shape: ConvShape, dtype: DType) -> Any:
    """The phase that fills rows first … last−1 of output pixels' patches; padding becomes zeros.

    Without dilation the columns of a patch's row lie together in x, so they are copied in one run.
    """
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    POINTER, ZERO = PointerType(PrimType(dtype.storage)), constant(0, dtype.storage)
    IH, IW, IC, OH, OW = shape.ih, shape.iw, shape.ic, shape.oh, shape.ow
    KH, DH, DW = shape.kh, shape.dh + 1, shape.dw + 1
    # A patch's row as RUNS runs of WIDTH pixels that lie together.
    RUNS, WIDTH = (1, shape.kw) if DW == 1 else (shape.kw, 1)
    IMAGE = IH * IW * IC * dtype.bytes

    @T.inline
    def copy(x, operand, packed, y, workspace, address, image, first, last):
        patches = T.decl_buffer((OH * OW, KH, RUNS, WIDTH * IC), dtype.storage, data=workspace, align=dtype.bytes)
        start: T.let = T.reinterpret(POINTER, x + T.cast(image, "int64") * IMAGE)
        X = T.decl_buffer((IH, IW * IC), dtype.storage, data=start, align=dtype.bytes)
        for rows, ow, r, s in T.grid(last - first, OW, KH, RUNS):
            with T.sblock("patch_row"):
                oh = T.axis.spatial(OH, first + rows)
                vow, vr, vs = T.axis.remap("SSS", [ow, r, s])
                T.reads()
                T.writes()
                m: T.let[T.int32] = oh * OW + vow
                h: T.let[T.int32] = oh * shape.sh - shape.ph + vr * DH
                w: T.let[T.int32] = vow * shape.sw - shape.pw + vs * DW
                inside: T.let[T.bool] = T.And(h >= 0, h < IH)
                left: T.let[T.int32] = T.Select(inside, T.min(T.max(-w, 0), WIDTH), WIDTH) * IC
                right: T.let[T.int32] = T.max(T.Select(inside, T.max(T.min(IW - w, WIDTH), 0), 0) * IC, left)
                if right - left == WIDTH * IC:  # of constant length, so that short runs become vector moves
                    for c in range(WIDTH * IC):
                        patches[m, vr, vs, c] = X[h, w * IC + c]
                else:
                    for c in range(left):
                        patches[m, vr, vs, c] = ZERO
                    for c in range(right - left):
                        patches[m, vr, vs, left + c] = X[h, w * IC + left + c]
                    for c in range(WIDTH * IC - right):
                        patches[m, vr, vs, right + c] = ZERO

    return phase_function("copy", copy, dtype)


class Im2col(Algorithm):
    """Workspace: patches[groups][taps][IC of a group][OH·OW] of one image."""

    name = "im2col"
    layout = "nchw"
    summary = "copies every patch into a matrix, then one GEMM; skips the copy where gemm applies"

    def rejects(self, shape: ConvShape) -> str | None:
        if shape.depthwise:
            return "im2col does not suit depthwise: one channel a group leaves no matrix product; use direct"
        return None

    def view(self, shape: ConvShape, tile: Tile) -> PixelView:
        """The matrix as an image of one row, of which every element of a patch is a channel."""
        if why_not_gemm(shape) is None:
            return GemmNchw(self.dtype).view(shape, tile)
        matrix = ConvShape(
            g=shape.g, mb=shape.mb, ic=shape.taps * shape.ic, ih=1, iw=shape.m,
            oc=shape.oc, oh=1, ow=shape.m, kh=1, kw=1,
        )  # fmt: skip
        sizes = NchwTile.of(tile)
        layout = PackedLayout(shape.g, shape.ocg, 1, shape.taps * shape.icg, sizes, self.dtype)
        return PixelView(matrix, layout, sizes, in_blocks=True)

    def memory(self, shape: ConvShape, tile: Tile) -> dict[str, int]:
        if why_not_gemm(shape) is None:
            return {}
        return {"patches": shape.m * shape.taps * shape.ic * self.dtype.bytes}

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        if why_not_gemm(shape) is None:
            return GemmNchw(self.dtype).module(shape, tile)
        view = self.view(shape, tile)
        product = pixel_product("run", view, Taps.ALL, steps=view.layout.k_blocks, from_workspace=True)
        copy = copy_columns(shape, view.layout.k_blocks, self.dtype)
        phases = (Phase("copy", shape.g * view.layout.kc),)
        return product_program(shape, view, product, {"copy": copy}, phases, self.memory(shape, tile))


def copy_columns(shape: ConvShape, steps: int, dtype: DType) -> Any:
    """The phase that fills rows first … last−1 of a block of K of all groups: what one tap reads of one channel.

    Padding becomes zeros; without a stride along the width a row's inside is copied in one run.
    """
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    POINTER, ZERO = PointerType(PrimType(dtype.storage)), constant(0, dtype.storage)
    IH, IW, ICG, OH, OW, K = shape.ih, shape.iw, shape.icg, shape.oh, shape.ow, shape.taps * shape.icg
    KC = K // steps
    KW, SH, SW, DH, DW = shape.kw, shape.sh, shape.sw, shape.dh + 1, shape.dw + 1

    @T.inline
    def copy(x, operand, packed, y, workspace, address, image, first, last):
        patches = T.decl_buffer((shape.g * K, OH, OW), dtype.storage, data=workspace, align=dtype.bytes)
        start: T.let = T.reinterpret(POINTER, x + T.cast(image // steps, "int64") * (shape.ic * IH * IW * dtype.bytes))
        X = T.decl_buffer((shape.ic, IH, IW), dtype.storage, data=start, align=dtype.bytes)
        for row, oh in T.grid(last - first, OH):
            with T.sblock("patch_row"):
                u = T.axis.spatial(shape.g * KC, first + row)
                voh = T.axis.spatial(OH, oh)
                T.reads()
                T.writes()
                g: T.let[T.int32] = u // KC
                k: T.let[T.int32] = image % steps * KC + u % KC
                channel: T.let[T.int32] = g * ICG + k % ICG
                h: T.let[T.int32] = voh * SH - shape.ph + k // ICG // KW * DH
                dx: T.let[T.int32] = k // ICG % KW * DW - shape.pw
                inside: T.let[T.bool] = T.And(h >= 0, h < IH)
                left: T.let[T.int32] = T.Select(inside, T.min(T.max((SW - 1 - dx) // SW, 0), OW), OW)
                right: T.let[T.int32] = T.max(T.Select(inside, T.max(T.min((IW + SW - 1 - dx) // SW, OW), 0), 0), left)
                for w in range(left):
                    patches[g * K + k, voh, w] = ZERO
                for w in range(right - left):
                    patches[g * K + k, voh, left + w] = X[channel, h, (left + w) * SW + dx]
                for w in range(OW - right):
                    patches[g * K + k, voh, right + w] = ZERO

    return phase_function("copy", copy, dtype)

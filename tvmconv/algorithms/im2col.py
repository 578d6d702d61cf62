"""im2row: every patch is copied into a matrix, then one GEMM. The baseline of both papers.

The matrix is built for one image at a time. Where gemm applies, the copy is skipped.
"""

from __future__ import annotations

from typing import Any

from tvmconv.algorithms.gemm import Gemm
from tvmconv.algorithms.ir import BYTES, Algorithm, Phase, Program, no_preparation, phase_function
from tvmconv.algorithms.matrix import MatrixView, matrix_product
from tvmconv.algorithms.packing import PackedLayout, pack_function
from tvmconv.shape import ConvShape
from tvmconv.tile import Tile


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
        if Gemm().rejects(shape) is None:
            return Gemm().view(shape, tile)
        taps, channels = (1, shape.k) if shape.g == 1 else (shape.taps, shape.icg)
        return MatrixView(1, shape.m, PackedLayout(shape.g, shape.ocg, taps, channels, tile))

    def memory(self, shape: ConvShape, tile: Tile) -> dict[str, int]:
        if Gemm().rejects(shape) is None:
            return {}
        return {"patches": shape.m * shape.taps * shape.ic * BYTES}

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        from tvm.script import tirx as T

        if Gemm().rejects(shape) is None:
            return Gemm().module(shape, tile)
        view = self.view(shape, tile)
        MR, M = tile.mr, view.m
        ROW, TAP, GROUP = shape.taps * shape.ic * BYTES, shape.ic * BYTES, shape.icg * BYTES

        @T.inline
        def rows(row, x, workspace, address, n, g, rt, t):
            for i in range(MR):
                with T.sblock("rows"):
                    vi, vt = T.axis.remap("SS", [i, t])
                    T.reads()
                    T.writes(row[vi])
                    m: T.let[T.int32] = T.min(rt * MR + vi, M - 1)
                    row[vi] = (
                        address + T.cast(m, "int64") * ROW + T.cast(vt, "int64") * TAP + T.cast(g, "int64") * GROUP
                    )

        return Program(
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": no_preparation(),
                "copy": copy_patches(shape),
                "run": matrix_product("run", view, rows),
            },
            phases=(Phase("copy", shape.oh), Phase("run", view.units)),
            images=shape.mb,
            packed_bytes=view.layout.elements * BYTES,
            memory=self.memory(shape, tile),
        )


def copy_patches(shape: ConvShape) -> Any:
    """The phase that fills rows first … last−1 of output pixels' patches; padding becomes zeros.

    Without dilation the columns of a patch's row lie together in x, so they are copied in one run.
    """
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    F32 = PointerType(PrimType("float32"))
    IH, IW, IC, OH, OW = shape.ih, shape.iw, shape.ic, shape.oh, shape.ow
    KH, DH, DW = shape.kh, shape.dh + 1, shape.dw + 1
    # A patch's row as RUNS runs of WIDTH pixels that lie together.
    RUNS, WIDTH = (1, shape.kw) if DW == 1 else (shape.kw, 1)
    IMAGE = IH * IW * IC * BYTES

    @T.inline
    def copy(x, operand, packed, y, workspace, address, image, first, last):
        patches = T.decl_buffer((OH * OW, KH, RUNS, WIDTH * IC), "float32", data=workspace, align=4)
        start: T.let[T.handle("float32")] = T.reinterpret(F32, x + T.cast(image, "int64") * IMAGE)
        X = T.decl_buffer((IH, IW * IC), "float32", data=start, align=4)
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
                        patches[m, vr, vs, c] = T.float32(0)
                    for c in range(right - left):
                        patches[m, vr, vs, left + c] = X[h, w * IC + left + c]
                    for c in range(WIDTH * IC - right):
                        patches[m, vr, vs, right + c] = T.float32(0)

    return phase_function("copy", copy)

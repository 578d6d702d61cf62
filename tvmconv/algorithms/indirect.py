"""Indirect convolution: GEMM whose rows are found through a buffer of indices.

    once for a workspace:
        for pixel, (r, s):
            index[pixel, (r, s)] = the pixel of x that tap (r, s) of the output pixel reads, or −1 in the padding
    for n, pixel, oc:
        y[n, pixel, oc] = bias[oc]
        for (r, s):
            row = x[n, index[pixel, (r, s)]], or the zero vector for −1
            y[n, pixel, oc] += Σ over ic of row[ic] · w[oc, ic, r, s]

M. Dukhan, "The Indirect Convolution Algorithm", 2019 (arXiv 1907.02129), sections 3.1 and 3.2; the order of the buffer
is XNNPACK's. The buffer depends on the shape alone: it is built once and is valid for every input, wherever it lies.

Schedule: the GEMM of im2row without its matrix. For each tap a register tile looks up the addresses of its MR rows,
once, before its loop over channels.
"""

from __future__ import annotations

from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.gemm_nhwc import MatrixView, matrix_product
from tvmconv.algorithms.microkernel.packing import PackedLayout, pack_function
from tvmconv.algorithms.microkernel.program import INDEX_BYTES, PLAIN_C, Program, constant
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape


class Indirect(Algorithm):
    """Workspace: a zero vector of IC elements (of one group), then indices[row tile][tap][MR], int32.

    An index is a pixel of one image, or −1 for a pixel of the padding, which stands for the zero vector. Rows past the
    last output pixel repeat it.
    """

    name = "indirect"
    layout = "nhwc"
    summary = "GEMM whose rows are found through an indirection buffer (Dukhan 2019)"

    def rejects(self, shape: ConvShape) -> str | None:
        if shape.depthwise:
            return (
                "indirect convolution does not suit depthwise: one channel a group leaves no matrix product; use direct"
            )
        return None

    def view(self, shape: ConvShape, tile: Tile) -> MatrixView:
        return MatrixView(shape.mb, shape.m, PackedLayout(shape.g, shape.ocg, shape.taps, shape.icg, tile, self.dtype))

    def memory(self, shape: ConvShape, tile: Tile) -> dict[str, int]:
        return {
            "zero_vector": self._zero_bytes(shape),
            "indirection": shape.taps * self.view(shape, tile).tiles * tile.mr * INDEX_BYTES,
        }

    def _zero_bytes(self, shape: ConvShape) -> int:
        """Bytes of the zero vector; the indices follow it."""
        return -(-shape.icg * self.dtype.bytes // INDEX_BYTES) * INDEX_BYTES

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        from tvm.script import tirx as T

        view, D = self.view(shape, tile), self.dtype
        RT, TAPS, MR = view.tiles, shape.taps, tile.mr
        M, ICG, OW = shape.m, shape.icg, shape.ow
        PIXEL, IMAGE = shape.ic * D.bytes, shape.ih * shape.iw * shape.ic * D.bytes
        INDICES, ZERO = self._zero_bytes(shape) // INDEX_BYTES, constant(0, D.storage)
        DH, DW = shape.dh + 1, shape.dw + 1

        @T.prim_func(s_tir=True)
        def prepare(workspace: T.handle(D.storage), words: T.handle("int32")):
            T.func_attr({"global_symbol": "prepare", "tirx.noalias": True, "calling_conv": PLAIN_C})
            zero = T.decl_buffer((ICG,), D.storage, data=workspace, align=D.bytes)
            indices = T.decl_buffer((RT, TAPS, MR), "int32", data=words, elem_offset=INDICES, align=INDEX_BYTES)
            for c in range(ICG):
                with T.sblock("zero_vector"):
                    vc = T.axis.spatial(ICG, c)
                    zero[vc] = ZERO
            for it, t, i in T.grid(RT, TAPS, MR):
                with T.sblock("indirection"):
                    vit, vt, vi = T.axis.remap("SSS", [it, t, i])
                    m: T.let[T.int32] = T.min(vit * MR + vi, M - 1)
                    h: T.let[T.int32] = m // OW * shape.sh - shape.ph + vt // shape.kw * DH
                    w: T.let[T.int32] = m % OW * shape.sw - shape.pw + vt % shape.kw * DW
                    inside: T.let[T.bool] = T.And(T.And(h >= 0, h < shape.ih), T.And(w >= 0, w < shape.iw))
                    indices[vit, vt, vi] = T.Select(inside, h * shape.iw + w, -1)

        @T.inline
        def rows(row, x, workspace, address, n, g, rt, t):
            indices = T.decl_buffer((RT, TAPS, MR), "int32", data=workspace, elem_offset=INDICES, align=INDEX_BYTES)
            for i in range(MR):
                with T.sblock("rows"):
                    vi, vt = T.axis.remap("SS", [i, t])
                    T.reads()
                    T.writes(row[vi])
                    pixel: T.let[T.int64] = T.cast(indices[rt, vt, vi], "int64")
                    start: T.let[T.int64] = x + T.cast(n, "int64") * IMAGE + T.cast(g, "int64") * (ICG * D.bytes)
                    row[vi] = T.Select(pixel < 0, address, start + pixel * PIXEL)

        return Program(
            dtype=self.dtype,
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": prepare,
                "run": matrix_product("run", view, rows),
            },
            phases=(view.partition.phase("run"),),
            images=1,
            packed_bytes=view.layout.bytes,
            memory=self.memory(shape, tile),
        )

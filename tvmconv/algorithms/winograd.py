"""Winograd convolution F(2x2, 3x3): 16 multiplications for four outputs of a 3x3 kernel, where the definition has 36.

    once for the weights:
        for oc, ic:
            u[place, ic, oc] = (G w[oc, ic] Gᵀ)[place]        16 places
    for n, patch, of 4x4 pixels, 2 apart:
        v[place, ic] = (Bᵀ x[n, patch, ic] B)[place]
        m[place, oc] = Σ over ic of v[place, ic] · u[place, ic, oc]
        y[n, the patch's 2x2 outputs, oc] = bias[oc] + Aᵀ m[:, oc] A

A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015 (arXiv 1509.09308), sections 4.1 and 5.1.
For integers that are small enough all of it is exact, as G has halves alone; else rounding errors are those of sums
that are larger than the result, but shorter.

Schedule: the patches of an image in bands of MC (whole rows of them), so that a band's transformed patches and products
stay in the cache between the three phases; for each place one matrix product with the patches of the band as rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add, sub
from typing import Any

from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.gemm_nhwc import MatrixView, matrix_product, row_addresses
from tvmconv.algorithms.microkernel.packed_buffers import packed_buffers
from tvmconv.algorithms.microkernel.packing import PackedLayout, pack_function
from tvmconv.algorithms.microkernel.program import ON_STACK, Phase, Program, constant, no_preparation
from tvmconv.algorithms.patches import PATCH, PLACES, STEP, Patches, patch_phase
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

# Patches of a band: as few as amortise what a band costs, and more where its weights come from beyond L2.
_NEAR, _FAR = 56, 112
_TASKS = 8  # of a transform of a band: a patch takes a fraction of a microsecond, about as long as to take a task
Matrix = tuple[tuple[int, ...], ...]
# Section 4.1: weights are transformed by G, pixels by Bᵀ, products by Aᵀ.
_G = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
_BT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_AT = ((1, 1, 1, 0), (0, 1, -1, -1))


class Winograd(Algorithm):
    """Workspace, of one band: products[16][patches][OC], transformed patches[16][patches][IC]."""

    name = "winograd"
    layout = "nhwc"
    summary = "4 multiplications in the place of 9, for 3x3 kernels of stride 1 (Lavin 2015)"

    def rejects(self, shape: ConvShape) -> str | None:
        if (shape.kh, shape.kw, shape.sh, shape.sw, shape.dh, shape.dw) != (3, 3, 1, 1, 0, 0):
            return (
                "winograd takes 3x3 kernels of stride 1 without dilation alone; use another algorithm, such as direct"
            )
        if shape.g > 1:
            return "winograd takes no groups; use another algorithm, such as direct"
        return None

    def view(self, shape: ConvShape, tile: Tile) -> MatrixView:
        layout = PackedLayout(1, shape.oc, 1, shape.ic, tile, self.dtype, zeros=shape.ic, planes=PLACES)
        return MatrixView(PLACES, Patches.of(shape, tile.mc).count, layout, shape.ic)

    def work(self, shape: ConvShape, tile: Tile) -> float:
        """Micro-kernel calls of all places and bands."""
        return self.view(shape, tile).tiles * PLACES * Patches.of(shape, tile.mc).bands

    def band(self, shape: ConvShape, l2: int) -> int:
        """Patches of a band: whole rows of them, in bands of about equal size."""
        weights = PLACES * shape.ic * shape.oc * self.dtype.bytes
        return Patches.of(shape, _NEAR if 2 * weights <= l2 else _FAR).count

    def row_blocks(self, shape: ConvShape, tile: Tile) -> tuple[int, int]:
        """Patches; whole rows of them."""
        image = Patches.of(shape, 0)
        return image.count, image.columns

    def memory(self, shape: ConvShape, tile: Tile) -> dict[str, int]:
        rows = Patches.of(shape, tile.mc).plane_rows
        return {"products": rows * shape.oc * self.dtype.bytes, "patches": rows * shape.ic * self.dtype.bytes}

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view, patches = self.view(shape, tile), Patches.of(shape, tile.mc)
        return Program(
            dtype=self.dtype,
            functions={
                "pack": pack_function(shape, view.layout, transformed_weight),
                "prepare": no_preparation(self.dtype),
                "input": input_transform(shape, patches, view.layout),
                "product": matrix_product(
                    "product", view, patch_rows(shape, patches, view), True, patches.plane_stride
                ),
                "output": output_transform(shape, patches, view.layout),
            },
            phases=(
                Phase("input", patches.count, _TASKS),
                view.partition.phase("product"),
                Phase("output", patches.count, _TASKS),
            ),
            images=shape.mb * patches.bands,
            packed_bytes=view.layout.bytes,
            memory=self.memory(shape, tile),
        )


def transformed_weight(weights: Any, place: Any, channel: Any, oc: Any) -> Any:
    """G g Gᵀ at a place, of one channel and output channel."""
    from tvm.script import tirx as T

    zero = constant(0, weights.dtype)

    def factor(row: Any, tap: int) -> Any:
        """G[row][tap], where row is TIR."""
        chosen = constant(_G[-1][tap], weights.dtype)
        for number in reversed(range(PATCH - 1)):
            chosen = T.Select(row == number, constant(_G[number][tap], weights.dtype), chosen)
        return chosen

    def row(r: int) -> Any:
        """The taps of a row, with the factors of the place's column."""
        return sum(
            (factor(place % PATCH, s) * weights[oc, channel, r, s] for s in range(3)), constant(0, weights.dtype)
        )

    return sum((factor(place // PATCH, r) * row(r) for r in range(3)), zero)


def transform(matrix: Matrix, v: Any, result: Any, index: Callable[[Any, int], list[Any]]) -> None:
    """Emits result[index(i, j)] = (matrix · v · matrixᵀ)[i, j], where v and result are buffers, v of 4x4 vectors."""
    from tvm.script import tirx as T

    half = T.alloc_buffer((len(matrix), PATCH), v.dtype, scope="local", annotations=ON_STACK)
    with T.unroll(PATCH) as j:
        for i, row in enumerate(matrix):
            T.buffer_store(half, combined(row, [v[k, j] for k in range(PATCH)]), [i, j])
    with T.unroll(len(matrix)) as i:
        for j, row in enumerate(matrix):
            T.buffer_store(result, combined(row, [half[i, k] for k in range(PATCH)]), index(i, j))


def combined(factors: tuple[int, ...], values: list[Any]) -> Any:
    """The sum of values by factors of 1, 0 and −1, as TIR; those added come first, so that none is negated."""
    added = [value for factor, value in zip(factors, values, strict=True) if factor > 0]
    subtracted = [value for factor, value in zip(factors, values, strict=True) if factor < 0]
    return reduce(sub, subtracted, reduce(add, added))


def patch_rows(shape: ConvShape, patches: Patches, view: MatrixView) -> Any:
    """A macro for matrix_product: the rows of place n are the transformed patches of a band."""
    from tvm.script import tirx as T

    before = patches.plane_rows * shape.oc  # elements: the products
    element = view.layout.dtype.bytes

    def patch(x: Any, workspace: Any, n: Any, g: Any, m: Any, tap: Any) -> Any:
        return workspace + T.cast((n % PLACES * patches.plane_stride + m) * shape.ic + before, "int64") * element

    return row_addresses(view, patch)


def input_transform(shape: ConvShape, patches: Patches, layout: PackedLayout[Tile]) -> Any:
    """The phase that transforms patches of pixels: Bᵀ d B. Pixels outside the image are zeros."""
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    IH, IW, IC, PH, PW = shape.ih, shape.iw, shape.ic, shape.ph, shape.pw
    D = layout.dtype
    ZEROS = layout.zeros_offset * D.bytes
    POINTER = PointerType(PrimType(D.storage))

    def row_of(i: Any, j: int, m: Any) -> Any:
        """The row of place (i, j) of patch m."""
        return (i * PATCH + j) * patches.plane_stride + m

    @T.inline
    def transform_patch(x, operand, packed, y, workspace, m, n, oh, ow):
        transformed = T.decl_buffer(
            (patches.plane_rows * IC,),
            D.storage,
            data=workspace,
            elem_offset=patches.plane_rows * shape.oc,
            align=D.bytes,
        )
        pixel = T.alloc_buffer((PLACES,), "int64", scope="local", annotations=ON_STACK)
        start: T.let[T.int64] = x + T.cast(n, "int64") * (IH * IW * IC * D.bytes)
        for i, j in T.grid(PATCH, PATCH):
            h: T.let[T.int32] = oh - PH + i
            w: T.let[T.int32] = ow - PW + j
            inside: T.let[T.bool] = T.And(T.And(h >= 0, h < IH), T.And(w >= 0, w < IW))
            there: T.let[T.int64] = start + T.cast(h * IW + w, "int64") * (IC * D.bytes)
            pixel[i * PATCH + j] = T.Select(inside, there, operand + ZEROS)

        @T.inline
        def transform_channels(lanes, channel):
            d = T.alloc_buffer((PATCH, PATCH), f"{D.accumulator}x{lanes}", scope="local", annotations=ON_STACK)
            for k in T.unroll(PLACES):
                data: T.let = T.reinterpret(POINTER, pixel[k])
                A = T.decl_buffer((IC,), D.storage, data=data, align=D.bytes)
                d[k // PATCH, k % PATCH] = A[vector(channel, lanes)]
            transform(
                _BT,
                d,
                transformed,
                lambda i, j: [vector(((i * PATCH + j) * patches.plane_stride + m) * IC + channel, lanes)],
            )

        over_channels(IC, layout.tile.lanes, transform_channels)

    return patch_phase("input", patches, transform_patch, D, noalias=False)


def output_transform(shape: ConvShape, patches: Patches, layout: PackedLayout[Tile]) -> Any:
    """The phase that makes outputs of patches of products: Aᵀ m A, then bias and clamp."""
    from tvm.script import tirx as T

    OC, OH, OW, D = shape.oc, shape.oh, shape.ow, layout.dtype

    @T.inline
    def transform_patch(x, operand, packed, y, workspace, m, n, oh, ow):
        buffers = packed_buffers(layout, packed, flat_bias=True)
        products = T.decl_buffer((patches.plane_rows * OC,), D.storage, data=workspace, align=D.bytes)
        Y = T.decl_buffer((shape.mb * OH * OW * OC,), D.storage, data=y, align=D.bytes)

        @T.inline
        def transform_channels(lanes, channel):
            p = T.alloc_buffer((PATCH, PATCH), f"{D.accumulator}x{lanes}", scope="local", annotations=ON_STACK)
            out = T.alloc_buffer((STEP, STEP), f"{D.accumulator}x{lanes}", scope="local", annotations=ON_STACK)
            for k in T.unroll(PLACES):
                p[k // PATCH, k % PATCH] = products[vector((k * patches.plane_stride + m) * OC + channel, lanes)]
            transform(_AT, p, out, lambda i, j: [i, j])
            for i in T.unroll(STEP):
                for j in T.unroll(STEP):
                    out[i, j] = T.max(
                        buffers.bounds[0], T.min(buffers.bounds[1], out[i, j] + buffers.bias[vector(channel, lanes)])
                    )
            for i in T.unroll(STEP):
                for j in T.unroll(STEP):
                    if T.And(oh + i < OH, ow + j < OW):
                        Y[vector(((n * OH + oh + i) * OW + ow + j) * OC + channel, lanes)] = out[i, j]

        over_channels(OC, layout.tile.lanes, transform_channels)

    return patch_phase("output", patches, transform_patch, D)


def vector(first: Any, lanes: int) -> Any:
    """The index of so many elements, from the first on."""
    from tvm.script import tirx as T

    return T.Ramp(first, 1, lanes) if lanes > 1 else first


def over_channels(channels: int, lanes: int, work: Any) -> None:
    """Emits loops over all channels; work(lanes, channel) is a macro for so many of them."""
    from tvm.script import tirx as T

    with T.serial(channels // lanes) as c:
        work(lanes, c * lanes)
    with T.serial(channels % lanes) as c:
        work(1, channels // lanes * lanes + c)

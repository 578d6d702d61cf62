"""Winograd convolution F(2x2, 3x3): 16 multiplications for four outputs of a 3x3 kernel, where the definition has 36.

A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015 (arXiv 1509.09308), sections 4.1 and 5.1.
Patches d of 4x4 pixels, 2 apart, are transformed to Bᵀ d B, weights once to G g Gᵀ; for each of the 16 places there is
a matrix product over the channels; the 16 results give 2x2 outputs, Aᵀ m A. For integers that are small enough all of
it is exact, as G has halves alone; else rounding errors are those of sums that are larger than the result, but shorter.

An image is worked off in bands of MC patches (whole rows of them), so that a band's transformed patches and products
stay in the cache between the three phases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.ir import BYTES, ON_STACK, Algorithm, Phase, Program, no_preparation, phase_function
from tvmconv.algorithms.matrix import MatrixView, matrix_product, row_addresses
from tvmconv.algorithms.packing import PackedLayout, pack_function
from tvmconv.shape import ConvShape
from tvmconv.tile import Tile

_PATCH, _STEP = 4, 2  # pixels in a row of a patch; of its outputs, by which patches are apart
PLACES = _PATCH * _PATCH
_TASKS = 8  # of a transform of a band: a patch takes a fraction of a microsecond, about as long as to take a task
# Rows of G: what each of the three taps contributes.
_G = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Patches:
    """The patches of an image: rows of so many columns, worked off in bands of `band` rows; the last may have fewer."""

    rows: int
    columns: int
    band: int

    @classmethod
    def of(cls, shape: ConvShape, most: int) -> Patches:
        """In bands of about equal size with at most so many patches, or a single row of them; 0 makes one band."""
        rows, columns = -(-shape.oh // _STEP), -(-shape.ow // _STEP)
        bands = -(-rows // max(1, most // columns)) if most > 0 else 1
        return cls(rows, columns, -(-rows // bands))

    @property
    def bands(self) -> int:
        return -(-self.rows // self.band)

    @property
    def count(self) -> int:
        """Of a band."""
        return self.band * self.columns

    @property
    def apart(self) -> int:
        """By how many rows a band's 16 planes are apart: an odd number, or all would need the same few sets of L1."""
        return self.count | 1

    @property
    def plane_rows(self) -> int:
        """Rows of a band's 16 planes together."""
        return PLACES * self.apart


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
        layout = PackedLayout(1, shape.oc, 1, shape.ic, tile, zeros=shape.ic, planes=PLACES)
        return MatrixView(PLACES, Patches.of(shape, tile.mc).count, layout)

    def work(self, shape: ConvShape, tile: Tile) -> float:
        """Of all places and bands."""
        return self.view(shape, tile).tiles * PLACES * Patches.of(shape, tile.mc).bands

    def row_blocks(self, shape: ConvShape, tile: Tile) -> tuple[int, int]:
        """Patches; whole rows of them."""
        image = Patches.of(shape, 0)
        return image.count, image.columns

    def memory(self, shape: ConvShape, tile: Tile) -> dict[str, int]:
        rows = Patches.of(shape, tile.mc).plane_rows
        return {"products": rows * shape.oc * BYTES, "patches": rows * shape.ic * BYTES}

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view, patches = self.view(shape, tile), Patches.of(shape, tile.mc)
        return Program(
            functions={
                "pack": pack_function(shape, view.layout, transformed_weight),
                "prepare": no_preparation(),
                "input": input_transform(shape, patches, view.layout),
                "product": matrix_product("product", view, patch_rows(shape, patches, view), True, patches.apart),
                "output": output_transform(shape, patches, view.layout),
            },
            phases=(
                Phase("input", patches.count, _TASKS),
                view.sweep.phase("product"),
                Phase("output", patches.count, _TASKS),
            ),
            images=shape.mb * patches.bands,
            packed_bytes=view.layout.elements * BYTES,
            memory=self.memory(shape, tile),
        )


def transformed_weight(weights: Any, place: Any, channel: Any, oc: Any) -> Any:
    """G g Gᵀ at a place, of one channel and output channel."""
    from tvm.script import tirx as T

    def factor(row: Any, tap: int) -> Any:
        """G[row][tap], where row is TIR."""
        chosen = T.float32(_G[-1][tap])
        for number in reversed(range(_PATCH - 1)):
            chosen = T.Select(row == number, T.float32(_G[number][tap]), chosen)
        return chosen

    def row(r: int) -> Any:
        """The taps of a row, with the factors of the place's column."""
        return sum((factor(place % _PATCH, s) * weights[oc, channel, r, s] for s in range(3)), T.float32(0))

    return sum((factor(place // _PATCH, r) * row(r) for r in range(3)), T.float32(0))


def patch_rows(shape: ConvShape, patches: Patches, view: MatrixView) -> Any:
    """A macro for matrix_product: the rows of place n are the transformed patches of a band."""
    from tvm.script import tirx as T

    before = patches.plane_rows * shape.oc  # elements: the products

    def patch(x: Any, workspace: Any, n: Any, g: Any, m: Any, tap: Any) -> Any:
        return workspace + T.cast((n % PLACES * patches.apart + m) * shape.ic + before, "int64") * BYTES

    return row_addresses(view, patch)


def input_transform(shape: ConvShape, patches: Patches, layout: PackedLayout) -> Any:
    """The phase that transforms patches first … last−1 of a band: Bᵀ d B."""
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    IH, IW, IC, L = shape.ih, shape.iw, shape.ic, layout.tile.vl
    ZEROS = layout.zeros_offset * BYTES
    F32 = PointerType(PrimType("float32"))

    def vectors(lanes: int) -> Any:
        """A macro for so many channels at once."""
        dtype = f"float32x{lanes}" if lanes > 1 else "float32"

        def some(start: Any) -> Any:
            return T.Ramp(start, 1, lanes) if lanes > 1 else start

        @T.inline
        def transform(pixel, transformed, patch, channel):
            d = T.alloc_buffer((PLACES,), dtype, scope="local", annotations=ON_STACK)
            b = T.alloc_buffer((PLACES,), dtype, scope="local", annotations=ON_STACK)
            for k in T.unroll(PLACES):
                data: T.let[T.handle("float32")] = T.reinterpret(F32, pixel[k])
                A = T.decl_buffer((IC,), "float32", data=data, align=4)
                d[k] = A[some(channel)]
            for j in T.unroll(_PATCH):
                b[j] = d[j] - d[8 + j]
                b[4 + j] = d[4 + j] + d[8 + j]
                b[8 + j] = d[8 + j] - d[4 + j]
                b[12 + j] = d[4 + j] - d[12 + j]
            for i in T.unroll(_PATCH):
                transformed[some(((i * 4) * patches.apart + patch) * IC + channel)] = b[i * 4] - b[i * 4 + 2]
                transformed[some(((i * 4 + 1) * patches.apart + patch) * IC + channel)] = b[i * 4 + 1] + b[i * 4 + 2]
                transformed[some(((i * 4 + 2) * patches.apart + patch) * IC + channel)] = b[i * 4 + 2] - b[i * 4 + 1]
                transformed[some(((i * 4 + 3) * patches.apart + patch) * IC + channel)] = b[i * 4 + 1] - b[i * 4 + 3]

        return transform

    transform, transform_one = vectors(L), vectors(1)

    @T.inline
    def body(x, operand, packed, y, workspace, address, image, first, last):
        transformed = T.decl_buffer(
            (patches.plane_rows * IC,), "float32", data=workspace, elem_offset=patches.plane_rows * shape.oc, align=4
        )
        pixel = T.alloc_buffer((PLACES,), "int64", scope="local", annotations=ON_STACK)
        for number in range(last - first):
            with T.sblock("patch"):
                m = T.axis.spatial(patches.count, first + number)
                T.reads()
                T.writes()
                row: T.let[T.int32] = image % patches.bands * patches.band + m // patches.columns
                top: T.let[T.int32] = row * _STEP - shape.ph
                left: T.let[T.int32] = m % patches.columns * _STEP - shape.pw
                start: T.let[T.int64] = x + T.cast(image // patches.bands, "int64") * (IH * IW * IC * BYTES)
                if row < patches.rows:
                    for i, j in T.grid(_PATCH, _PATCH):
                        h: T.let[T.int32] = top + i
                        w: T.let[T.int32] = left + j
                        inside: T.let[T.bool] = T.And(T.And(h >= 0, h < IH), T.And(w >= 0, w < IW))
                        there: T.let[T.int64] = start + T.cast(h * IW + w, "int64") * (IC * BYTES)
                        pixel[i * _PATCH + j] = T.Select(inside, there, operand + ZEROS)
                    for c in range(IC // L):
                        transform(pixel, transformed, m, c * L)
                    for c in range(IC % L):
                        transform_one(pixel, transformed, m, IC // L * L + c)

    return phase_function("input", body, noalias=False)


def output_transform(shape: ConvShape, patches: Patches, layout: PackedLayout) -> Any:
    """The phase that makes the outputs of patches first … last−1 of a band: Aᵀ m A, then bias and clamp."""
    from tvm.script import tirx as T

    OC, OH, OW, L = shape.oc, shape.oh, shape.ow, layout.tile.vl

    def vectors(lanes: int) -> Any:
        """A macro for so many output channels at once."""
        dtype = f"float32x{lanes}" if lanes > 1 else "float32"

        def some(start: Any) -> Any:
            return T.Ramp(start, 1, lanes) if lanes > 1 else start

        def all_of(value: Any) -> Any:
            return T.Broadcast(value, lanes) if lanes > 1 else value

        @T.inline
        def transform(products, Y, bias, bounds, patch, n, oy, ox, channel):
            p = T.alloc_buffer((PLACES,), dtype, scope="local", annotations=ON_STACK)
            a = T.alloc_buffer((2 * _PATCH,), dtype, scope="local", annotations=ON_STACK)
            out = T.alloc_buffer((_STEP * _STEP,), dtype, scope="local", annotations=ON_STACK)
            for k in T.unroll(PLACES):
                p[k] = products[some((k * patches.apart + patch) * OC + channel)]
            for j in T.unroll(_PATCH):
                a[j] = p[j] + p[4 + j] + p[8 + j]
                a[4 + j] = p[4 + j] - p[8 + j] - p[12 + j]
            for i in T.unroll(_STEP):
                out[i * 2] = a[i * 4] + a[i * 4 + 1] + a[i * 4 + 2]
                out[i * 2 + 1] = a[i * 4 + 1] - a[i * 4 + 2] - a[i * 4 + 3]
            for k in T.unroll(_STEP * _STEP):
                out[k] = T.max(all_of(bounds[0]), T.min(all_of(bounds[1]), out[k] + bias[some(channel)]))
            for i in T.unroll(_STEP):
                for j in T.unroll(_STEP):
                    if T.And(oy + i < OH, ox + j < OW):
                        Y[some(((n * OH + oy + i) * OW + ox + j) * OC + channel)] = out[i * _STEP + j]

        return transform

    transform, transform_one = vectors(L), vectors(1)

    @T.inline
    def body(x, operand, packed, y, workspace, address, image, first, last):
        bounds = T.decl_buffer((2,), "float32", data=packed, align=4)
        bias = T.decl_buffer(
            (layout.panels * layout.tile.nr,),
            "float32",
            data=packed,
            elem_offset=layout.bias_offset,
            align=4,
        )
        products = T.decl_buffer((patches.plane_rows * OC,), "float32", data=workspace, align=4)
        Y = T.decl_buffer((shape.mb * OH * OW * OC,), "float32", data=y, align=4)
        for number in range(last - first):
            with T.sblock("patch"):
                m = T.axis.spatial(patches.count, first + number)
                T.reads()
                T.writes()
                row: T.let[T.int32] = image % patches.bands * patches.band + m // patches.columns
                if row < patches.rows:
                    for c in range(OC // L):
                        transform(
                            products,
                            Y,
                            bias,
                            bounds,
                            m,
                            image // patches.bands,
                            row * _STEP,
                            m % patches.columns * _STEP,
                            c * L,
                        )
                    for c in range(OC % L):
                        transform_one(
                            products,
                            Y,
                            bias,
                            bounds,
                            m,
                            image // patches.bands,
                            row * _STEP,
                            m % patches.columns * _STEP,
                            OC // L * L + c,
                        )

    return phase_function("output", body)

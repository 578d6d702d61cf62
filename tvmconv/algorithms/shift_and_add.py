"""kn2row-as as one phase: rows of the output are finished, tap after tap, while they lie in cache.

    for n, panel of output channels, block of output rows:
        for (r, s):
            plane[oc, pixel] = Σ over ic of w[oc, ic, r, s] · x[n, ic, pixel]    for the pixels that the block reads
            y[n, oc, oh, ow] += plane[oc, (oh + r·DH − PH, ow + s·DW − PW)]     where that pixel exists

Schedule: a unit is one panel on one block of rows, with a part of the plane of its own, so that nothing waits for
another tap. At stride 1 the plane has all pixels of the tap's input rows, and is added shifted along the rows; with a
stride it has the needed pixels alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tvmconv.algorithms.microkernel.gemm_nchw import multiply_block
from tvmconv.algorithms.microkernel.packed_buffers import packed_buffers
from tvmconv.algorithms.microkernel.pixel_vectors import (
    PixelView,
    allocated_vectors,
    locate_block,
    only_reached,
    reach_block,
)
from tvmconv.algorithms.microkernel.program import ON_STACK, phase_function
from tvmconv.algorithms.microkernel.vector_ops import masked_load, masked_store, whole_vector
from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class RowBlocks:
    """The output in blocks of rows; the plane has as many rows, at stride 1 of the input's width."""

    shape: ConvShape
    view: PixelView

    @property
    def rows(self) -> int:
        """Rows of one block, of MC pixels together."""
        return max(1, min(self.shape.oh, self.view.tile.block // self.width))

    @property
    def shifted(self) -> bool:
        return (self.shape.sh, self.shape.sw) == (1, 1)

    @property
    def width(self) -> int:
        """Pixels of one row of the plane."""
        return self.shape.iw if self.shifted else self.shape.ow

    @property
    def blocks(self) -> int:
        return -(-self.shape.oh // self.rows)

    @property
    def units(self) -> int:
        return self.view.layout.groups * self.blocks * self.view.layout.panels

    @property
    def plane(self) -> int:
        """Elements of the plane of one output channel."""
        return self.shape.oh * self.width

    @property
    def products(self) -> PixelView:
        """The view of one tap's product for a block: at stride 1 every pixel of its rows, so that only rows are shifted
        later."""
        pixels = replace(self.shape, oh=self.rows)
        if self.shifted:
            pixels = replace(pixels, ow=self.shape.iw, kw=1, pw=0, dw=0)
        return replace(self.view, source=pixels)

    @property
    def sums(self) -> PixelView:
        """A block's output pixels, which read the plane along its rows."""
        along_rows = replace(self.shape, ih=self.rows, oh=self.rows, kh=1, ph=0, dh=0)
        if not self.shifted:
            along_rows = replace(along_rows, iw=self.shape.ow, kw=1, sh=1, sw=1, pw=0, dw=0)
        return replace(self.view, source=along_rows, tile=replace(self.view.tile, pixels=self.view.lanes))


def shift_and_add(blocks: RowBlocks) -> Any:
    """The phase that computes units first … last−1 of an image, panels running fastest."""
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    shape, view, products, sums = blocks.shape, blocks.view, blocks.products, blocks.sums
    layout, L, V = view.layout, view.lanes, view.vectors
    _, P, _, TAPS, KC, MR = layout.weights_shape
    OC, OCG, OH, OW, IH, IW = shape.oc, layout.oc, shape.oh, shape.ow, shape.ih, shape.iw
    R, B, PLANE, WIDTH = blocks.rows, blocks.blocks, blocks.plane, blocks.width
    ALONG_ROW = shape.kw // products.source.kw  # taps along a row that products leave to the shift
    D, SUM, SUM_BYTES = layout.dtype, layout.dtype.accumulator, layout.dtype.accumulator_bytes
    VECTOR, POINTER = f"{SUM}x{L}", PointerType(PrimType(SUM))
    locate, reach, locate_sum, reach_sum = (
        *(locate_block(products), reach_block(products)),
        *(locate_block(sums), reach_block(sums)),
    )
    multiply = multiply_block(products)

    def both(mask: Any, condition: Any) -> Any:
        """The mask, less the lanes where the condition does not hold."""
        return T.Select(T.And(mask != whole_vector(0, L), condition), whole_vector(1, L), whole_vector(0, L))

    @T.inline
    def run(x, operand, packed, y, workspace, address, image, first, last):
        buffers = packed_buffers(layout, packed, flat_bias=True)
        plane = T.decl_buffer((OC * PLANE,), SUM, data=workspace, align=SUM_BYTES)
        Y = T.decl_buffer((shape.mb * OC * OH * OW,), D.storage, data=y, align=D.bytes)
        acc = T.alloc_buffer((MR, V), VECTOR, scope="local", annotations=ON_STACK)
        column = T.alloc_buffer((V,), VECTOR, scope="local", annotations=ON_STACK)
        total = T.alloc_buffer((1,), VECTOR, scope="local", annotations=ON_STACK)
        at = allocated_vectors(products)
        for unit, tap in T.grid(last - first, TAPS):
            for t in range(products.tiles):
                with T.sblock("tile"):
                    u = T.axis.spatial(blocks.units, first + unit)
                    vtap = T.axis.spatial(TAPS, tap)
                    vt = T.axis.spatial(products.tiles, t)
                    T.reads()
                    T.writes()
                    p: T.let[T.int32] = u % P
                    g: T.let[T.int32] = u // (P * B)
                    row: T.let[T.int32] = u // P % B * R
                    base: T.let[T.int64] = (
                        x + T.cast((image * shape.ic + g * layout.channels) * IH * IW, "int64") * D.bytes
                    )
                    locate(vt, at)
                    reach(base, vtap // ALONG_ROW, row, at)
                    for v in T.unroll(V):
                        at.inside[v] = both(at.inside[v], at.oh[v] < whole_vector(OH - row, L))
                    offset: T.let[T.int64] = T.cast(((g * P + p) * TAPS + vtap) * KC, "int64")
                    multiply(acc, column, base, at, buffers.weights, offset, 0)
                    place: T.let[T.int32] = (g * OCG + p * MR) * PLANE + row * WIDTH
                    for i, v in T.grid(MR, V):
                        with T.sblock("write_back_pixels"):
                            vi, vv = T.axis.remap("SS", [i, v])
                            T.reads(acc[vi, vv], at.pixel[vv], at.inside[vv], at.reached[vv])
                            T.writes()
                            if p * MR + vi < OCG:
                                pixel: T.let[T.int32] = place + vi * PLANE + at.pixel[vv]
                                into: T.let = T.address_of(plane[pixel])
                                product = T.alloc_buffer((1,), VECTOR, scope="local", annotations=ON_STACK)
                                product[0] = only_reached(products, acc[vi, vv], at.reached[vv])
                                T.evaluate(masked_store(product[0], into, at.inside[vv], L))
            for q in range(sums.count):
                with T.sblock("sum"):
                    u = T.axis.spatial(blocks.units, first + unit)
                    vtap = T.axis.spatial(TAPS, tap)
                    vq = T.axis.spatial(sums.count, q)
                    T.reads()
                    T.writes()
                    p: T.let[T.int32] = u % P
                    g: T.let[T.int32] = u // (P * B)
                    row: T.let[T.int32] = u // P % B * R
                    channel: T.let[T.int32] = g * OCG + p * MR
                    locate_sum(vq, at)
                    base: T.let[T.int64] = address + T.cast(channel * PLANE + row * WIDTH, "int64") * SUM_BYTES
                    reach_sum(base, vtap % sums.source.kw, 0, at)
                    at.inside[0] = both(at.inside[0], at.oh[0] < whole_vector(OH - row, L))
                    at.valid[0, 0] = both(at.inside[0], at.valid[0, 0] != whole_vector(0, L))
                    for o in range(T.min(MR, OCG - p * MR)):
                        into: T.let = T.address_of(Y[((image * OC + channel + o) * OH + row) * OW + at.pixel[0]])
                        shifted: T.let = T.reinterpret(
                            POINTER, at.address[0] + T.cast(o, "int64") * (PLANE * SUM_BYTES)
                        )
                        if vtap == 0:
                            total[0] = whole_vector(buffers.bias[(g * P + p) * MR + o], L)
                        else:
                            total[0] = masked_load(SUM, into, at.inside[0], L)
                        total[0] = total[0] + masked_load(SUM, shifted, at.valid[0, 0], L)
                        if vtap == TAPS - 1:
                            total[0] = T.max(
                                whole_vector(buffers.bounds[0], L),
                                T.min(whole_vector(buffers.bounds[1], L), total[0]),
                            )
                        T.evaluate(masked_store(total[0], into, at.inside[0], L))

    return phase_function("run", run, D, noalias=False)  # the plane is read by address

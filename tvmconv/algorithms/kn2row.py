"""kn2row: a K×K convolution as K² products of 1x1 each, shifted and added, in NCHW.

    for n:
        for (r, s), oc, pixel:
            planes[(r, s), oc, pixel] = Σ over ic of w[oc, ic, r, s] · x[n, ic, pixel]
        for oc, oh, ow:
            y[n, oc, oh, ow] = bias[oc]
            for (r, s) where x[n, :, oh + r·DH − PH, ow + s·DW − PW] exists:
                y[n, oc, oh, ow] += planes[(r, s), oc, (oh + r·DH − PH, ow + s·DW − PW)]

kn2row-as has one plane, which is added to y before the next tap; kn2row-aa has none: each product adds to y itself.

Anderson, Vasudevan, Keane, Gregg, "Low-memory GEMM-based convolution algorithms for deep neural networks", 2017
(arXiv 1709.03395); Vasudevan, Anderson, Gregg, 2017 (arXiv 1704.04428). Where the paper punches holes into the input so
that a shift does not wrap at the ends of rows, lanes are masked here, and the input is never written.

Schedule: a register tile holds output channels by vectors of pixels. With a stride only the pixels that a tap needs are
multiplied, so nothing is left to be shifted. A single tap that meets no padding needs no plane.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.gemm_nchw import Taps, partition_of_step, pixel_product
from tvmconv.algorithms.microkernel.packed_buffers import packed_buffers
from tvmconv.algorithms.microkernel.packing import PackedLayout, pack_function
from tvmconv.algorithms.microkernel.pixel_vectors import (
    PixelView,
    allocated_vectors,
    locate_block,
    reach_block,
    read_vector,
)
from tvmconv.algorithms.microkernel.program import ON_STACK, Phase, Program, no_preparation, phase_function
from tvmconv.algorithms.microkernel.vector_ops import clamped, masked_store, whole_vector
from tvmconv.algorithms.shift_and_add import RowBlocks, shift_and_add
from tvmconv.target.tile import NchwTile, Tile
from tvmconv.workload.shape import ConvShape


class _Family(Algorithm):
    """Common parts of the three: weights by tap, one matrix product a tap."""

    layout = "nchw"

    def rejects(self, shape: ConvShape) -> str | None:
        if shape.depthwise:
            return f"{self.name} does not suit depthwise: one channel a group leaves no matrix product; use direct"
        return None

    def view(self, shape: ConvShape, tile: Tile) -> PixelView:
        sizes = NchwTile.of(tile)
        layout = PackedLayout(shape.g, shape.ocg, shape.taps, shape.icg, sizes, self.dtype)
        return PixelView(self.source(shape), layout, sizes, in_blocks=_one_product(shape))

    def source(self, shape: ConvShape) -> ConvShape:
        """The problem of one tap's product: at stride 1 all pixels of the input, else the pixels that the tap reads."""
        return _pixel_by_pixel(shape, shape.ih, shape.iw) if _shifted(shape) else shape

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view = self.view(shape, tile)
        parts = _single_product(view) if _one_product(shape) else self.parts(shape, view)
        return Program(
            dtype=self.dtype,
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": no_preparation(self.dtype),
                **parts.functions,
            },
            phases=parts.phases,
            images=shape.mb * parts.steps,
            packed_bytes=view.layout.bytes,
            memory=self.memory(shape, tile),
        )

    @abstractmethod
    def parts(self, shape: ConvShape, view: PixelView) -> _Parts:
        """Functions and phases for several taps, or with padding."""


@dataclass(frozen=True)
class _Parts:
    """Functions and phases by their names, run in so many steps for each image."""

    functions: Mapping[str, Any]
    phases: tuple[Phase, ...]
    steps: int = 1


def _single_product(view: PixelView) -> _Parts:
    product = pixel_product("run", view, Taps.ALL, steps=view.layout.k_blocks)
    return _Parts({"run": product}, (partition_of_step(view, Taps.ALL).phase("run"),), view.layout.k_blocks)


def _shifted(shape: ConvShape) -> bool:
    """Whether products lie where the input does, so that they are to be shifted: at stride 1."""
    return (shape.sh, shape.sw) == (1, 1)


def _one_product(shape: ConvShape) -> bool:
    """Whether one tap is all there is, no pixel of it is padding, and all of them are needed: then its product is the
    output. With a stride no others are computed."""
    everywhere = not _shifted(shape) or (shape.oh, shape.ow) == (shape.ih, shape.iw)
    return shape.taps == 1 and everywhere and not any((shape.ph, shape.pw, shape.pb > 0, shape.pr > 0))


def _pixel_by_pixel(shape: ConvShape, height: int, width: int) -> ConvShape:
    """The 1x1 convolution of so many pixels."""
    return replace(
        shape, ih=height, iw=width, oh=height, ow=width, kh=1, kw=1, sh=1, sw=1, ph=0, pw=0, dh=0, dw=0
    )  # fmt: skip


class Kn2row(_Family):
    """Workspace: planes[groups][taps][OC of a group][pixels] of one image."""

    name = "kn2row"
    summary = "the products of all taps into planes of their own, then shifted and summed"

    def memory(self, shape: ConvShape, tile: Tile) -> dict[str, int]:
        planes = shape.taps * shape.oc * self.source(shape).m
        return {} if _one_product(shape) else {"planes": planes * self.dtype.accumulator_bytes}

    def parts(self, shape: ConvShape, view: PixelView) -> _Parts:
        product = pixel_product("run", view, Taps.OF_UNIT, planes=0)
        phases = partition_of_step(view, Taps.OF_UNIT).phase("run"), Phase("add", shape.oc)
        return _Parts({"run": product, "add": add_planes(shape, view)}, phases)


class Kn2rowAs(_Family):
    """Accumulating with shifts. Workspace: plane[OC][pixels] of one image, which each tap overwrites."""

    name = "kn2row-as"
    summary = "the product of each tap into one plane, which is shifted and added before the next"

    def memory(self, shape: ConvShape, tile: Tile) -> dict[str, int]:
        plane = RowBlocks(shape, self.view(shape, tile)).plane
        return {} if _one_product(shape) else {"plane": shape.oc * plane * self.dtype.accumulator_bytes}

    def parts(self, shape: ConvShape, view: PixelView) -> _Parts:
        blocks = RowBlocks(shape, view)
        return _Parts({"run": shift_and_add(blocks)}, (Phase("run", blocks.units),))


class Kn2rowAa(_Family):
    """Accumulating all the way: each tap's product is added to the output where it belongs. No workspace."""

    name = "kn2row-aa"
    summary = "the product of each tap is accumulated straight into the shifted output"

    def source(self, shape: ConvShape) -> ConvShape:
        return shape

    def parts(self, shape: ConvShape, view: PixelView) -> _Parts:
        product = pixel_product("run", view, Taps.IN_TURN)
        return _Parts({"run": product}, (partition_of_step(view, Taps.IN_TURN).phase("run"),))


def add_planes(shape: ConvShape, products: PixelView) -> Any:
    """The phase that sums the planes of all taps, shifted, for output channels first … last−1, with bias and clamp."""
    from tvm.script import tirx as T

    TAPS, OC, OCG, M = shape.taps, shape.oc, shape.ocg, shape.m
    P, WIDTH = products.layout.panels, products.layout.tile.panel
    # With a stride the planes' pixels are the output's already.
    planes = shape if _shifted(shape) else _pixel_by_pixel(shape, shape.oh, shape.ow)
    view = PixelView(planes, products.layout, replace(products.tile, pixels=products.lanes))
    L, D = view.lanes, view.layout.dtype
    VECTOR = f"{D.accumulator}x{L}"
    locate, reach = locate_block(view), reach_block(view)

    @T.inline
    def add(x, operand, packed, y, workspace, address, image, first, last):
        buffers = packed_buffers(products.layout, packed, flat_bias=True)
        Y = T.decl_buffer((shape.mb * OC * M,), D.storage, data=y, align=D.bytes)
        total = T.alloc_buffer((1,), VECTOR, scope="local", annotations=ON_STACK)
        at = allocated_vectors(view)
        for channel, q in T.grid(last - first, view.count):
            with T.sblock("sum"):
                o = T.axis.spatial(OC, first + channel)
                vq = T.axis.spatial(view.count, q)
                T.reads()
                T.writes()
                g: T.let[T.int32] = o // OCG
                locate(vq, at)
                pointer: T.let = T.address_of(Y[(image * OC + o) * M + at.pixel[0]])
                total[0] = whole_vector(buffers.bias[g * P * WIDTH + o % OCG], L)
                for t in range(TAPS):
                    plane: T.let[T.int32] = (g * TAPS + t) * OCG + o % OCG
                    reach(address, t % planes.taps, 0, at)
                    total[0] = total[0] + read_vector(view, at, 0, plane)
                total[0] = clamped(total[0], buffers.bounds, L)
                T.evaluate(masked_store(total[0], pointer, at.inside[0], L))

    return phase_function("add", add, D)

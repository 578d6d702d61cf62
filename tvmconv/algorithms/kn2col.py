"""kn2col: each tap of the kernel is a 1x1 convolution, a GEMM on the input itself, whose result is shifted and summed.

    for n:
        for (r, s), pixel, oc:
            planes[(r, s), pixel, oc] = Σ over ic of x[n, pixel, ic] · w[oc, ic, r, s]
        for oh, ow, oc:
            y[n, oh, ow, oc] = bias[oc]
            for (r, s) where x[n, oh + r·DH − PH, ow + s·DW − PW] exists:
                y[n, oh, ow, oc] += planes[(r, s), (oh + r·DH − PH, ow + s·DW − PW), oc]

kn2col: A. Vasudevan, A. Anderson, D. Gregg, "Parallel Multi Channel Convolution using General Matrix Multiplication",
2017 (arXiv 1704.04428). kn2col-as: A. Anderson, A. Vasudevan, C. Keane, D. Gregg, "Low-memory GEMM-based convolution
algorithms for deep neural networks", 2017 (arXiv 1709.03395), the accumulating form with O(OC·H·W) extra memory: one
plane, which is added to y before the next tap.

Schedule: at stride 1, as above, a product has a row for each input pixel, and its matrix is x as it lies. At larger
strides that would compute pixels which no output needs: there a product has a row for each output pixel, found in x by
its row and column steps, and the plane is shifted already. The sum takes what a tap finds inside the image alone, so
that nothing wraps around at the ends of rows, and x needs no zeros around it.
"""

from __future__ import annotations

from typing import Any

from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.gemm_nhwc import MatrixView, matrix_product, row_addresses
from tvmconv.algorithms.microkernel.packed_buffers import packed_buffers
from tvmconv.algorithms.microkernel.packing import PackedLayout, pack_function
from tvmconv.algorithms.microkernel.program import ON_STACK, Phase, Program, no_preparation, phase_function
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

_SUMMED = 2048  # elements of y that stay in L1 while all planes are added to them


class Kn2col(Algorithm):
    """Workspace: planes[taps][pixels][OC] of one image, with the input's pixels at stride 1, else the output's.

    A single tap that reaches no padding has nothing to sum: its product is y, and there is no workspace.
    """

    name = "kn2col"
    layout = "nhwc"
    summary = "a GEMM for each tap into planes, then their shifted sum (Vasudevan 2017)"

    def rejects(self, shape: ConvShape) -> str | None:
        if shape.depthwise:
            return f"{self.name} does not suit depthwise: one channel a group leaves no matrix product; use direct"
        return None

    def planes(self, shape: ConvShape) -> int:
        """Planes in memory: how many taps one run of the phases serves."""
        return shape.taps

    def view(self, shape: ConvShape, tile: Tile) -> MatrixView:
        layout = PackedLayout(shape.g, shape.ocg, 1, shape.icg, tile, self.dtype, planes=shape.taps)
        if _single(shape):
            return MatrixView(shape.mb, shape.m, layout, _uniform_stride(shape))
        return MatrixView(self.planes(shape), _pixels(shape), layout, _uniform_stride(shape))

    def memory(self, shape: ConvShape, tile: Tile) -> dict[str, int]:
        if _single(shape):
            return {}
        return {"planes": self.planes(shape) * _pixels(shape) * shape.oc * self.dtype.accumulator_bytes}

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view, single = self.view(shape, tile), _single(shape)
        functions = {
            "pack": pack_function(shape, view.layout),
            "prepare": no_preparation(self.dtype),
            "product": matrix_product("product", view, pixel_rows(shape, view), to_planes=not single),
        }
        phases = [view.partition.phase("product")]
        if not single:
            functions["sum"] = shifted_sum(shape, view)
            phases.append(Phase("sum", shape.oh))
        return Program(
            dtype=self.dtype,
            functions=functions,
            phases=tuple(phases),
            images=1 if single else shape.mb * shape.taps // view.images,
            packed_bytes=view.layout.bytes,
            memory=self.memory(shape, tile),
        )


class Kn2colAs(Kn2col):
    """Workspace: one plane[pixels][OC]. Each tap of each image is one of the program's images."""

    name = "kn2col-as"
    summary = "a GEMM for each tap into one plane, each shifted and added to y at once (Anderson 2017)"

    def rejects(self, shape: ConvShape) -> str | None:
        if shape.mb * shape.taps >= 2**31:
            return f"{self.name} counts the taps of all images, and 2**31 - 1 are the most; use direct"
        return super().rejects(shape)

    def planes(self, shape: ConvShape) -> int:
        return 1


def _single(shape: ConvShape) -> bool:
    """Whether there is one tap alone, and it lies inside the image for every output pixel."""
    return shape.taps == 1 and max(shape.ph, shape.pw, shape.pb, shape.pr) <= 0


def _whole(shape: ConvShape) -> bool:
    """Whether products are made of all input pixels, as they lie."""
    return (shape.sh, shape.sw) == (1, 1) and not _single(shape)


def _pixels(shape: ConvShape) -> int:
    """Rows of a product."""
    return shape.ih * shape.iw if _whole(shape) else shape.m


def _uniform_stride(shape: ConvShape) -> int:
    """As MatrixView.uniform_stride: pixels lie one after the other, as in x."""
    return shape.ic if (shape.sh, shape.sw) == (1, 1) and (_whole(shape) or shape.ow == shape.iw) else 0


def pixel_rows(shape: ConvShape, view: MatrixView) -> Any:
    """A macro for matrix_product: the rows are pixels of x.

    An output pixel whose tap falls into the padding has the input pixel next to it, since the sum leaves it out.
    """
    from tvm.script import tirx as T

    element = view.layout.dtype.bytes
    taps, iw, last_h, last_w = shape.taps, shape.iw, shape.ih - 1, shape.iw - 1

    def near(m: Any, tap: Any) -> Any:
        h = m // shape.ow * shape.sh - shape.ph + tap // shape.kw * (shape.dh + 1)
        w = m % shape.ow * shape.sw - shape.pw + tap % shape.kw * (shape.dw + 1)
        return T.max(T.min(h, last_h), 0) * iw + T.max(T.min(w, last_w), 0)

    def pixel(x: Any, workspace: Any, n: Any, g: Any, m: Any, tap: Any) -> Any:
        image = T.cast(n // taps, "int64") * (shape.ih * iw * shape.ic * element)
        number = m if _whole(shape) else near(m, n % taps)
        return x + image + T.cast(g, "int64") * (shape.icg * element) + T.cast(number, "int64") * (shape.ic * element)

    return row_addresses(view, pixel)


def shifted_sum(shape: ConvShape, view: MatrixView) -> Any:
    """The phase that adds the planes to rows first … last−1 of y, after the bias with the first tap; the last clamps.

    What a tap adds to a stretch of an output row lies together in its plane, all channels of all pixels.
    """
    from tvm.script import tirx as T

    G, P, NR = view.layout.bias_shape
    D = view.layout.dtype
    OC, OCG, OH, OW, KW = shape.oc, shape.ocg, shape.oh, shape.ow, shape.kw
    IH, IW, SH, SW, DH, DW = shape.ih, shape.iw, shape.sh, shape.sw, shape.dh + 1, shape.dw + 1
    TAPS, PLANES, PIXELS, WHOLE = shape.taps, view.images, view.m, _whole(shape)
    STRETCH = min(OW, max(1, _SUMMED // OC))  # pixels

    @T.inline
    def sum_planes(x, operand, packed, y, workspace, address, image, first, last):
        buffers = packed_buffers(view.layout, packed, flat_bias=True)
        Y = T.decl_buffer((shape.mb * OH * OW, OC), D.storage, data=y, align=D.bytes)
        flat = T.decl_buffer((shape.mb * OH * OW * OC,), D.storage, data=y, align=D.bytes)
        planes = T.decl_buffer((PLANES * PIXELS * OC,), D.accumulator, data=workspace, align=D.accumulator_bytes)
        # Through memory, since TVM's simplifier takes the longer over them the more taps there are.
        shift = T.alloc_buffer((1,), "int32", scope="local", annotations=ON_STACK)
        for row, stretch in T.grid(last - first, -(-OW // STRETCH)):
            with T.sblock("stretch"):
                oh = T.axis.spatial(OH, first + row)
                vs = T.axis.spatial(-(-OW // STRETCH), stretch)
                T.reads()
                T.writes()
                tap: T.let[T.int32] = image * PLANES % TAPS
                m: T.let[T.int32] = (image * PLANES // TAPS * OH + oh) * OW
                begin: T.let[T.int32] = vs * STRETCH
                end: T.let[T.int32] = T.min(begin + STRETCH, OW)
                if tap == 0:
                    for ow, g, c in T.grid(end - begin, G, OCG):
                        Y[m + begin + ow, g * OCG + c] = buffers.bias[g * (P * NR) + c]
                for t in range(PLANES):
                    h: T.let[T.int32] = oh * SH - shape.ph + (tap + t) // KW * DH
                    shift[0] = (tap + t) % KW * DW - shape.pw
                    left: T.let[T.int32] = T.max((SW - 1 - shift[0]) // SW, begin)
                    right: T.let[T.int32] = T.min((IW - 1 - shift[0]) // SW + 1, end)
                    inside: T.let[T.bool] = T.And(h >= 0, h < IH)
                    pixel: T.let[T.int32] = t * PIXELS + (h * IW + left + shift[0] if WHOLE else oh * OW + left)
                    for e in range(T.Select(inside, T.max(right - left, 0) * OC, 0)):
                        flat[(m + left) * OC + e] = flat[(m + left) * OC + e] + planes[pixel * OC + e]
                if tap + PLANES == TAPS:
                    for e in range((end - begin) * OC):
                        total: T.let = flat[(m + begin) * OC + e]
                        flat[(m + begin) * OC + e] = T.max(buffers.bounds[0], T.min(buffers.bounds[1], total))

    return phase_function("sum", sum_planes, D)

"""Direct convolution: the loop nest itself, without extra memory. It never refuses: groups and depthwise are its own.

A register tile holds MR output pixels that need the same taps, so that padding costs no test in the inner loop: taps
outside the input are left out of the loops' ranges. Those are MR neighbours of one output row, where no tap falls over
the left or right edge; MR neighbours of one column near these edges, where none falls over the upper or lower one; and
single pixels in the corners.
"""

from __future__ import annotations

from typing import Any

from tvmconv.algorithms.ir import ON_STACK, PLAIN_C, Algorithm, Phase, Program, no_preparation
from tvmconv.algorithms.packing import pack_function
from tvmconv.algorithms.register_tile import BYTES, L1, L2, LINE, MatrixView, prefetch, write_back_block
from tvmconv.shape import ConvShape
from tvmconv.tile import Tile


class Span:
    """Output positions of one axis: those before, inside and behind the range where every tap is inside the input."""

    def __init__(self, size: int, stride: int, pad: int, taps: int, dilation: int, extent: int) -> None:
        first = [o * stride - pad for o in range(size)]
        self.taps = [sum(0 <= f + t * dilation < extent for t in range(taps)) for f in first]  # inside, by position
        inside = [o for o, count in enumerate(self.taps) if count == taps]
        self.before, self.inside = (inside[0], len(inside)) if inside else (size, 0)
        self.edges = size - self.inside


def spans(shape: ConvShape) -> tuple[Span, Span]:
    """The rows and the columns of the output."""
    return (
        Span(shape.oh, shape.sh, shape.ph, shape.kh, shape.dh + 1, shape.ih),
        Span(shape.ow, shape.sw, shape.pw, shape.kw, shape.dw + 1, shape.iw),
    )


class Direct(Algorithm):
    """No workspace."""

    name = "direct"
    layout = "nhwc"
    summary = "the loop nest, groups and depthwise included; never refuses"

    def rejects(self, shape: ConvShape) -> str | None:
        return None

    def view(self, shape: ConvShape, tile: Tile) -> MatrixView:
        """A tile covers pixels of one row (or column), so its height is chosen for these; depthwise is one group whose
        output channels are all channels."""
        groups, oc = (1, shape.oc) if shape.depthwise else (shape.g, shape.ocg)
        pixels = spans(shape)[1].inside or 1
        return MatrixView(1, groups, pixels, oc, shape.taps, shape.icg, tile, overlap=shape.depthwise)

    def work(self, shape: ConvShape, tile: Tile) -> int:
        return Tiles(shape, tile).taps

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view = self.view(shape, tile)
        tiles = Tiles(shape, tile)
        return Program(
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": no_preparation(),
                "run": loop_nest(shape, view, tiles),
            },
            phases=(Phase("run", shape.mb * view.groups * view.layout.panels * tiles.blocks),),
            images=1,
            packed_bytes=view.layout.elements * BYTES,
        )


class Tiles:
    """The tiles of one image, by strips: a strip is an output row, or a column near an edge.

    A block of strips is swept with one block of weights before the next one.
    """

    def __init__(self, shape: ConvShape, tile: Tile) -> None:
        self.rows, self.columns = spans(shape)
        self.row_strips = shape.oh if self.columns.inside else 0
        self.row_tiles = -(-self.columns.inside // tile.mr)  # of one output row
        self.column_tiles = -(-self.rows.inside // tile.mr)  # of one edge column, without its corners
        self.edge_tiles = self.column_tiles + self.rows.edges  # with its corners
        self.strips = self.row_strips + self.columns.edges
        self.block = min(self.strips, -(-tile.mc // shape.ow)) if tile.mc else self.strips
        self.blocks = -(-self.strips // self.block)
        self.taps = self._taps(shape)

    def _taps(self, shape: ConvShape) -> int:
        """Taps inside the input, summed over all tiles: what there is to compute."""
        edge_rows = sum(count for count in self.rows.taps if count < shape.kh) + shape.kh * self.column_tiles
        edge_columns = sum(count for count in self.columns.taps if count < shape.kw)
        return sum(self.rows.taps) * shape.kw * self.row_tiles + edge_rows * edge_columns


def loop_nest(shape: ConvShape, view: MatrixView, tiles: Tiles) -> Any:
    """The phase that computes units first … last−1: a panel on a block of strips, panels running fastest."""
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    tile, layout = view.tile, view.layout
    MR, NR, KR, PF = tile.mr, tile.nr, tile.kr, tile.pf
    G, P, KB, TAPS, KC, _ = layout.weights_shape
    SB, BS = tiles.blocks, tiles.block
    rows, columns = tiles.rows, tiles.columns
    KH, KW, DH, DW = shape.kh, shape.kw, shape.dh + 1, shape.dw + 1
    IH, IW, IC, OW = shape.ih, shape.iw, shape.ic, shape.ow
    DEPTHWISE = shape.depthwise
    # Where neighbouring taps' channels lie together in x, a row of taps is one run; else each tap is a run of its own.
    MERGED = DW == 1 and G == 1 and KB == 1 and not DEPTHWISE
    # While one block of weights is used, the next is fetched into L2, evenly spread over the block's steps.
    STEPS = max(1, tiles.taps // SB * KC // KR)
    STRIDE = -(-TAPS * KC * NR // STEPS)
    LINES = -(-STRIDE // LINE) if tile.st else 0
    OY, OX, COUNT, R0, R1, S0, S1, NEXT = range(8)
    F32 = PointerType(PrimType("float32"))
    write_back = write_back_block(layout)

    @T.prim_func(s_tir=True)
    def run(
        x: T.int64,
        packed: T.handle("float32"),
        y: T.handle("float32"),
        workspace: T.handle("float32"),
        address: T.int64,
        image: T.int32,
        first: T.int32,
        last: T.int32,
    ):
        T.func_attr({"global_symbol": "run", "tirx.noalias": True, "calling_conv": PLAIN_C})
        bounds = T.decl_buffer((2,), "float32", data=packed, align=4)
        bias = T.decl_buffer(layout.bias_shape, "float32", data=packed, elem_offset=layout.bias_offset, align=4)
        weights = T.decl_buffer(
            (G * P * KB * TAPS * KC * NR,), "float32", data=packed, elem_offset=layout.weights_offset, align=4
        )
        Y = T.decl_buffer((shape.mb * shape.m, shape.oc), "float32", data=y, align=4)
        acc = T.alloc_buffer((MR, NR), "float32", scope="local", annotations=ON_STACK)
        row = T.alloc_buffer((MR,), "int64", scope="local", annotations=ON_STACK)
        run_row = T.alloc_buffer((MR,), "int64", scope="local", annotations=ON_STACK)
        at = T.alloc_buffer((8,), "int32", scope="local", annotations=ON_STACK)
        for unit, kb in T.grid(last - first, KB):
            at[NEXT] = (((first + unit) // (P * SB) % G * P + (first + unit) % P) * KB + kb + 1) * (TAPS * KC * NR)
            for sb in range(T.min(BS, tiles.strips - (first + unit) // P % SB * BS)):
                strip: T.let[T.int32] = (first + unit) // P % SB * BS + sb
                for it in range(T.Select(strip < tiles.row_strips, tiles.row_tiles, tiles.edge_tiles)):
                    with T.sblock("tile"):
                        u = T.axis.spatial(shape.mb * G * SB * P, first + unit)
                        vkb = T.axis.reduce(KB, kb)
                        vsb = T.axis.spatial(BS, sb)
                        vit = T.axis.spatial(max(tiles.row_tiles, tiles.edge_tiles), it)
                        T.reads()
                        T.writes()
                        p: T.let[T.int32] = u % P
                        g: T.let[T.int32] = u // (P * SB) % G
                        n: T.let[T.int32] = u // (P * SB * G)
                        s: T.let[T.int32] = u // P % SB * BS + vsb
                        horizontal: T.let[T.bool] = s < tiles.row_strips
                        corner: T.let[T.int32] = vit - tiles.column_tiles
                        edge: T.let[T.int32] = s - tiles.row_strips
                        # Where the tile lies: first output pixel, pixels, ranges of taps inside the input, which are
                        # those with 0 ≤ h + r·DH < IH, and likewise along the width. In memory (and from there in
                        # registers), since TVM's simplifier is exponential in nested selects that it can look into.
                        with T.sblock("place"):
                            T.reads()
                            T.writes(at[0:7])
                            if horizontal:
                                at[OY] = s
                                at[OX] = columns.before + vit * MR
                                at[COUNT] = T.min(columns.inside - vit * MR, MR)
                            else:
                                at[OX] = edge + T.Select(edge < columns.before, 0, columns.inside)
                                if corner < 0:
                                    at[OY] = rows.before + vit * MR
                                    at[COUNT] = T.min(rows.inside - vit * MR, MR)
                                else:
                                    at[OY] = corner + T.Select(corner < rows.before, 0, rows.inside)
                                    at[COUNT] = 1
                            at[R0] = T.min(T.max((DH - 1 + shape.ph - at[OY] * shape.sh) // DH, 0), KH)
                            at[R1] = T.max(T.min((IH + DH - 1 + shape.ph - at[OY] * shape.sh) // DH, KH), at[R0])
                            at[S0] = T.min(T.max((DW - 1 + shape.pw - at[OX] * shape.sw) // DW, 0), KW)
                            at[S1] = T.max(T.min((IW + DW - 1 + shape.pw - at[OX] * shape.sw) // DW, KW), at[S0])
                        s0: T.let[T.int32] = at[S0]
                        s1: T.let[T.int32] = at[S1]
                        h: T.let[T.int64] = T.cast(n * IH + at[OY] * shape.sh - shape.ph, "int64")
                        w: T.let[T.int32] = at[OX] * shape.sw - shape.pw
                        channel: T.let[T.int32] = layout.panel_start(p) if DEPTHWISE else g * view.channels + vkb * KC
                        pixel: T.let[T.int64] = (h * IW + w) * IC + channel
                        stride: T.let[T.int32] = T.Select(horizontal, shape.sw * IC, shape.sh * IW * IC)
                        panel: T.let[T.int32] = ((g * P + p) * KB + vkb) * TAPS
                        for i in range(MR):
                            with T.sblock("rows"):
                                vi = T.axis.spatial(MR, i)
                                T.reads()
                                T.writes(row[vi])
                                row[vi] = x + (pixel + T.cast(T.min(vi, at[COUNT] - 1) * stride, "int64")) * BYTES
                        for r, q in T.grid(at[R1] - at[R0], 1 if MERGED else s1 - s0):
                            for i in range(MR):
                                with T.sblock("run_rows"):
                                    vi, vr, vq = T.axis.remap("SSS", [i, r, q])
                                    T.reads(row[vi])
                                    T.writes(run_row[vi])
                                    tap: T.let[T.int32] = (at[R0] + vr) * DH * IW + (s0 + vq) * DW
                                    run_row[vi] = row[vi] + T.cast(tap, "int64") * (IC * BYTES)
                            for co in range((s1 - s0) * (IC // KR) if MERGED else KC // KR):
                                if LINES > 0:
                                    for line in range(LINES):
                                        with T.sblock("prefetch_panel"):
                                            vl = T.axis.spatial(LINES, line)
                                            T.reads()
                                            T.writes()
                                            T.evaluate(prefetch(weights[at[NEXT] + vl * LINE], L2))
                                    at[NEXT] = at[NEXT] + STRIDE
                                for ci in range(KR):
                                    if PF > 0:
                                        for line in range(-(-NR // LINE)):
                                            with T.sblock("prefetch_weights"):
                                                vr, vq, vco, vci, vl = T.axis.remap("SSSSS", [r, q, co, ci, line])
                                                T.reads()
                                                T.writes()
                                                tap: T.let[T.int32] = (at[R0] + vr) * KW + s0 + vq
                                                start: T.let[T.int64] = T.cast((panel + tap) * KC, "int64")
                                                ahead: T.let[T.int32] = vco * KR + vci + PF
                                                T.evaluate(prefetch(weights[(start + ahead) * NR + vl * LINE], L1))
                                    for i, j in T.grid(MR, NR):
                                        with T.sblock("update"):
                                            vi, vj, vr, vq, vco, vci = T.axis.remap("SSRRRR", [i, j, r, q, co, ci])
                                            T.reads(run_row[vi])
                                            T.writes(acc[vi, vj])
                                            with T.init():
                                                acc[vi, vj] = T.float32(0)
                                            k: T.let[T.int32] = vco * KR + vci
                                            tap: T.let[T.int32] = (at[R0] + vr) * KW + s0 + vq
                                            start: T.let[T.int64] = T.cast((panel + tap) * KC, "int64")
                                            data: T.let[T.handle("float32")] = T.reinterpret(F32, run_row[vi])
                                            X = T.decl_buffer((KW * IC,), "float32", data=data, align=4)
                                            acc[vi, vj] = (
                                                acc[vi, vj]
                                                + X[k + (vj if DEPTHWISE else 0)] * weights[(start + k) * NR + vj]
                                            )
                        m: T.let[T.int32] = n * shape.m + at[OY] * OW + at[OX]
                        write_back(acc, Y, bias, bounds, g, p, m, T.Select(horizontal, 1, OW), at[COUNT], vkb)

    return run

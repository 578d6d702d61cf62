"""Vectors of output pixels for NCHW, where neighbours of a row lie together: where they are and what a tap reads.

A vector holds as many pixels as it has lanes. Where the output is as wide as the input and the stride is 1, a tap
reaches all pixels of a flattened image by one shift, so vectors run on over the ends of rows; else each row has vectors
of its own. Lanes that fall outside (of the image, of the output, over a row's end into its neighbour) are masked:
nothing is read there, zeros are multiplied, nothing is written.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.microkernel.packing import PackedLayout
from tvmconv.algorithms.microkernel.program import ON_STACK, constant
from tvmconv.algorithms.microkernel.vector_ops import any_lane, masked_load, whole_vector
from tvmconv.target.tile import NchwTile
from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class PixelView:
    """A layer as products of its packed weights by vectors of pixels.

    source says what is read and from where: its x, taps, strides and padding, and its output pixels. layout packs the
    weights in panels of as many output channels as the tile has.
    """

    source: ConvShape
    layout: PackedLayout[NchwTile]
    tile: NchwTile
    in_blocks: bool = False  # whether K may be cut into blocks, each a pass over the output

    @property
    def lanes(self) -> int:
        """Pixels of one vector."""
        return self.tile.lanes

    @property
    def vectors(self) -> int:
        """Vectors of one tile."""
        return self.tile.pixels // self.lanes

    @property
    def masks_are_cheap(self) -> bool:
        """Whether a masked load is one instruction, as for vectors of 8 and more (AVX); else it is a branch a lane."""
        return self.lanes >= 8

    @property
    def parts(self) -> int:
        """Vectors that are loaded for one vector of a tap's pixels: all from the first pixel to the last, or one for
        each pixel where the stride is larger than the number of lanes."""
        return min(self.source.sw, self.lanes)

    @property
    def part_stride(self) -> int:
        """Elements from the beginning of one of these vectors to that of the next."""
        return max(self.source.sw, self.lanes) if self.parts > 1 else self.lanes

    @property
    def flat(self) -> bool:
        """Whether vectors run on over the ends of rows."""
        return (self.source.sh, self.source.sw, self.source.iw) == (1, 1, self.source.ow)

    @property
    def row_vectors(self) -> int:
        """Vectors of one output row."""
        return -(-self.source.ow // self.lanes)

    @property
    def count(self) -> int:
        """Vectors of one image."""
        return -(-self.source.m // self.lanes) if self.flat else self.source.oh * self.row_vectors

    @property
    def tiles(self) -> int:
        return -(-self.count // self.vectors)

    @property
    def block_tiles(self) -> int:
        """Tiles that are swept with one panel of weights before the next one."""
        return min(self.tiles, max(1, self.tile.block // self.tile.pixels)) if self.tile.block > 0 else self.tiles


def only_reached(view: PixelView, total: Any, reached: Any) -> Any:
    """The lanes of a sum where the mask is not 0, and zeros elsewhere.

    LLVM 22 may put the masked load of pixels that one output channel alone uses into a masked multiply-add
    (llvm/llvm-project#161074), take it out again without the mask, and so read what is not there. A fence behind the
    sum keeps it from that.
    """
    from tvm.script import tirx as T

    L, SUM = view.lanes, view.layout.dtype.accumulator
    if min(view.layout.tile.channels, view.layout.oc) == 1:
        total = T.call_llvm_intrin(f"{SUM}x{L}", "llvm.arithmetic.fence", total)
    return T.Select(reached != whole_vector(0, L), total, whole_vector(constant(0, SUM), L))


@dataclass(frozen=True)
class Vectors:
    """The places of a tile's vectors of pixels, as TIR buffers on the stack; locate and reach fill them.

    For each vector: oh, ow: row and column of each lane; inside: the lanes that are pixels of the output; valid: for
    each vector that is loaded for it (PixelView.parts) the elements that lie in the image; reached: the lanes whose
    input lies in the image; pixel: the first lane's index in an output plane; origin: its index in an input plane
    without any tap; address: of what the first lane reads in the first plane. Masks are vectors of ones and zeros.
    """

    oh: Any
    ow: Any
    inside: Any
    valid: Any
    reached: Any
    pixel: Any
    origin: Any
    address: Any


def allocated_vectors(view: PixelView) -> Any:
    """Allocates the buffers for one tile; Vectors, as a value of the parser."""
    from tvm.script import tirx as T

    V, index = view.vectors, f"int32x{view.lanes}"

    def local(shape: tuple[int, ...], dtype: str) -> Any:
        return T.alloc_buffer(shape, dtype, scope="local", annotations=ON_STACK)

    return T.meta_var(
        Vectors(
            oh=local((V,), index),
            ow=local((V,), index),
            inside=local((V,), index),
            valid=local((V, view.parts), index),
            reached=local((V,), index),
            pixel=local((V,), "int32"),
            origin=local((V,), "int32"),
            address=local((V,), "int64"),
        )
    )


def locate_block(view: PixelView) -> Any:
    """A macro: the pixels of tile t, into oh, ow, inside, pixel and origin of its vectors."""
    from tvm.script import tirx as T

    s, L, V, RV = view.source, view.lanes, view.vectors, view.row_vectors
    FLAT, M, OH, OW = view.flat, s.m, s.oh, s.ow

    def chosen(condition: Any) -> Any:
        return T.Select(condition, whole_vector(1, L), whole_vector(0, L))

    def columns(first: Any) -> Any:
        """The columns of the lanes. With a stride they end with the last one: 32 bits may not hold larger multiples of
        it."""
        lanes = T.Ramp(first, 1, L)
        return lanes if s.sw == 1 else T.min(lanes, whole_vector(OW - 1, L))

    @T.inline
    def locate(t, at):
        for v in T.unroll(V):
            with T.sblock("locate"):
                vv = T.axis.spatial(V, v)
                T.reads()
                T.writes(at.oh[vv], at.ow[vv], at.inside[vv], at.pixel[vv], at.origin[vv])
                q: T.let[T.int32] = t * V + vv
                if FLAT:
                    at.pixel[vv] = q * L
                    at.origin[vv] = q * L
                    at.oh[vv] = T.truncdiv(T.Ramp(q * L, 1, L), whole_vector(OW, L))
                    at.ow[vv] = T.truncmod(T.Ramp(q * L, 1, L), whole_vector(OW, L))
                    at.inside[vv] = chosen(T.Ramp(q * L, 1, L) < whole_vector(M, L))
                else:
                    row: T.let[T.int32] = T.min(q // RV, OH - 1)
                    column: T.let[T.int32] = q % RV * L
                    at.pixel[vv] = row * OW + column
                    at.origin[vv] = row * s.sh * s.iw + column * s.sw
                    at.oh[vv] = whole_vector(row, L)
                    at.ow[vv] = columns(column)
                    at.inside[vv] = chosen(
                        T.And(
                            whole_vector(q // RV, L) < whole_vector(OH, L), T.Ramp(column, 1, L) < whole_vector(OW, L)
                        )
                    )

    return locate


def reach_block(view: PixelView) -> Any:
    """A macro: what a tap reads of the plane that begins at `base`, into address, valid and reached of the vectors.

    The vectors' rows count from output row `row`.

    Where masks are not cheap, a vector that lies in the padding as a whole has the address of the plane itself, which
    may be read.
    """
    from tvm.script import tirx as T

    s, L, V, SW = view.source, view.lanes, view.vectors, view.source.sw
    IH, IW, OW, DH, DW, PARTS = s.ih, s.iw, s.ow, s.dh + 1, s.dw + 1, view.parts
    ALWAYS, ELEMENT = view.masks_are_cheap, view.layout.dtype.bytes

    def shifted(position: Any, stride: int, shift: Any) -> Any:
        return position * whole_vector(stride, L) + whole_vector(shift, L)

    def within(h: Any, w: Any) -> Any:
        """1 in the lanes whose row and column are those of the image. One comparison each, as negative numbers are
        large ones without a sign."""
        rows = T.reinterpret(f"uint32x{L}", h) < whole_vector(T.uint32(IH), L)
        columns = T.reinterpret(f"uint32x{L}", w) < whole_vector(T.uint32(IW), L)
        return T.Select(T.And(rows, columns), whole_vector(1, L), whole_vector(0, L))

    def begin(column: Any, j: Any, dx: Any) -> Any:
        """The image's column at which vector j begins; behind the image for a pixel behind the row's last one."""
        if SW <= L:
            return column * SW + dx + j * L
        return T.Select(column + j < OW, T.min(column + j, OW - 1) * SW + dx, IW)

    @T.inline
    def reach(base, tap, row, at):
        dy: T.let[T.int32] = tap // s.kw * DH - s.ph
        dx: T.let[T.int32] = tap % s.kw * DW - s.pw
        for v in T.unroll(V):
            with T.sblock("reach"):
                vv = T.axis.spatial(V, v)
                T.reads(at.oh[vv], at.ow[vv], at.pixel[vv], at.origin[vv])
                T.writes(at.address[vv], at.valid[vv, 0:PARTS], at.reached[vv])
                at.reached[vv] = within(shifted(at.oh[vv], s.sh, row * s.sh + dy), shifted(at.ow[vv], SW, dx))
                at.address[vv] = base + T.cast(at.origin[vv] + (row * s.sh + dy) * IW + dx, "int64") * ELEMENT
                if SW == 1:
                    at.valid[vv, 0] = at.reached[vv]
                else:
                    column: T.let[T.int32] = T.truncmod(at.pixel[vv], OW)
                    for j in T.unroll(PARTS):
                        at.valid[vv, j] = within(
                            shifted(at.oh[vv], s.sh, row * s.sh + dy), T.Ramp(begin(column, j, dx), 1, L)
                        )
                if not ALWAYS:  # noqa: SIM102 - known to the compiler; what is nested, to the kernel alone
                    if T.Not(any_lane([at.valid[vv, j] for j in range(PARTS)])):
                        at.address[vv] = base

    return reach


def readable(view: PixelView, at: Vectors, base: Any) -> Any:
    """Whether all that a tap reads into a tile lies in the plane that begins at `base`, be it valid or not."""
    from tvm.script import tirx as T

    last = (view.source.ih * view.source.iw - view.source.sw * view.lanes) * view.layout.dtype.bytes
    if last < 0:
        return T.bool(False)
    return functools.reduce(
        T.And, [T.And(at.address[v] >= base, at.address[v] <= base + last) for v in range(view.vectors)]
    )


def read_vector(view: PixelView, at: Vectors, v: Any, plane: Any, readable: bool = False) -> Any:
    """The elements that a tap reads into vector v from a plane, after `reach`.

    With readable, elements that are not valid are loaded, too, and replaced by zeros. They stay where they would only
    be multiplied in lanes outside the output.
    """
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    s, L, D = view.source, view.lanes, view.layout.dtype
    PLANE = s.ih * s.iw
    POINTER = PointerType(PrimType(D.storage))
    start = at.address[v] + T.cast(plane, "int64") * (PLANE * D.bytes)
    pointers = [T.reinterpret(POINTER, start + j * view.part_stride * D.bytes) for j in range(view.parts)]
    if not readable:
        parts = [masked_load(D.storage, pointer, at.valid[v, j], L) for j, pointer in enumerate(pointers)]
    else:
        parts = [masked_load(D.storage, pointer, whole_vector(1, L), L) for pointer in pointers]
        if s.taps > 1 or max(s.ph, s.pw, s.pb, s.pr) > 0:
            zeros = whole_vector(constant(0, D.storage), L)
            parts = [T.Select(at.valid[v, j] != whole_vector(0, L), part, zeros) for j, part in enumerate(parts)]
    if s.sw == 1:
        return parts[0]
    return T.Shuffle(parts, [lane * min(s.sw, L) for lane in range(L)])

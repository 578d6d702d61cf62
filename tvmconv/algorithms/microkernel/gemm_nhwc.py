"""Layers as matrix products: the loops around the register tile that the algorithms made of GEMMs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.microkernel.packing import PackedLayout
from tvmconv.algorithms.microkernel.partition import Sweep, tiles_of_block
from tvmconv.algorithms.microkernel.program import ON_STACK, phase_function
from tvmconv.algorithms.microkernel.register_tile import is_short, multiply_block
from tvmconv.algorithms.microkernel.write_back import write_back_block


@dataclass(frozen=True)
class MatrixView:
    """A layer as products of m rows by the packed weights: one for each image and group.

    Where an algorithm multiplies tap by tap, an image is a tap of an image. apart: f32 elements from the beginning of a
    row to that of the next, 0 where that is not always the same.
    """

    images: int
    m: int
    layout: PackedLayout
    apart: int = 0

    @property
    def pitch(self) -> int:
        """How far a tile's rows are apart that the first one's address finds, in short sums; 0 where each has its own,
        as rows behind the last one, which repeat it, may need. Long sums are 1 to 3 % slower by a pitch on AVX-512."""
        return self.apart if is_short(self.layout) and self.m >= self.layout.tile.mr else 0

    @property
    def addresses(self) -> int:
        """By which a tile's rows are found."""
        return 1 if self.pitch else self.layout.tile.mr

    def first_row(self, tile: Any) -> Any:
        """Of a row tile, as TIR. With a pitch the last tile ends with the last row, and so begins with rows that are
        those of the tile before it, too."""
        from tvm.script import tirx as T

        mr = self.layout.tile.mr
        return T.min(tile * mr, self.m - mr) if self.pitch and self.m % mr else tile * mr

    def own_rows(self, tile: Any) -> tuple[Any, Any]:
        """The first of a tile's rows that the tile before it does not have, and the end of those that there are, both
        counted from its first row. The former's bounds are for TVM's simplifier, which overflows without them."""
        from tvm.script import tirx as T

        mr = self.layout.tile.mr
        if not self.pitch:
            return 0, self.m - tile * mr
        return (T.max(T.min(tile * mr - self.first_row(tile), mr - 1), 0) if self.m % mr else 0), mr

    @property
    def tiles(self) -> int:
        return -(-self.m // self.layout.tile.mr)

    @property
    def sweep(self) -> Sweep:
        layout = self.layout
        block = tiles_of_block(self.tiles, layout.tile)
        return Sweep(self.images * layout.groups, layout.panels, self.tiles, block, layout.k_blocks)


def row_addresses(view: MatrixView, address: Callable[..., Any]) -> Any:
    """A macro `rows` for matrix_product; where each row has an address, rows behind the last one repeat it.

    address(x, workspace, image, group, m, tap) gives, as TIR, the byte address of row m of the matrix, where x and
    workspace are addresses.
    """
    from tvm.script import tirx as T

    M, ROWS = view.m, view.addresses

    @T.inline
    def rows(row, x, workspace, base, n, g, rt, t):
        for i in range(ROWS):
            with T.sblock("rows"):
                vi, vt = T.axis.remap("SS", [i, t])
                T.reads()
                T.writes(row[vi])
                m: T.let[T.int32] = T.min(view.first_row(rt) + vi, M - 1)
                row[vi] = address(x, base, n, g, m, vt)

    return rows


def matrix_product(symbol: str, view: MatrixView, rows: Any, to_planes: bool = False, plane_rows: int = 0) -> Any:
    """The phase that computes units first … last−1 of the view's sweep.

    rows(row, x, workspace, address, image, group, row_tile, tap) is a T.inline macro that stores the byte addresses of
    the MR rows of a row tile for a tap into row[0:MR]; of the first alone, where the view has a pitch.

    With to_planes a call of the phase makes view.images planes at the start of the workspace, products without bias and
    clamp, and rows is given the plane's number, counted over all calls: plane i is by weights i % layout.planes. Planes
    are `plane_rows` rows apart, if they are not to follow on each other.
    """
    from tvm.script import tirx as T

    layout = view.layout
    MR, NR, KR = layout.tile.mr, layout.tile.nr, layout.tile.kr
    G, (_, P, KB, TAPS, KC, _) = layout.groups, layout.weights_shape
    PLANE = plane_rows or view.m
    sweep = view.sweep
    BT, RB = sweep.block, sweep.blocks
    multiply = multiply_block(layout, steps=BT * TAPS * KC // KR, bare=to_planes, apart=view.pitch)
    write_back = write_back_block(layout, bare=to_planes)

    def weights_group(image: Any, unit: Any) -> Any:
        """The first index of a unit's weights."""
        g = unit // (P * RB) % G
        return (image * view.images + unit // (P * RB * G)) % layout.planes * G + g if to_planes else g

    @T.inline
    def body(x, operand, packed, y, workspace, address, image, first, last):
        bounds = T.decl_buffer((2,), "float32", data=packed, align=4)
        bias = T.decl_buffer(layout.bias_shape, "float32", data=packed, elem_offset=layout.bias_offset, align=4)
        weights = T.decl_buffer(
            (layout.weight_elements,), "float32", data=packed, elem_offset=layout.weights_offset, align=4
        )
        Y = T.decl_buffer((view.images * PLANE, G * layout.oc), "float32", data=workspace if to_planes else y, align=4)
        acc = T.alloc_buffer((MR, NR), "float32", scope="local", annotations=ON_STACK)
        row = T.alloc_buffer((view.addresses,), "int64", scope="local", annotations=ON_STACK)
        ahead = T.alloc_buffer((1,), "int32", scope="local", annotations=ON_STACK)
        for part, kb in T.grid(sweep.touched(first, last), KB):
            segment: T.let[T.int32] = sweep.segment(part, first)
            before: T.let[T.int32] = sweep.before(segment, first)
            ahead[0] = ((weights_group(image, segment) * P + segment % P) * KB + kb + 1) * layout.block
            for it in range(sweep.behind(segment, last) - before):
                with T.sblock("tile"):
                    u = T.axis.spatial(sweep.segments, segment)
                    vkb = T.axis.reduce(KB, kb)
                    vit = T.axis.spatial(BT, before + it)
                    T.reads()
                    T.writes()
                    n: T.let[T.int32] = u // (P * RB * G)
                    g: T.let[T.int32] = u // (P * RB) % G
                    p: T.let[T.int32] = u % P
                    rt: T.let[T.int32] = u // P % RB * BT + vit
                    panel: T.let[T.int32] = ((weights_group(image, u) * P + p) * KB + vkb) * TAPS
                    for t, whole in T.grid(TAPS, 1):
                        rows(row, x, workspace, address, (image * view.images if to_planes else image) + n, g, rt, t)
                        start: T.let[T.int64] = T.cast((panel + t) * KC, "int64")
                        multiply(acc, bias, g, p, row, weights, ahead, start, vkb * KC, t, whole, KC // KR)
                    m: T.let[T.int64] = T.cast((n if to_planes else image + n) * PLANE + view.first_row(rt), "int64")
                    write_back(acc, Y, bias, bounds, g, p, m, view.own_rows(rt), vkb)

    return phase_function(symbol, body)

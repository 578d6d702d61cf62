"""GEMM in NHWC: the loops around the register tile, shared by all algorithms that are matrix products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.microkernel.packed_buffers import packed_buffers
from tvmconv.algorithms.microkernel.packing import PackedLayout
from tvmconv.algorithms.microkernel.partition import Partition, tiles_of_block
from tvmconv.algorithms.microkernel.program import ON_STACK, phase_function
from tvmconv.algorithms.microkernel.register_tile import Panel, Run, is_short, multiply_block
from tvmconv.algorithms.microkernel.write_back import Destination, write_back_block
from tvmconv.target.tile import Tile


@dataclass(frozen=True)
class MatrixView:
    """A layer as products of m rows by the packed weights: one for each image and group.

    For per-tap GEMMs the batch axis is (image, tap). uniform_stride: f32 elements from one row's beginning to that of
    the next, 0 where that differs from row to row.
    """

    images: int
    m: int
    layout: PackedLayout[Tile]
    uniform_stride: int = 0

    @property
    def row_stride(self) -> int:
        """Row stride if one base address suffices for a tile, else 0. One address pays for K ≤ 256 alone: longer sums
        are 1 to 3 % slower by it on AVX-512."""
        return self.uniform_stride if is_short(self.layout) and self.m >= self.layout.tile.mr else 0

    @property
    def addresses(self) -> int:
        """Base addresses of a tile: one, or one for each row."""
        return 1 if self.row_stride else self.layout.tile.mr

    def first_row(self, tile: Any) -> Any:
        """The first row of a row tile, as TIR. With a row stride the last tile ends with the last row, and overlaps the
        tile before it."""
        from tvm.script import tirx as T

        mr = self.layout.tile.mr
        return T.min(tile * mr, self.m - mr) if self.row_stride and self.m % mr else tile * mr

    def own_rows(self, tile: Any) -> tuple[Any, Any]:
        """The range of a tile's rows that it writes, counted from its first row: those that exist and that the tile
        before it has not written. The bounds of its start are for TVM's simplifier, which overflows without them."""
        from tvm.script import tirx as T

        mr = self.layout.tile.mr
        if not self.row_stride:
            return 0, self.m - tile * mr
        return (T.max(T.min(tile * mr - self.first_row(tile), mr - 1), 0) if self.m % mr else 0), mr

    @property
    def tiles(self) -> int:
        return -(-self.m // self.layout.tile.mr)

    @property
    def partition(self) -> Partition:
        layout = self.layout
        block = tiles_of_block(self.tiles, layout.tile)
        return Partition(self.images * layout.groups, layout.panels, self.tiles, block, layout.k_blocks)


def row_addresses(view: MatrixView, address: Callable[..., Any]) -> Any:
    """A macro `rows` for matrix_product. Where each row has its own address, rows past the last one repeat it.

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
    """The phase that computes units first … last−1 of the view's partition.

    rows(row, x, workspace, address, image, group, row_tile, tap) is a T.inline macro that stores the byte addresses of
    the MR rows of a row tile for a tap into row[0:MR], or that of the first row alone where the view has a row stride.

    With to_planes a call writes view.images planes at the start of the workspace, without bias and clamp. `rows` gets
    the plane's number, counted over all calls; plane i uses weights i % layout.planes. The distance of two planes is
    `plane_rows` rows, or view.m where that is 0.
    """
    from tvm.script import tirx as T

    layout, D = view.layout, view.layout.dtype
    MR, NR, KR = layout.tile.mr, layout.tile.nr, layout.tile.kr
    G, (_, P, KB, TAPS, KC, _) = layout.groups, layout.weights_shape
    PLANE = plane_rows or view.m
    OUTPUT = D.accumulator if to_planes else D.storage
    partition = view.partition
    BT, RB = partition.block_tiles, partition.row_ranges
    multiply = multiply_block(layout, steps=BT * TAPS * KC // KR, bare=to_planes, row_stride=view.row_stride)
    write_back = write_back_block(layout, bare=to_planes)

    def weights_group(image: Any, unit: Any) -> Any:
        """The first index of a unit's weights."""
        g = unit // (P * RB) % G
        return (image * view.images + unit // (P * RB * G)) % layout.planes * G + g if to_planes else g

    @T.inline
    def body(x, operand, packed, y, workspace, address, image, first, last):
        buffers = packed_buffers(layout, packed)
        output = workspace if to_planes else y
        Y = T.decl_buffer((view.images * PLANE, G * layout.oc), OUTPUT, data=output, align=D.bytes)
        acc = T.alloc_buffer((MR, NR), D.accumulator, scope="local", annotations=ON_STACK)
        row = T.alloc_buffer((view.addresses,), "int64", scope="local", annotations=ON_STACK)
        ahead = T.alloc_buffer((1,), "int32", scope="local", annotations=ON_STACK)
        for part, kb in T.grid(partition.touched(first, last), KB):
            block: T.let[T.int32] = partition.block(part, first)
            before: T.let[T.int32] = partition.begin(block, first)
            ahead[0] = ((weights_group(image, block) * P + block % P) * KB + kb + 1) * layout.block
            for it in range(partition.end(block, last) - before):
                with T.sblock("tile"):
                    u = T.axis.spatial(partition.blocks, block)
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
                        multiply(acc, buffers, Panel(g, p), row, ahead, Run(start, vkb * KC, t, whole, KC // KR))
                    m: T.let[T.int64] = T.cast((n if to_planes else image + n) * PLANE + view.first_row(rt), "int64")
                    write_back(acc, buffers, Panel(g, p), Destination(Y, m, view.own_rows(rt)), vkb)

    return phase_function(symbol, body, D)

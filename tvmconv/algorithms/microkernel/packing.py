"""The packed operand: clamp bounds, bias and weights in the order in which a kernel reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tvmconv.algorithms.microkernel.program import NO_CLAMP, PLAIN_C, constant
from tvmconv.target.dtype import DType
from tvmconv.target.tile import NchwTile, Tile
from tvmconv.workload.shape import ConvShape

AnyTile = TypeVar("AnyTile", Tile, NchwTile)


@dataclass(frozen=True)
class PackedLayout(Generic[AnyTile]):
    """One array: HEADER elements (lower bound, upper bound, rest unused), bias[G][P][NR], then
    weights[planes][G][P][KB][taps][KC][NR], all panels filled up with zeros to NR output channels, then zeros.

    taps and channels are those of the algorithm's view of K, in the order tap, channel: an algorithm that lays out
    whole patches sees one tap of KH·KW·IC channels. With overlap the last panel begins early enough to end with the
    last channel, instead of being filled up: depthwise reads x in the same panels, and must not read past its end.
    The zeros stand in for rows of x that a tile does not need. An algorithm that multiplies tap by tap has as many
    planes of one tap, each the weights of a product of its own.
    """

    groups: int
    oc: int  # of one group
    taps: int
    channels: int
    tile: AnyTile
    dtype: DType
    overlap: bool = False
    zeros: int = 0
    planes: int = 1

    HEADER = 16  # one cache line, so that weights keep the alignment of the array

    @property
    def panels(self) -> int:
        return -(-self.oc // self.tile.panel)

    def panel_start(self, panel: Any) -> Any:
        """First output channel (of its group) of a panel: an int for an int, TIR for TIR."""
        from tvm.script import tirx as T

        start = panel * self.tile.panel
        return T.min(start, self.oc - self.tile.panel) if self.overlap else start

    @property
    def kc(self) -> int:
        return self.tile.kc if self.tile.kc > 0 else self.channels

    @property
    def k_blocks(self) -> int:
        return self.channels // self.kc

    @property
    def bias_shape(self) -> tuple[int, int, int]:
        return self.groups, self.panels, self.tile.panel

    @property
    def bias_offset(self) -> int:
        return self.HEADER

    @property
    def weights_shape(self) -> tuple[int, int, int, int, int, int]:
        """Planes and groups are one axis here."""
        return self.planes * self.groups, self.panels, self.k_blocks, self.taps, self.kc, self.tile.panel

    @property
    def weights_offset(self) -> int:
        return self.HEADER + self.groups * self.panels * self.tile.panel

    @property
    def block(self) -> int:
        """Elements of one block of K of one panel."""
        return self.taps * self.kc * self.tile.panel

    @property
    def weight_elements(self) -> int:
        return self.planes * self.groups * self.panels * self.k_blocks * self.block

    @property
    def zeros_offset(self) -> int:
        return self.weights_offset + self.weight_elements

    @property
    def elements(self) -> int:
        return self.zeros_offset + self.zeros

    @property
    def bytes(self) -> int:
        return self.elements * self.dtype.bytes


def pack_function(shape: ConvShape, layout: PackedLayout[Any], weight: Callable[..., Any] | None = None) -> Any:
    """pack(w OIHW, bias or NULL, packed): a plain C function without clamp (bounds are set to infinity).

    weight(w, plane, channel, output channel), TIR, is what is packed of weights that are not packed as they are.
    """
    from tvm.script import tirx as T

    PG, P, KB, TAPS, KC, NR = layout.weights_shape
    G, OCG, ICG = layout.groups, layout.oc, shape.icg
    D = layout.dtype
    ZERO, NO_WEIGHT = constant(0, D.accumulator), constant(0, D.storage)

    def taken(w: Any, group: Any, k: Any, oc: Any) -> Any:
        if weight:
            return weight(w, group, k % ICG, oc)
        return w[group % G * OCG + oc, k % ICG, k // ICG // shape.kw, k // ICG % shape.kw]

    def elements_at(extents: tuple[int, ...], packed: Any, offset: int) -> Any:
        return T.decl_buffer(extents, D.storage, data=packed, elem_offset=offset, align=D.bytes)

    def sums_at(extents: tuple[int, ...], packed: Any, offset: int) -> Any:
        return T.decl_buffer(extents, D.accumulator, data=packed, elem_offset=offset, align=D.accumulator_bytes)

    @T.prim_func(s_tir=True)
    def pack(w: T.handle(D.storage), bias: T.handle(D.accumulator), packed: T.handle(D.storage)):
        T.func_attr({"global_symbol": "pack", "tirx.noalias": True, "calling_conv": PLAIN_C})
        W = T.decl_buffer((shape.oc, ICG, shape.kh, shape.kw), D.storage, data=w, align=D.bytes)
        B = T.decl_buffer((shape.oc,), D.accumulator, data=bias, align=D.accumulator_bytes)
        header = sums_at((2,), packed, 0)
        packed_bias = sums_at(layout.bias_shape, packed, layout.bias_offset)
        packed_w = elements_at(layout.weights_shape, packed, layout.weights_offset)
        zeros = elements_at((max(layout.zeros, 1),), packed, layout.zeros_offset)
        header[0] = constant(-NO_CLAMP, D.accumulator)
        header[1] = constant(NO_CLAMP, D.accumulator)
        for c in range(layout.zeros):
            with T.sblock("zeros"):
                vc = T.axis.spatial(layout.zeros, c)
                zeros[vc] = NO_WEIGHT
        for g, p, j in T.grid(G, P, NR):
            with T.sblock("bias"):
                vg, vp, vj = T.axis.remap("SSS", [g, p, j])
                start: T.let[T.int32] = layout.panel_start(vp)
                packed_bias[vg, vp, vj] = T.if_then_else(
                    T.And(T.Not(T.isnullptr(bias)), start + vj < OCG), B[vg * OCG + start + vj], ZERO
                )
        for g, p, kb, t, c, j in T.grid(PG, P, KB, TAPS, KC, NR):
            with T.sblock("weights"):
                vg, vp, vkb, vt, vc, vj = T.axis.remap("SSSSSS", [g, p, kb, t, c, j])
                k: T.let[T.int32] = (vg // G * TAPS + vt) * (KB * KC) + vkb * KC + vc
                start: T.let[T.int32] = layout.panel_start(vp)
                packed_w[vg, vp, vkb, vt, vc, vj] = T.if_then_else(
                    start + vj < OCG, taken(W, vg, k, start + vj), NO_WEIGHT
                )

    return pack

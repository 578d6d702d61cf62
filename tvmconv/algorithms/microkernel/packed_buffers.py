"""The parts of the packed operand as TIR buffers, which several phases declare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.microkernel.packing import PackedLayout


@dataclass(frozen=True)
class PackedBuffers:
    """The packed operand's clamp bounds, bias and weights, as TIR buffers."""

    bounds: Any
    bias: Any
    weights: Any


def packed_buffers(layout: PackedLayout[Any], packed: Any, flat_bias: bool = False) -> Any:
    """Declares the parts of `packed`; PackedBuffers, as a value of the parser.

    bias has the shape [groups][panels][NR], or with flat_bias that of all its elements in a row.
    """
    from tvm.script import tirx as T

    D = layout.dtype
    groups, panels, width = layout.bias_shape
    shape = (groups * panels * width,) if flat_bias else layout.bias_shape
    return T.meta_var(
        PackedBuffers(
            bounds=T.decl_buffer((2,), D.accumulator, data=packed, align=D.accumulator_bytes),
            bias=T.decl_buffer(
                shape, D.accumulator, data=packed, elem_offset=layout.bias_offset, align=D.accumulator_bytes
            ),
            weights=T.decl_buffer(
                (layout.weight_elements,), D.storage, data=packed, elem_offset=layout.weights_offset, align=D.bytes
            ),
        )
    )

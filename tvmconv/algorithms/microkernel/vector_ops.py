"""Vector operations that TIR lacks: masked loads and stores, reductions of masks."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from tvmconv.algorithms.microkernel.program import constant


def whole_vector(value: Any, lanes: int) -> Any:
    """A vector that is the value in every lane."""
    from tvm.script import tirx as T

    return T.Broadcast(value, lanes)


def masked_load(dtype: str, pointer: Any, mask: Any, lanes: int) -> Any:
    """The elements of type `dtype` at a pointer where the mask is not 0, and zeros elsewhere; nothing is read there."""
    from tvm.script import tirx as T

    taken = mask != whole_vector(0, lanes)
    zeros = whole_vector(constant(0, dtype), lanes)
    return T.call_llvm_intrin(f"{dtype}x{lanes}", "llvm.masked.load", pointer, taken, zeros)


def clamped(total: Any, bounds: Any, lanes: int) -> Any:
    """A vector within bounds[0:2]; NaN stays NaN, since the bounds come first in min and max."""
    from tvm.script import tirx as T

    return T.max(whole_vector(bounds[0], lanes), T.min(whole_vector(bounds[1], lanes), total))


def any_lane(masks: Sequence[Any]) -> Any:
    """Whether one of the masks is not 0 somewhere."""
    from tvm.script import tirx as T

    together = functools.reduce(lambda one, other: one | other, masks)
    return T.call_llvm_intrin("int32", "llvm.vector.reduce.or", together) != 0


def all_lanes(masks: Sequence[Any]) -> Any:
    """Whether none of the masks, of ones and zeros, has a zero."""
    from tvm.script import tirx as T

    together = functools.reduce(lambda one, other: one & other, masks)
    return T.call_llvm_intrin("int32", "llvm.vector.reduce.and", together) != 0


def masked_store(value: Any, pointer: Any, mask: Any, lanes: int) -> Any:
    """Writes the lanes where the mask is not 0."""
    from tvm.script import tirx as T

    return T.call_llvm_intrin("void", "llvm.masked.store", value, pointer, mask != whole_vector(0, lanes))

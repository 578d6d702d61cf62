"""Infers the shapes of a model's tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tvmconv.workload.onnx.errors import BadModel, one_line
from tvmconv.workload.onnx.folding import constants, fold
from tvmconv.workload.onnx.normal_form import in_order

if TYPE_CHECKING:
    import onnx


# Each follows one more Reshape to a computed shape; ShuffleNets have 32 of them.
_MOST_FOLDS = 200


@dataclass(frozen=True)
class Tensor:
    """A tensor of known rank. A dimension that is no number from 1 on is words that say what it is instead.

    `first` is the first dimension, with 1 where the model leaves the batch open.
    """

    name: str
    dtype: str
    dims: tuple[int | str, ...]
    first: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """The dimensions, all of which but the first have to be numbers."""
        return (self.first, *(int(size) for size in self.dims[1:]))


def tensors(path: Path, model: onnx.ModelProto, wanted: Collection[str]) -> dict[str, Tensor]:
    """All tensors of known rank; more is computed for those that are `wanted`. `model`'s inputs are changed.

    A first dimension of an input that the model leaves open is tried as 1 and as 2: what both give is so for any batch,
    and what only one of them gives, the batch of 1, holds for it.

    Raises BadModel if onnx cannot make sense of the model at all.
    """
    opened = _open_batches(model)
    one = _inferred(path, model, wanted, opened, batch=1)
    two = _inferred(path, model, wanted, opened, batch=2) if opened else one
    return {
        name: _both(tensor, two.get(name, tensor))
        for name, tensor in one.items()
        if name not in two or len(two[name].dims) == len(tensor.dims)
    }


def _both(one: Tensor, two: Tensor) -> Tensor:
    """The shape of a tensor that holds for a batch of 1 and of 2."""
    pairs = zip(one.dims, two.dims, strict=True)
    return replace(one, dims=tuple(a if a == b else "different for each batch" for a, b in pairs))


def _open_batches(model: onnx.ModelProto) -> list[onnx.TensorShapeProto.Dimension]:
    """The first dimensions that are no number, of inputs and of what the file states about tensors between nodes.

    Other dimensions that are 0 or less, which some exporters write for "any", are cleared.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    opened = []
    for value in (*inputs, *model.graph.value_info, *model.graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.dim_value <= 0:
                if dimension.HasField("dim_value"):
                    dimension.Clear()
                if axis == 0:
                    opened.append(dimension)
    return opened


def _inferred(
    path: Path,
    model: onnx.ModelProto,
    wanted: Collection[str],
    opened: Iterable[onnx.TensorShapeProto.Dimension],
    batch: int,
) -> dict[str, Tensor]:
    """All tensors of known rank if the `opened` dimensions are `batch`.

    What the file states about tensors between nodes may be out of date, and onnx would believe it: it is used only for
    tensors of which nothing can be inferred.
    """
    import onnx

    for dimension in opened:
        dimension.dim_value = batch
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:], bare.graph.output[:], bare.graph.node[:]
    bare.graph.node.extend(in_order(model.graph.node))
    found = _infer_and_fold(path, bare, wanted)
    stated = [value for value in (*model.graph.value_info, *model.graph.output) if not _is_known(value.name, found)]
    if stated:
        bare.graph.value_info.extend(stated)
        found = _infer_and_fold(path, bare, wanted)
    return found


def _infer_and_fold(path: Path, model: onnx.ModelProto, wanted: Collection[str]) -> dict[str, Tensor]:
    """The tensors' shapes; while some of the `wanted` ones are not known, what is known is folded into the nodes."""
    found = _infer(path, model)
    values = constants(model.graph)
    for _ in range(_MOST_FOLDS):
        if all(_is_known(name, found) for name in wanted):
            break
        if not fold(model, {name: tensor.dims for name, tensor in found.items()}, values):
            break
        found = _infer(path, model)
    return found


def _is_known(name: str, found: Mapping[str, Tensor]) -> bool:
    return name in found and not any(isinstance(size, str) for size in found[name].dims)


def _infer(path: Path, model: onnx.ModelProto) -> dict[str, Tensor]:
    from onnx import shape_inference

    try:
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # of onnx's C++ half, and of several kinds
        raise BadModel(f"{path}: shape inference failed: {one_line(error)}") from None
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            kind = value.type.tensor_type
            found[value.name] = _tensor(value.name, kind.elem_type, map(_size, kind.shape.dim))
    for weights in graph.initializer:
        dims = (size if size > 0 else str(size) for size in weights.dims)
        found[weights.name] = _tensor(weights.name, weights.data_type, dims)
    return found


def _tensor(name: str, data_type: int, dims: Iterable[int | str]) -> Tensor:
    dims = tuple(dims)
    first = dims[0] if dims and isinstance(dims[0], int) else 1
    return Tensor(name, _data_type(data_type), dims, first)


@cache
def _data_type(number: int) -> str:
    from onnx import TensorProto

    known = number in TensorProto.DataType.values()
    return TensorProto.DataType.Name(number).lower() if known else str(number)


def _size(dimension: onnx.TensorShapeProto.Dimension) -> int | str:
    if dimension.dim_value > 0:
        return dimension.dim_value
    if dimension.HasField("dim_value"):
        return str(dimension.dim_value)
    # onnx gives names of this kind to what it does not know
    return (
        repr(dimension.dim_param) if dimension.dim_param and not dimension.dim_param.startswith("unk__") else "unknown"
    )

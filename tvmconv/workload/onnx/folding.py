"""Operators on shapes replaced by what they give, where onnx's inference does not know it: it follows a shape that is
computed into Reshape from opset 14 on, and never through Div or into Pad."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tvmconv.workload.onnx.tensor_data import MOST_SIZES, small_array

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Values = dict[str, np.ndarray[Any, Any]]
    Sizes = tuple[int | str, ...]

_OF_SHAPES = ("Shape", "Size")

# Operators that exporters compute sizes with. What they give is hardly larger than what they take.
_OF_VALUES = {
    *("Add", "Sub", "Mul", "Div", "Mod", "Pow", "Neg", "Sqrt", "Ceil", "Floor", "Min", "Max", "Cast"),
    *("Equal", "Greater", "Less", "Where", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"),
    *("Concat", "Split", "Gather", "Slice", "Identity", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
}
_CONSTANTS = {  # attribute of Constant: its field, the type of the tensor
    "value_int": ("i", "int64"),
    "value_ints": ("ints", "int64"),
    "value_float": ("f", "float32"),
    "value_floats": ("floats", "float32"),
}

_HIGHEST_RANK = 2  # of their inputs: those of higher ranks could make a huge one by broadcasting


def constants(graph: onnx.GraphProto) -> Values:
    """Initializers and Constants that are small enough to be sizes."""
    arrays = {tensor.name: small_array(tensor) for tensor in graph.initializer}
    arrays |= {node.output[0]: _constant(node) for node in graph.node if node.op_type == "Constant" and node.output}
    return {name: array for name, array in arrays.items() if array is not None and _is_small(array)}


def _constant(node: onnx.NodeProto) -> np.ndarray[Any, Any] | None:
    """The value of a node Constant, if it has one of numbers."""
    import numpy as np

    for attribute in node.attribute:
        if attribute.name == "value":
            return small_array(attribute.t)
        if attribute.name in _CONSTANTS:
            field, dtype = _CONSTANTS[attribute.name]
            return np.array(getattr(attribute, field), dtype)
    return None


def fold(model: onnx.ModelProto, shapes: Mapping[str, Sizes], values: Values) -> bool:
    """Replace operators by initializers, in place, in the main graph; whether there was anything to replace.

    `shapes` are those of the tensors that are known so far, `values` the `constants` to begin with, later those of
    operators that were replaced, too. The nodes are in order.
    """
    from onnx import numpy_helper

    opsets = {known.domain: known.version for known in model.opset_import}
    kept = []
    for node in model.graph.node:
        inputs = _inputs(node, values, shapes)
        results = None if inputs is None else _results(node, inputs, opsets)
        if results is None:
            kept.append(node)
        else:
            values.update(results)
            model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in results.items())
    changed = len(kept) < len(model.graph.node)
    if changed:
        del model.graph.node[:]
        model.graph.node.extend(kept)
    return changed


def _inputs(node: onnx.NodeProto, values: Values, shapes: Mapping[str, Sizes]) -> Values | None:
    """The inputs of a node that can be replaced, by name; None for any other node."""
    import numpy as np

    names = [name for name in node.input if name]
    if node.domain or not names:
        return None
    if node.op_type in _OF_SHAPES:
        sizes = shapes.get(names[0], ("unknown",))
        if any(isinstance(size, str) for size in sizes) or math.prod(map(int, sizes)) > sys.maxsize:
            return None
        return {names[0]: np.broadcast_to(np.int8(0), [int(size) for size in sizes])}  # takes no memory
    if any(name not in values or values[name].ndim > _HIGHEST_RANK for name in names):
        return None
    if node.op_type == "ConstantOfShape":
        makes_little = 0 <= math.prod(map(int, values[names[0]].flat)) <= MOST_SIZES
    else:
        makes_little = node.op_type in _OF_VALUES and sum(values[name].size for name in names) <= 4 * MOST_SIZES
    return {name: values[name] for name in names} if makes_little else None


def _results(node: onnx.NodeProto, inputs: Values, opsets: Mapping[str, int]) -> Values | None:
    """The results of a node; None if they cannot be computed or are not small."""
    import numpy as np
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    takes, gives = ([helper.make_empty_tensor_value_info(name) for name in names] for names in (inputs, node.output))
    try:
        # A graph of its own: given the node alone, onnx would take the latest version of the operator.
        graph = helper.make_graph([node], "node", takes, gives)
        with np.errstate(all="ignore"):
            arrays = ReferenceEvaluator(graph, opsets=dict(opsets)).run(None, inputs)
        results = {name: np.asarray(array) for name, array in zip(node.output, arrays, strict=True) if name}
    except Exception:  # of NumPy and of onnx, of many kinds
        return None
    return results if all(map(_is_small, results.values())) else None


def _is_small(array: np.ndarray[Any, Any]) -> bool:
    return array.size <= MOST_SIZES and array.dtype.kind in "iufb"

"""Normalises models to the form that onnx's functions expect; onnxruntime and exporters allow several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmconv.workload.onnx.errors import BadModel
from tvmconv.workload.onnx.functions import all_nodes, subgraphs
from tvmconv.workload.onnx.tensor_data import MOST_SIZES, elements, small_array

if TYPE_CHECKING:
    import numpy as np
    import onnx

_ONNX, _ALIAS = "", "ai.onnx"


def normalize(path: Path, model: onnx.ModelProto) -> None:
    """Change the model in place. Raises BadModel if two nodes give one tensor."""
    _name_domains(model)
    _import_domains(model)
    for node in _every_node(model):
        _drop_empty_auto_pad(node)
    for graph in _every_graph(model):
        _make_dense(graph)
    _check_single_definitions(path, model.graph)


def in_order(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, each behind those whose outputs it reads. As they stand if they are so, or if there is a cycle."""
    nodes = list(nodes)
    producers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    reads = {
        index: {producers[name] for each in all_nodes([node]) for name in each.input if name in producers} - {index}
        for index, node in enumerate(nodes)
    }
    if all(max(before, default=-1) < index for index, before in reads.items()):
        return nodes
    try:
        return [nodes[index] for index in TopologicalSorter(reads).static_order()]
    except CycleError:
        return nodes


def _name_domains(model: onnx.ModelProto) -> None:
    """ONNX's own domain has two names, of which onnx's functions know the empty one."""
    for item in (*_every_node(model), *model.functions, *_imports(model)):
        if item.domain == _ALIAS:
            item.domain = _ONNX


def _import_domains(model: onnx.ModelProto) -> None:
    """A missing import of another domain would end the inference of all shapes; so would that of ONNX's own, which
    models before IR version 3 do not state."""
    if model.ir_version < 3 and not model.opset_import:
        model.opset_import.add(domain=_ONNX, version=1)
    for user, nodes in ((model, model.graph.node), *((function, function.node) for function in model.functions)):
        imported = {known.domain for known in user.opset_import}
        for domain in dict.fromkeys(node.domain for node in all_nodes(nodes)):
            if domain not in imported and domain != _ONNX:
                user.opset_import.add(domain=domain, version=1)


def _drop_empty_auto_pad(node: onnx.NodeProto) -> None:
    """An empty auto_pad is the default one, NOTSET."""
    for index, attribute in enumerate(node.attribute):
        if attribute.name == "auto_pad" and not attribute.s and attribute.type == attribute.STRING:
            del node.attribute[index]
            return


def _make_dense(graph: onnx.GraphProto) -> None:
    """Sparse initializers as dense ones: with their values if these may be sizes, else without."""
    from onnx import numpy_helper

    for sparse in graph.sparse_initializer:
        dense = graph.initializer.add(name=sparse.values.name, data_type=sparse.values.data_type, dims=sparse.dims)
        array = _dense_array(sparse) if elements(dense) <= MOST_SIZES else None
        if array is not None:
            dense.CopyFrom(numpy_helper.from_array(array, dense.name))
    del graph.sparse_initializer[:]


def _dense_array(sparse: onnx.SparseTensorProto) -> np.ndarray[Any, Any] | None:
    """The values with the zeros between them; None if they are not there or damaged."""
    import numpy as np

    values, indices = small_array(sparse.values), small_array(sparse.indices)
    if values is None or indices is None:
        return None
    try:
        array = np.zeros(tuple(sparse.dims), values.dtype)
        array[tuple(indices.T) if indices.ndim == 2 else np.unravel_index(indices, array.shape)] = values
    except (IndexError, TypeError, ValueError):  # for indices, sizes or their numbers that cannot be
        return None
    return array


def _check_single_definitions(path: Path, graph: onnx.GraphProto) -> None:
    defined = Counter(name for node in graph.node for name in node.output if name)
    defined.update({*(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)})
    twice = next((name for name, count in defined.items() if count > 1), None)
    if twice is not None:
        raise BadModel(f"{path} defines the tensor {twice!r} twice")


def _every_node(model: onnx.ModelProto) -> Iterable[onnx.NodeProto]:
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from all_nodes(nodes)


def _every_graph(model: onnx.ModelProto) -> Iterable[onnx.GraphProto]:
    yield model.graph
    for node in _every_node(model):
        yield from subgraphs(node)


def _imports(model: onnx.ModelProto) -> Iterable[onnx.OperatorSetIdProto]:
    for user in (model, *model.functions):
        yield from user.opset_import

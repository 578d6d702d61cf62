"""Inlines a model's local functions, with a bound on the resulting nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tvmconv.workload.onnx.errors import BadModel, one_line

if TYPE_CHECKING:
    import onnx

# A function that calls another twice, which calls another twice, has 2**n nodes. Exporters write some thousands.
_MOST_NODES = 100_000
_DEEPEST = 100  # onnx inlines no more

_NAME = "tvmconv.name"

FunctionKey = tuple[str, str, str]


def inlined(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without local functions, except those of another opset whose nodes the model's opset does not have.

    `name_in_file` tells what the nodes of functions were called. Raises BadModel for functions that call themselves or
    make too many nodes.
    """
    if not model.functions:
        return model
    from onnx import inliner

    _check_size(path, model)
    _take_over_opset(model)
    for function in model.functions:
        for node in all_nodes(function.node):
            node.metadata_props.add(key=_NAME, value=name_in_file(node))
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # of onnx's C++ half, and of several kinds
        raise BadModel(f"{path}: its local functions cannot be inlined: {one_line(error)}") from None


def name_in_file(node: onnx.NodeProto) -> str:
    """A node's name in the file, where inlining may have changed it; that of its first output if it has none."""
    kept = next((entry.value for entry in node.metadata_props if entry.key == _NAME), "")
    return kept or node.name or next(iter(node.output), "") or node.op_type


def function_key(function: onnx.FunctionProto) -> FunctionKey:
    return (function.domain, function.name, function.overload)


def called(node: onnx.NodeProto) -> FunctionKey:
    """The key of the function that a node calls, if it calls one."""
    return (node.domain, node.op_type, node.overload)


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and those of their branches and loops."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph.node)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _take_over_opset(model: onnx.ModelProto) -> None:
    """Give functions the model's version of ONNX's opset where their nodes are valid in it: onnx inlines no others."""
    version = next((known.version for known in model.opset_import if not known.domain), 0)
    for function in model.functions:
        for known in function.opset_import:
            if not known.domain and all(_is_valid(node, version) for node in all_nodes(function.node)):
                known.version = version


def _is_valid(node: onnx.NodeProto, version: int) -> bool:
    from onnx import defs

    if node.domain:
        return True
    try:
        schema = defs.get_schema(node.op_type, version)
    except defs.SchemaError:
        return False
    attributes_known = all(attribute.name in schema.attributes for attribute in node.attribute)
    return attributes_known and schema.min_input <= len(node.input) <= schema.max_input


def _check_size(path: Path, model: onnx.ModelProto) -> None:
    calls = {
        function_key(function): [called(node) for node in all_nodes(function.node)] for function in model.functions
    }
    sizes: dict[FunctionKey, int] = {}
    for key in calls:
        _count(path, key, calls, sizes, ())
    total = sum(sizes.get(called(node), 1) for node in all_nodes(model.graph.node))
    if total > _MOST_NODES:
        raise BadModel(f"{path}: its local functions make {_rounded(total)} nodes: {_MOST_NODES} are read at most")


def _count(
    path: Path,
    key: FunctionKey,
    calls: Mapping[FunctionKey, list[FunctionKey]],
    sizes: dict[FunctionKey, int],
    callers: tuple[FunctionKey, ...],
) -> int:
    """The nodes that a function makes, or 1 for an operator; also put into `sizes`."""
    if key in callers:
        raise BadModel(f"{path}: its local functions cannot be inlined: {key[1]!r} of {key[0]!r} calls itself")
    if len(callers) > _DEEPEST:
        raise BadModel(f"{path}: its local functions call one another more than {_DEEPEST} deep")
    if key not in calls:
        return 1
    if key not in sizes:
        sizes[key] = sum(_count(path, callee, calls, sizes, (*callers, key)) for callee in calls[key])
    return sizes[key]


def _rounded(number: int) -> str:
    return str(number) if number < 10**9 else f"about 10^{len(str(number)) - 1}"

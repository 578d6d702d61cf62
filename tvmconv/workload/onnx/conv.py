"""Converts Conv nodes of a model to problems, or says why a node is none."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvmconv.support.text import shortened
from tvmconv.workload.onnx.functions import FunctionKey, all_nodes, called, function_key, name_in_file, subgraphs
from tvmconv.workload.onnx.inference import Tensor
from tvmconv.workload.shape import ConvShape

if TYPE_CHECKING:
    import onnx

# Operators of any domain: Conv, ConvTranspose, QLinearConv, FusedConv, but not those that convert.
_CONVOLVES = re.compile("Conv(?!ert)")

_ATTRIBUTES = {
    "auto_pad": "STRING",
    "dilations": "INTS",
    "group": "INT",
    "kernel_shape": "INTS",
    "pads": "INTS",
    "strides": "INTS",
}
_SHOWN = ("INT", "INTS", "FLOAT", "FLOATS", "STRING")  # types of attributes whose values go into a line

_OPERANDS = ("input", "weights", "bias")
_AXES = {"input": ("batch", "channels", "height", "width"), "weights": ("outputs", "inputs", "height", "width")}


@dataclass(frozen=True)
class Convolution:
    """A node that convolves, and the node whose branch or loop it is `inside`."""

    node: onnx.NodeProto
    inside: str | None = None


@dataclass(frozen=True)
class Problem:
    """The problem of a node; rejected if it has a `reason`. `open_batch`: its mb is 1 because the model says
    nothing."""

    name: str
    shape: ConvShape | None = None
    reason: str | None = None
    open_batch: bool = False


def convolutions(model: onnx.ModelProto) -> list[Convolution]:
    """The nodes whose operators convolve, in order, those in branches and loops too, and those that call a function
    that convolves and could not be inlined."""
    nodes = {function_key(function): list(all_nodes(function.node)) for function in model.functions}
    convolving: set[FunctionKey] = set()
    while more := {
        key for key in nodes.keys() - convolving if any(_convolves(node, convolving) for node in nodes[key])
    }:
        convolving |= more
    return list(_convolutions(model.graph.node, convolving))


def _convolutions(
    nodes: Iterable[onnx.NodeProto], convolving: Collection[FunctionKey], inside: str | None = None
) -> Iterator[Convolution]:
    for node in nodes:
        if _convolves(node, convolving):
            yield Convolution(node, inside)
        for graph in subgraphs(node):
            yield from _convolutions(graph.node, convolving, inside or repr(f"{node.op_type} {name_in_file(node)}"))


def _convolves(node: onnx.NodeProto, convolving: Collection[FunctionKey]) -> bool:
    return _CONVOLVES.search(node.op_type) is not None or called(node) in convolving


def problem(convolution: Convolution, tensors: Mapping[str, Tensor]) -> Problem:
    """The problem of a node, given the model's tensors. Whatever is no static 2-D f32 Conv is rejected."""
    node = convolution.node
    try:
        _check_operator(convolution)
        x, w = (_operand(node, index, tensors) for index in (0, 1))
        shape = _shape(node, x, w)
        bias = _bias(node, shape.oc, tensors)
    except ValueError as error:
        return Problem(name_in_file(node), reason=str(error))
    foreign = next((tensor for tensor in (x, w, bias) if tensor and tensor.dtype != "float"), None)
    reason = _foreign_type(foreign, foreign is bias) if foreign else None
    return Problem(name_in_file(node), shape, reason, open_batch=not isinstance(x.dims[0], int))


def _foreign_type(tensor: Tensor, is_bias: bool) -> str:
    whose = f" of its bias {tensor.name!r}" if is_bias else ""
    return f"data type {tensor.dtype}{whose} is not supported: only f32, which ONNX calls float, is"


def operands(convolutions: Iterable[Convolution]) -> set[str]:
    """The names of the tensors of which `problem` wants to know the shape."""
    return {
        name
        for convolution in convolutions
        if not convolution.inside
        for name in convolution.node.input[: len(_OPERANDS)]
        if name
    }


def _check_operator(convolution: Convolution) -> None:
    node = convolution.node
    if node.domain:
        raise ValueError(f"operator {node.op_type!r} of {node.domain!r} is not supported: only ONNX's own Conv is")
    if node.op_type != "Conv":
        raise ValueError(f"operator {node.op_type!r} is not supported: only Conv is")
    if convolution.inside:
        raise ValueError(f"a Conv in a branch or a loop, here {convolution.inside}, is not supported")
    if len(node.input) > len(_OPERANDS):
        raise ValueError(f"the node has {len(node.input)} inputs, but Conv has at most {len(_OPERANDS)}")


def _operand(node: onnx.NodeProto, index: int, tensors: Mapping[str, Tensor]) -> Tensor:
    """Input or weights of a node: four dimensions, all numbers but for the batch."""
    what, name = _OPERANDS[index], _input(node, index)
    if not name:
        raise ValueError(f"the node has no {what}")
    if name not in tensors:
        raise ValueError(f"the shape of its {what} {name!r} cannot be inferred")
    tensor = tensors[name]
    if len(tensor.dims) != 4:
        raise ValueError(
            f"only 2-D convolutions are supported: its {what} must have 4 dimensions, not {len(tensor.dims)}"
        )
    for axis, size in enumerate(tensor.dims):
        if not isinstance(size, int) and (what, axis) != ("input", 0):
            raise ValueError(
                f"dimension {axis} ({_AXES[what][axis]}) of its {what} {name!r} is {size}, not a fixed size"
            )
    return tensor


def _bias(node: onnx.NodeProto, oc: int, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The bias, if there is one of known rank: one number for each output channel, if the file says how many."""
    bias = tensors.get(_input(node, 2))
    if bias and not (len(bias.dims) == 1 and (bias.dims[0] == oc or isinstance(bias.dims[0], str))):
        sizes = "x".join(map(str, bias.dims)) or "a single number"
        raise ValueError(f"its bias {bias.name!r} has shape {sizes}, but must have one dimension of {oc}")
    return bias


def _input(node: onnx.NodeProto, index: int) -> str:
    """The name of an operand, empty if the node has none."""
    return node.input[index] if index < len(node.input) else ""


def _shape(node: onnx.NodeProto, x: Tensor, w: Tensor) -> ConvShape:
    """ONNX, operator Conv: https://onnx.ai/onnx/operators/onnx__Conv.html. Raises ValueError for what cannot be."""
    attributes = _attributes(node)
    group = attributes["group"].i if "group" in attributes else 1
    mb, ic, ih, iw = x.sizes
    oc, icg, kh, kw = w.sizes
    if icg * group != ic:
        raise ValueError(f"{group} groups of {icg} channels in the weights do not make the {ic} of the input")
    if (kernel := _numbers(attributes, "kernel_shape", (kh, kw))) != (kh, kw):
        raise ValueError(f"kernel_shape is {kernel[0]}x{kernel[1]}, but the weights have {kh}x{kw}")
    strides = _numbers(attributes, "strides", (1, 1), least=1)
    dilations = _numbers(attributes, "dilations", (1, 1), least=1)
    pads = _numbers(attributes, "pads", (0, 0, 0, 0))
    auto_pad = attributes["auto_pad"].s.decode(errors="replace") if "auto_pad" in attributes else "NOTSET"

    (oh, ph), (ow, pw) = (
        _output_and_padding(size, (taps - 1) * dilation + 1, stride, auto_pad, (pads[axis], pads[axis + 2]))
        for axis, (size, taps, stride, dilation) in enumerate(zip((ih, iw), (kh, kw), strides, dilations, strict=True))
    )
    (sh, sw), (dh, dw) = strides, dilations
    return ConvShape(
        g=group, mb=mb, ic=ic, ih=ih, iw=iw, oc=oc, oh=oh, ow=ow, kh=kh, kw=kw, sh=sh, sw=sw, ph=ph, pw=pw,
        dh=dh - 1, dw=dw - 1,  # ours count from 0, as benchdnn's do
    )  # fmt: skip


def _output_and_padding(size: int, extent: int, stride: int, auto_pad: str, pads: tuple[int, int]) -> tuple[int, int]:
    """Along one axis, the size of the output and the padding at its start."""
    if auto_pad != "NOTSET" and any(pads):
        raise ValueError(f"auto_pad {auto_pad!r} and pads exclude each other: give one of them")
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        output = -(-size // stride)
        both_ends = max(0, (output - 1) * stride + extent - size)
        return output, (both_ends + (auto_pad == "SAME_LOWER")) // 2
    if auto_pad not in ("NOTSET", "VALID"):
        raise ValueError(f"auto_pad {auto_pad!r} is not one of NOTSET, VALID, SAME_UPPER and SAME_LOWER")
    start, end = pads if auto_pad == "NOTSET" else (0, 0)
    output = (size + start + end - extent) // stride + 1
    if output < 1:
        raise ValueError(
            f"a kernel that spans {extent} does not fit an input of {size} with {start} + {end} of padding"
        )
    return output, start


def _attributes(node: onnx.NodeProto) -> dict[str, onnx.AttributeProto]:
    """Conv's attributes by name, each of its own type."""
    from onnx import AttributeProto, helper

    attributes: dict[str, onnx.AttributeProto] = {}
    for attribute in node.attribute:
        name = attribute.name
        if name not in _ATTRIBUTES:
            raise ValueError(f"Conv has no attribute {shortened(name)!r}")
        if name in attributes:
            raise ValueError(f"attribute {name} is given twice")
        kind = AttributeProto.AttributeType.Name(attribute.type)
        if kind not in ("UNDEFINED", _ATTRIBUTES[name]):  # files before IR version 2 do not state it
            value = helper.get_attribute_value(attribute) if kind in _SHOWN else "a value"
            text = repr(value.decode(errors="replace") if isinstance(value, bytes) else value)
            raise ValueError(f"attribute {name} is {shortened(text)} of type {kind}, but must be {_ATTRIBUTES[name]}")
        attributes[name] = attribute
    return attributes


def _numbers(
    attributes: dict[str, onnx.AttributeProto], name: str, default: tuple[int, ...], least: int = 0
) -> tuple[int, ...]:
    """An attribute that is a list of as many whole numbers as its default."""
    if name not in attributes:
        return default
    values = tuple(attributes[name].ints)
    if len(values) != len(default):
        raise ValueError(f"{name} has {len(values)} numbers, but must have {len(default)}")
    if min(values) < least:
        raise ValueError(f"{name} is {list(values)}: its numbers must be at least {least}")
    return values

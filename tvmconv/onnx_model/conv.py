"""The nodes of a model that convolve, as problems: ONNX's operator Conv in our terms, or why a node is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvmconv.onnx_model.inference import Tensor
from tvmconv.shape import ConvShape

if TYPE_CHECKING:
    import onnx

# Operators of any domain: Conv, ConvTranspose, QLinearConv, FusedConv, but not those that convert.
_CONVOLVES = re.compile("Conv(?!ert)")

_ONNX_DOMAINS = ("", "ai.onnx")

_AXES = {"input": ("batch", "channels", "height", "width"), "weights": ("outputs", "inputs", "height", "width")}


@dataclass(frozen=True)
class Convolution:
    """A node that convolves, and the node whose branch or loop it is `inside`."""

    node: onnx.NodeProto
    inside: str | None = None


@dataclass(frozen=True)
class Problem:
    """What a node computes; rejected if it has a `reason`. `open_batch`: its mb is 1 because the model says nothing."""

    name: str
    shape: ConvShape | None = None
    reason: str | None = None
    open_batch: bool = False


def convolutions(nodes: Iterable[onnx.NodeProto], inside: str | None = None) -> Iterator[Convolution]:
    """The nodes whose operators convolve, in order, those in branches and loops too."""
    for node in nodes:
        if _CONVOLVES.search(node.op_type):
            yield Convolution(node, inside)
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from convolutions(graph.node, inside or repr(f"{node.op_type} {_name(node)}"))


def problem(convolution: Convolution, tensors: Mapping[str, Tensor]) -> Problem:
    """The problem of a node, given the model's tensors. Whatever is no static 2-D f32 Conv is rejected."""
    name = _name(convolution.node)
    try:
        _check_operator(convolution)
        x, w = (_operand(convolution.node, index, tensors) for index in (0, 1))
        shape = _shape(convolution.node, x, w)
    except ValueError as error:
        return Problem(name, reason=str(error))
    foreign = next((tensor.dtype for tensor in (x, w) if tensor.dtype != "float"), None)
    reason = f"data type {foreign} is not supported: only f32, which ONNX calls float, is" if foreign else None
    return Problem(name, shape, reason, open_batch=not isinstance(x.dims[0], int))


def _name(node: onnx.NodeProto) -> str:
    return node.name or next(iter(node.output), "") or node.op_type


def _check_operator(convolution: Convolution) -> None:
    node = convolution.node
    if node.domain not in _ONNX_DOMAINS:
        raise ValueError(f"operator {node.op_type!r} of {node.domain!r} is not supported: only ONNX's own Conv is")
    if node.op_type != "Conv":
        raise ValueError(f"operator {node.op_type!r} is not supported: only Conv is")
    if convolution.inside:
        raise ValueError(f"a Conv in a branch or a loop, here {convolution.inside}, is not supported")


def _operand(node: onnx.NodeProto, index: int, tensors: Mapping[str, Tensor]) -> Tensor:
    """Input or weights of a node: four dimensions, all numbers but for the batch."""
    what = ("input", "weights")[index]
    name = node.input[index] if index < len(node.input) else ""
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


def _shape(node: onnx.NodeProto, x: Tensor, w: Tensor) -> ConvShape:
    """ONNX, operator Conv: https://onnx.ai/onnx/operators/onnx__Conv.html. Raises ValueError for what cannot be."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
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

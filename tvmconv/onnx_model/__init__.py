"""The convolutions of an ONNX model as layers: distinct, with counts; with a reason where one is rejected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tvmconv.names import unknown
from tvmconv.onnx_model.conv import Problem, convolutions, problem
from tvmconv.onnx_model.inference import tensors
from tvmconv.onnx_model.model_file import BadModel, read
from tvmconv.shape import ConvShape

__all__ = ["BadModel", "ModelLayer", "layer", "layers"]

# A file name has room for 255 bytes; algorithm and descriptor may have to go into it too.
_LONGEST_NAME = 100


@dataclass(frozen=True)
class ModelLayer:
    """A convolution of a model: the name of the first node that has its shape, how many have it.

    With a `reason` it is rejected, and its `shape` is None if it has none.
    """

    name: str
    shape: ConvShape | None
    count: int = 1
    reason: str | None = None


def layers(path: Path, warn: Callable[[str], None]) -> list[ModelLayer]:
    """The distinct convolutions of the model, in order of first occurrence.

    What is not a static 2-D f32 convolution is a layer with a reason; nodes that do not convolve are none. A batch that
    the model leaves open is taken as 1, and `warn` is told once. Weights are not needed, so external data may be
    missing; `warn` is told that too.

    Raises ValueError, with one sentence, for a file that cannot be opened, and BadModel if it is no model that can be
    understood or one without any convolution.
    """
    distinct: dict[object, ModelLayer] = {}
    for node in _nodes(path, warn):
        # Nodes of one shape are one layer, and so are those rejected for one reason, if their shape is known.
        distinct.setdefault((node.shape, node.reason) if node.shape else node.name, node)
    return list(distinct.values())


def layer(path: Path, name: str, warn: Callable[[str], None]) -> ModelLayer:
    """The convolution of that name, whether or not it is the first of its shape. Raises as `layers` does, and
    ValueError for a name that there is not."""
    by_name = {node.name: node for node in _nodes(path, warn)}
    found = by_name.get(name) or by_name.get(_cleaned(name))
    if found is None:
        raise ValueError(unknown(f"{path} layer", name, tuple(by_name), f"tvmconv list layers {path}"))
    return found


def _nodes(path: Path, warn: Callable[[str], None]) -> list[ModelLayer]:
    """A layer for each convolution node, with the count of its shape."""
    model = read(path, warn)
    nodes = list(convolutions(model.graph.node))
    if not nodes:
        raise BadModel(f"{path} holds no convolution")
    known = tensors(path, model)
    problems = [problem(node, known) for node in nodes]
    if any(found.open_batch and not found.reason for found in problems):
        warn(f"{path}: the model leaves the size of the batch open; 1 is taken")
    counts = Counter((found.shape, found.reason) for found in problems)
    return [
        ModelLayer(
            name,
            found.shape and replace(found.shape, name=name),
            counts[found.shape, found.reason] if found.shape else 1,
            found.reason,
        )
        for name, found in zip(_names(problems), problems, strict=True)
    ]


def _names(problems: Sequence[Problem]) -> list[str]:
    """The nodes' names, fit for descriptors and files; equal ones, which ONNX allows, are numbered."""
    names: dict[str, None] = {}
    for found in problems:
        cleaned = _cleaned(found.name) or "unnamed"
        name, number = cleaned, 1
        while name in names:
            number += 1
            name = f"{cleaned}_{number}"
        names[name] = None
    return list(names)


def _cleaned(name: str) -> str:
    """A node's name as descriptors, files and workloads can hold it: `/layer1/conv1` is `layer1_conv1`."""
    return re.sub(r"[^\w.+-]+", "_", name.strip("/"), flags=re.ASCII)[:_LONGEST_NAME]

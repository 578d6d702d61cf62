"""The convolutions of an ONNX model as layers: distinct, with counts; with a reason where one is rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tvmconv.workload.onnx import node_names
from tvmconv.workload.onnx.conv import Problem, convolutions, operands, problem
from tvmconv.workload.onnx.errors import BadModel, NotAModel
from tvmconv.workload.onnx.inference import tensors
from tvmconv.workload.onnx.model_file import read
from tvmconv.workload.shape import ConvShape

__all__ = ["BadModel", "ModelLayer", "NotAModel", "layer", "layers"]


@dataclass(frozen=True)
class ModelLayer:
    """A convolution of a model: the label of the first node that has its shape (see node_names), how many have it.

    With a `reason` it is rejected, and its `shape` is None if it has none.
    """

    name: str
    shape: ConvShape | None
    count: int = 1
    reason: str | None = None


def layers(path: Path, warn: Callable[[str], None]) -> list[ModelLayer]:
    """The distinct convolutions of the model, in order of first occurrence.

    What is not a static 2-D f32 convolution is a layer with a reason; nodes that do not convolve are none. A batch that
    the model leaves open is taken as 1, and `warn` is called once. Weights are not needed, so external data may be
    missing; `warn` is called for that too.

    Raises ValueError, with one sentence, for a file that cannot be opened, and BadModel if it is no model that can be
    understood or one without any convolution.
    """
    distinct: dict[object, ModelLayer] = {}
    for node in _layers(_problems(path, warn)):
        # Nodes of one shape are one layer, and so are those rejected for one reason, if their shape is known.
        distinct.setdefault((node.shape, node.reason) if node.shape else node.name, node)
    return list(distinct.values())


def layer(path: Path, name: str, warn: Callable[[str], None]) -> ModelLayer:
    """The convolution that `name` means, whether or not it is the first of its shape. Raises as `layers` does, and
    ValueError for a name that there is not, or that several have."""
    problems = _problems(path, warn)
    return _layers(problems)[node_names.find(name, [found.name for found in problems], str(path))]


def _problems(path: Path, warn: Callable[[str], None]) -> list[Problem]:
    """The problem of each convolution node."""
    model = read(path, warn)
    nodes = convolutions(model)
    if not nodes:
        raise BadModel(f"{path} holds no convolution")
    known = tensors(path, model, operands(nodes))
    problems = [problem(node, known) for node in nodes]
    if any(found.open_batch and not found.reason for found in problems):
        warn(f"{path}: the model leaves the size of the batch open; 1 is taken")
    return problems


def _layers(problems: list[Problem]) -> list[ModelLayer]:
    """A layer for each problem, with the count of its shape."""
    counts = Counter((found.shape, found.reason) for found in problems)
    return [
        ModelLayer(
            label,
            found.shape and replace(found.shape, name=label),
            counts[found.shape, found.reason] if found.shape else 1,
            found.reason,
        )
        for label, found in zip(node_names.labels([found.name for found in problems]), problems, strict=True)
    ]

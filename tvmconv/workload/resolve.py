"""Resolves what a user asks for to layers: descriptors, networks, models, single layers, batch files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from tvmconv.support.text import unknown
from tvmconv.workload import networks, onnx
from tvmconv.workload.benchdnn_file import BatchReader
from tvmconv.workload.descriptor import starts_descriptor
from tvmconv.workload.layer import Layer
from tvmconv.workload.shape import ConvShape

__all__ = ["Layer", "resolve"]

Warn = Callable[[str], None]


def resolve(workloads: Sequence[str], warn: Warn) -> list[Layer]:
    """The layers of all `workloads`, in order.

    A workload is a benchdnn descriptor, NETWORK, NETWORK/LAYER, MODEL, MODEL/LAYER or @FILE, a benchdnn batch file. A
    MODEL is the path of an ONNX file or pipe. If its name does not end in .onnx, descriptors and networks come first:
    ./resnet18 is a file in any case. In a batch file each problem is a row of its own. A problem of a file that cannot
    be run is a rejected row, and so is a .onnx file that holds no model. `warn` is called with assumptions on a model,
    and once for each option of batch files that changes nothing here.

    Raises ValueError, with one sentence, for a workload that means nothing and a file that cannot be read, includes
    itself, holds no problem, or asks for more than can be meant.
    """
    batch_files = BatchReader(warn)
    return [layer for workload in workloads for layer in _resolve(workload, batch_files)]


def _resolve(workload: str, batch_files: BatchReader) -> list[Layer]:
    word = workload.strip()
    if word.startswith("@"):
        return batch_files.read(Path(os.path.expanduser(word[1:])))
    model = _model(workload) or _model(word)  # a layer's name may end in a blank
    if model and model[0].suffix == ".onnx":
        return _model_layers(workload, *model, batch_files.warn)
    if not word or starts_descriptor(word):
        shape = ConvShape.parse(word)
        return [Layer(word, shape, shape.name)]

    network, slash, name = word.partition("/")
    if network in networks.NETWORKS:
        found = (networks.layer(network, name),) if slash else networks.layers(network)
        return [Layer(word, layer.shape, layer.name, layer.count) for layer in found]
    if model:
        return _model_layers(workload, *model, batch_files.warn)
    sentence = unknown("network", network, networks.NETWORKS)
    raise ValueError(f"{sentence}; a descriptor looks like ic64ih56oc64kh3ph1")


def _model(workload: str) -> tuple[Path, str] | None:
    """The file and the layer's name, which may be empty, if a workload is MODEL or MODEL/LAYER: the part up to one of
    its slashes is the path of a file, or ends in .onnx."""
    path = os.path.expanduser(workload)
    cuts = [found.start() for found in re.finditer(r"/|\Z", path)]
    for cut in cuts:
        if os.path.exists(path[:cut]) and not os.path.isdir(path[:cut]):
            return Path(path[:cut]), path[cut + 1 :]
    named = [cut for cut in cuts if path[:cut].endswith(".onnx")]
    if not named or starts_descriptor(workload):  # a descriptor's name may end like that
        return None
    return Path(path[: named[-1]]), path[named[-1] + 1 :]


def _model_layers(workload: str, path: Path, name: str, warn: Warn) -> list[Layer]:
    try:
        found = [onnx.layer(path, name, warn)] if name else onnx.layers(path, warn)
    except onnx.BadModel as error:
        if isinstance(error, onnx.NotAModel) and path.suffix != ".onnx":
            hint = "" if error.kind else f"; write @{path} to read it as a benchdnn batch file"
            raise ValueError(f"{error}{hint}") from None
        return [Layer(workload, None, reason=str(error))]
    return [Layer(workload, layer.shape, layer.name, layer.count, layer.reason) for layer in found]

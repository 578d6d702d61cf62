"""ONNX models of a few nodes, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import parser

from tvmconv.workload.resolve import Layer

X, W = "float[1,3,8,8] x", "float[4,3,3,3] w"
CONV = "y = Conv(x, w)"


def parsed(
    body: str, inputs: str = f"{X}, {W}", *, opsets: str = '"" : 17', ir: int = 8, more: str = ""
) -> onnx.ModelProto:
    """The model of these nodes, in ONNX's own notation; `more` is local functions."""
    header = f"<ir_version: {ir}, opset_import: [{opsets}]>"
    return parser.parse_model(f"{header} g ({inputs}) => (float[a,b,c,d] y) {{ {body} }} {more}")


def write(folder: Path, model: onnx.ModelProto, name: str = "m.onnx", names: Sequence[str] = ()) -> str:
    """Write the model, whose convolutions are called `names` in order, and return the file's path."""
    convolutions = (node for node in model.graph.node if node.op_type == "Conv")
    for node, called in zip(convolutions, names, strict=False):
        node.name = called
    (folder / name).write_bytes(model.SerializeToString())
    return str(folder / name)


def summary(rows: list[Layer]) -> list[str]:
    return [row.reason or str(row.shape) for row in rows]

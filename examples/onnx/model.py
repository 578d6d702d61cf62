"""The convolutions of an ONNX model: list them, prove their kernels exact, compile them into one file."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small_model() -> onnx.ModelProto:
    """Two convolutions with a Relu between them, of random weights."""
    rng = np.random.default_rng(0)
    sizes = {"first.w": (8, 3, 3, 3), "first.b": (8,), "second.w": (16, 8, 1, 1)}
    weights = [
        numpy_helper.from_array(rng.standard_normal(size).astype(np.float32), name) for name, size in sizes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "first.w", "first.b"], ["a"], name="first", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second.w"], ["y"], name="second"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 16, 16])
    model = helper.make_model(helper.make_graph(nodes, "small", [x], [y], weights))
    onnx.checker.check_model(model)
    return model


def tvmconv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "tvmconv", *arguments], check=True)


with tempfile.TemporaryDirectory() as folder:
    path = str(Path(folder) / "small.onnx")
    onnx.save(small_model(), path)
    tvmconv("list", "layers", path)
    tvmconv("verify", path, "-a", "auto")
    tvmconv("compile", path, "-o", str(Path(folder) / "small.so"))

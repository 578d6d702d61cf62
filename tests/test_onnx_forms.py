"""Forms of models that others read, and what has a bound in those that nobody would write."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.layers import no_warning
from tests.onnx_models import CONV, W, X, parsed, summary, write
from tvmconv.workload.resolve import resolve


def test_a_function_that_cannot_be_inlined_is_a_rejected_row(tmp_path: Path) -> None:
    more = (
        '<domain: "own", opset_import: ["" : 11]> Block (a, b) => (c) { s = Squeeze <axes = [0]> (a) c = Conv(s, b) }'
    )
    model = parsed("[call] t = own.Block(x, w) y = Conv(x, w)", opsets='"" : 17, "own" : 1', more=more)
    assert summary(resolve([write(tmp_path, model)], no_warning)) == [
        "operator 'Block' of 'own' is not supported: only ONNX's own Conv is",
        "mb1ic3ih8oc4oh6kh3ph0",
    ]


@pytest.mark.parametrize(
    ("depth", "calls", "says"),
    [
        (29, 2, "its local functions make 268435457 nodes: 100000 are read at most"),
        (90, 3, "its local functions make about 10^42 nodes"),
        (5000, 1, "deep"),
    ],
)
def test_nested_functions_have_a_bound(tmp_path: Path, depth: int, calls: int, says: str) -> None:
    """Each function calls the next one so many times; the outermost stands first."""
    opsets = '"" : 17, "own" : 1'
    bodies = [" ".join(f"c{call} = own.F{level - 1}(a)" for call in range(calls)) for level in range(1, depth)]
    functions = [
        f'<domain: "own", opset_import: [{opsets}]> F{level} (a) => (c0) {{ {body} }}'
        for level, body in reversed([*enumerate(["c0 = Relu(a)", *bodies])])
    ]
    model = parsed(f"r = own.F{depth - 1}(x) y = Conv(r, w)", opsets=opsets, more=" ".join(functions))
    (row,) = resolve([write(tmp_path, model)], no_warning)
    assert says in (row.reason or "") and row.shape is None


RESHAPED = """
    sizes = Shape(x) zero = Constant <value = int64 {0}> () batch = Gather <axis = 0> (sizes, zero)
    batches = Unsqueeze <axes = [0]> (batch) rest = Constant <value = int64[3] {3, 4, 16}> ()
    wanted = Concat <axis = 0> (batches, rest) r = Reshape(x, wanted) y = Conv(r, w)"""
HALVED = """
    sizes = Shape(x) two = Constant <value = int64[1] {2}> () start = Constant <value = int64[1] {2}> ()
    end = Constant <value = int64[1] {3}> () height = Slice(sizes, start, end) half = Div(height, two)
    first = Constant <value = int64[2] {1, 3}> () rest = Constant <value = int64[1] {-1}> ()
    wanted = Concat <axis = 0> (first, half, rest) r = Reshape(x, wanted) y = Conv(r, w)"""
WIDE, PLAIN = "mb1ic3ih4iw16oc4oh2ow14kh3kw3ph0pw0", "mb1ic3ih8oc4oh6kh3ph0"


def in_domain(model: onnx.ModelProto, domain: str) -> onnx.ModelProto:
    for node in model.graph.node:
        node.domain = domain
    return model


def sparse(name: str, values: np.ndarray, dims: Sequence[int]) -> onnx.SparseTensorProto:
    where = onnx.numpy_helper.from_array(np.arange(len(values)), "where")
    return onnx.helper.make_sparse_tensor(onnx.numpy_helper.from_array(values, name), where, dims)


def with_sparse(model: onnx.ModelProto, *tensors: onnx.SparseTensorProto) -> onnx.ModelProto:
    model.graph.sparse_initializer.extend(tensors)
    return model


def with_empty_bias(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[0].input.append("")
    return model


FUSED = "operator 'FusedConv' of 'com.microsoft' is not supported: only ONNX's own Conv is"


# What onnxruntime 1.31 reads too, each tried there; but for Magic, of which it knows nothing.
@pytest.mark.parametrize(
    ("model", "found"),
    [
        (in_domain(parsed("r = Relu(x) y = Conv(r, w)"), "ai.onnx"), [PLAIN]),
        (in_domain(parsed("r = Relu(x) y = Conv(r, w)", opsets='"ai.onnx" : 17'), "ai.onnx"), [PLAIN]),
        (
            parsed('t = Conv <auto_pad = ""> (x, w) y = Conv(t, v)', f"{X}, {W}, float[2,4,3,3] v"),
            [PLAIN, "mb1ic4ih6oc2oh4kh3ph0"],
        ),
        (with_sparse(parsed(CONV, X), sparse("w", np.ones(3, np.float32), (4, 3, 3, 3))), [PLAIN]),
        (with_sparse(parsed("r = Reshape(x, s) y = Conv(r, w)"), sparse("s", np.array([1, 3, 4, 16]), (4,))), [WIDE]),
        (parsed(RESHAPED, opsets='"" : 5'), [WIDE]),
        (parsed(RESHAPED, opsets='"" : 9'), [WIDE]),
        (parsed(RESHAPED, opsets='"" : 11'), [WIDE]),
        (parsed(HALVED), [WIDE]),
        (
            parsed("n = Constant <value = int64[8] {0,0,1,1,0,0,1,1}> () p = Add(n, n) r = Pad(x, p) y = Conv(r, w)"),
            ["mb1ic3ih12oc4oh10kh3ph0"],
        ),
        (parsed("t = com.microsoft.FusedConv(x, w) y = Conv(x, w)"), [FUSED, PLAIN]),
        (
            parsed("r = own.Magic(x) t = Conv(r, w) y = Conv(x, w)"),
            ["the shape of its input 'r' cannot be inferred", PLAIN],
        ),
        (parsed("y = Conv(r, w) r = Relu(s) s = Relu(t) t = Relu(x)"), [PLAIN]),
        (with_empty_bias(parsed(CONV)), [PLAIN]),
        (parsed("s = Constant <value = int64[4] {4,3,3,3}> () w = ConstantOfShape(s) y = Conv(x, w)", X), [PLAIN]),
        (parsed("v = DequantizeLinear(w, s) y = Conv(x, v)", f"{X}, int8[4,3,3,3] w, float s"), [PLAIN]),
        (parsed("v = Cast <to = 1> (w) y = Conv(x, v)", f"{X}, float16[4,3,3,3] w"), [PLAIN]),
    ],
)
def test_forms_that_others_read(tmp_path: Path, model: onnx.ModelProto, found: list[str]) -> None:
    assert summary(resolve([write(tmp_path, model)], no_warning)) == found


def test_a_computed_shape_with_an_open_batch(tmp_path: Path) -> None:
    model = parsed(RESHAPED, f"float[N,3,8,8] x, {W}", opsets='"" : 11')
    warnings: list[str] = []
    assert summary(resolve([write(tmp_path, model)], warnings.append)) == [WIDE]
    assert len(warnings) == 1 and "leaves the size of the batch open" in warnings[0]


def test_a_tensor_that_two_nodes_give(tmp_path: Path) -> None:
    path = write(tmp_path, parsed("t = Relu(x) t = Identity(w) y = Conv(t, w)"))
    assert summary(resolve([path], no_warning)) == [f"{path} defines the tensor 't' twice"]


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"location": "a" * 5000}, f"its external data '{'a' * 79}…' is missing"),
        ({"location": "a/" * 2500}, "is missing"),
        ({"location": "a\0b"}, "'a\\x00b' is missing"),
        ({"location": "pipe"}, "its external data 'pipe' is missing, or no plain file"),
        ({"location": "."}, "'.' is missing, or no plain file"),
        ({"location": "../m.data"}, "the external data of 's' cannot be read: "),
        ({"location": "/etc/passwd"}, "should be a relative path"),
        ({"location": "m.data", "offset": "-1"}, "offset must be non-negative"),
        ({"location": "m.data", "offset": "9" * 20}, "exceeds file size"),
        ({"location": "m.data", "length": "8"}, "its length is 8, but its numbers take 32 bytes"),
        ({"location": "short.data"}, "exceeds available data"),
    ],
)
def test_external_data_that_is_not_there(tmp_path: Path, entries: dict[str, str], says: str) -> None:
    (tmp_path / "in").mkdir()
    for file in (tmp_path / "m.data", tmp_path / "in" / "m.data"):
        file.write_bytes(np.array([1, 3, 4, 16]).tobytes())
    (tmp_path / "in" / "short.data").write_bytes(b"short")
    os.mkfifo(tmp_path / "in" / "pipe")
    model = parsed("r = Reshape(x, s) t = Conv(r, w) y = Conv(x, w)")
    tensor = model.graph.initializer.add(
        name="s", data_type=onnx.TensorProto.INT64, dims=[4], data_location=onnx.TensorProto.EXTERNAL
    )
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    warnings: list[str] = []
    path = write(tmp_path / "in", model)
    assert summary(resolve([path], warnings.append)) == ["the shape of its input 'r' cannot be inferred", PLAIN]
    (warning,) = warnings
    assert says in warning and "\n" not in warning

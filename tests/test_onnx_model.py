import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import shape_inference
from onnx.reference import ReferenceEvaluator

from tests.layers import distinct_layers, macs, no_warning
from tests.onnx_models import CONV, W, X, parsed, summary, write
from tvmconv import cli
from tvmconv.verify.reference import conv2d, integer_case
from tvmconv.workload import networks
from tvmconv.workload.resolve import resolve

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


# light_bvlc_alexnet is the grouped one, at 224 pixels; light_densenet121 has its classifier as a 1x1 convolution.
@pytest.mark.parametrize(
    ("model", "distinct", "convolutions", "gmac"),
    [
        ("bvlc_alexnet", 5, 5, 0.596),
        ("densenet121", 67, 121, 2.834),
        ("inception_v1", 49, 57, 1.431),
        ("inception_v2", 38, 69, 2.018),
        ("resnet50", 23, 53, 4.087),
        ("shufflenet", 14, 49, 0.124),
        ("squeezenet", 18, 26, 0.349),
        ("vgg19", 9, 16, 19.508),
        ("zfnet512", 4, 5, 1.401),
    ],
)
def test_real_topologies(model: str, distinct: int, convolutions: int, gmac: float) -> None:
    path = LIGHT / f"light_{model}.onnx"
    layers = distinct_layers(str(path), distinct, convolutions)
    assert macs(layers) == macs_by_outputs(onnx.load(path))
    assert macs(layers) / 1e9 == pytest.approx(gmac, abs=0.0005)


def macs_by_outputs(model: onnx.ModelProto) -> int:
    """Multiply-adds from the sizes of the outputs, which onnx infers, and of the weights: no attribute is read."""
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    sizes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output, *graph.input)
    }
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    return sum(int(np.prod(sizes[node.output[0]]) * np.prod(sizes[node.input[1]][1:])) for node in convolutions)


@pytest.mark.parametrize(("model", "network"), [("squeezenet", "squeezenet1.1"), ("resnet50", "resnet50")])
def test_the_same_network_from_two_sources(model: str, network: str) -> None:
    layers = resolve([str(LIGHT / f"light_{model}.onnx")], no_warning)
    assert {layer.shape: layer.count for layer in layers} == {
        layer.shape: layer.count for layer in networks.layers(network)
    }


@pytest.mark.parametrize(
    ("attributes", "inputs"),
    [
        ("", "float[2,3,8,8] x, float[4,3,3,3] w"),
        ("pads = [1,0,2,3]", "float[1,3,7,9] x, float[4,3,3,2] w"),
        ("pads = [2,1,0,4], strides = [2,3], dilations = [1,2]", "float[1,2,9,11] x, float[3,2,3,2] w"),
        ("kernel_shape = [3,3], group = 2, pads = [1,1,1,1]", "float[1,4,5,5] x, float[6,2,3,3] w"),
        ("group = 3", "float[1,3,5,5] x, float[3,1,3,3] w"),
        *(
            (
                f'auto_pad = "{mode}", strides = [{stride},1], dilations = [1,{dilation}]',
                f"float[1,2,{size},8] x, float[3,2,3,2] w",
            )
            for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
            for size, stride, dilation in ((8, 1, 1), (8, 2, 1), (7, 3, 2), (8, 4, 1))
        ),
    ],
)
def test_attributes_mean_what_onnx_says(tmp_path: Path, attributes: str, inputs: str) -> None:
    model = parsed(f"y = Conv <{attributes}> (x, w)" if attributes else CONV, inputs)
    ((shape, reason),) = [(row.shape, row.reason) for row in resolve([write(tmp_path, model)], no_warning)]
    assert shape and not reason
    case = integer_case(shape, seed=0)
    (y,) = ReferenceEvaluator(model).run(None, {"x": case.x.transpose(0, 3, 1, 2), "w": case.w})
    np.testing.assert_array_equal(conv2d(case.x, case.w, shape), np.asarray(y).transpose(0, 2, 3, 1))


BRANCHES = "then_branch = t () => (float z) { z = Conv(x, w) }, else_branch = e () => (float q) { q = Identity(x) }"


@pytest.mark.parametrize(
    ("body", "inputs", "reason"),
    [
        (CONV, "float[1,3,8] x, float[4,3,3] w", "only 2-D convolutions are supported: its input must have 4"),
        (CONV, "float[1,3,8,8,8] x, float[4,3,3,3,3] w", "only 2-D convolutions are supported"),
        (CONV, "float16[1,3,8,8] x, float16[4,3,3,3] w", "data type float16 is not supported"),
        (CONV, "double[1,3,8,8] x, double[4,3,3,3] w", "data type double is not supported"),
        (CONV, f"float[1,3,H,8] x, {W}", "dimension 2 (height) of its input 'x' is 'H', not a fixed size"),
        (CONV, f"float[N,3,8,?] x, {W}", "dimension 3 (width) of its input 'x' is unknown"),
        (CONV, f"{X}, float[4,3,K,3] w", "dimension 2 (height) of its weights 'w' is 'K'"),
        ("r = ai.custom.Magic(x) y = Conv(r, w)", f"{X}, {W}", "the shape of its input 'r' cannot be inferred"),
        ("y = Conv(x)", X, "the node has no weights"),
        ("y = ConvTranspose(x, w)", f"{X}, {W}", "operator 'ConvTranspose' is not supported: only Conv is"),
        ("y = ConvInteger(x, w)", "uint8[1,3,8,8] x, uint8[4,3,3,3] w", "operator 'ConvInteger' is not supported"),
        ("y = com.microsoft.FusedConv(x, w)", f"{X}, {W}", "operator 'FusedConv' of 'com.microsoft' is not supported"),
        (f"c = Constant <value = bool {{1}}> () y = If (c) <{BRANCHES}>", f"{X}, {W}", "here 'If y', is not supported"),
        ("y = Conv <group = 2> (x, w)", f"{X}, {W}", "2 groups of 3 channels in the weights do not make the 3"),
        ("y = Conv <group = 0> (x, w)", f"{X}, {W}", "0 groups"),
        ("y = Conv <group = 3> (x, w)", f"{X}, float[4,1,3,3] w", "oc is 4, but must be a multiple of the 3 groups"),
        ("y = Conv <strides = [1]> (x, w)", f"{X}, {W}", "strides has 1 numbers, but must have 2"),
        ("y = Conv <strides = [0,1]> (x, w)", f"{X}, {W}", "strides is [0, 1]: its numbers must be at least 1"),
        ("y = Conv <pads = [0,-1,0,0]> (x, w)", f"{X}, {W}", "pads is [0, -1, 0, 0]: its numbers must be at"),
        ("y = Conv <kernel_shape = [5,5]> (x, w)", f"{X}, {W}", "kernel_shape is 5x5, but the weights have 3x3"),
        ('y = Conv <auto_pad = "SAME"> (x, w)', f"{X}, {W}", "auto_pad 'SAME' is not one of"),
        ("y = Conv <dilations = [4,1]> (x, w)", f"{X}, {W}", "a kernel that spans 9 does not fit an input of 8"),
        (
            'y = Conv <auto_pad = "VALID", pads = [1,1,1,1]> (x, w)',
            f"{X}, {W}",
            "auto_pad 'VALID' and pads exclude each",
        ),
        ('y = Conv <group = "1"> (x, w)', f"{X}, {W}", "attribute group is '1' of type STRING, but must be INT"),
        (
            "y = Conv <strides = [2.0,2.0]> (x, w)",
            f"{X}, {W}",
            "strides is [2.0, 2.0] of type FLOATS, but must be INTS",
        ),
        ("y = Conv <auto_pad = 1> (x, w)", f"{X}, {W}", "attribute auto_pad is 1 of type INT, but must be STRING"),
        ("y = Conv <activation = 1> (x, w)", f"{X}, {W}", "Conv has no attribute 'activation'"),
        ("y = Conv(x, w, b, b)", f"{X}, {W}, float[4] b", "the node has 4 inputs, but Conv has at most 3"),
        ("y = Conv(x, w, b)", f"{X}, {W}, float[5] b", "its bias 'b' has shape 5, but must have one dimension of 4"),
        ("y = Conv(x, w, b)", f"{X}, {W}, float[1] b", "its bias 'b' has shape 1, but must have one dimension of 4"),
        (
            "y = Conv(x, w, b)",
            f"{X}, {W}, float[1,4] b",
            "its bias 'b' has shape 1x4, but must have one dimension of 4",
        ),
        (
            "b = Constant <value_float = 1.0> () y = Conv(x, w, b)",
            f"{X}, {W}",
            "its bias 'b' has shape a single number",
        ),
        ("y = Conv(x, w, b)", f"{X}, {W}, float16[4] b", "data type float16 of its bias 'b' is not supported"),
        # Its height would be 1 or 2 with the batch: no fixed size, though a batch of 1 alone would give one.
        ("t = Transpose <perm = [2,1,0,3]> (x) y = Conv(t, w)", "float[N,3,1,8] x, float[4,3,1,3] w", "different for"),
    ],
)
def test_what_is_no_static_2d_f32_convolution_is_a_rejected_row(
    tmp_path: Path, body: str, inputs: str, reason: str
) -> None:
    opsets = '"" : 17, "com.microsoft" : 1, "ai.custom" : 1'
    # A good one follows, which goes on.
    model = parsed(f"{body} last = Conv(good, v)", f"{inputs}, float[1,1,1,1] good, float[1,1,1,1] v", opsets=opsets)
    bad, good = summary(resolve([write(tmp_path, model)], no_warning))
    assert reason in bad and "\n" not in bad
    assert good == "mb1ic1ih1oc1oh1kh1ph0"


@pytest.mark.parametrize("batch", ["N", "?", "0"])
def test_an_open_batch_is_taken_as_1_and_said_once(tmp_path: Path, batch: str) -> None:
    reshaped = "n = Constant <value = int64[4] {-1, 6, 4, 8}> () t = Reshape(x, n) u = Conv(t, v) y = Conv(x, w)"
    model = parsed(reshaped, f"float[{batch},3,8,8] x, {W}, float[1,6,1,1] v")
    warnings: list[str] = []
    path = write(tmp_path, model)
    assert summary(resolve([path], warnings.append)) == ["mb1ic6ih4iw8oc1oh4ow8kh1kw1ph0pw0", "mb1ic3ih8oc4oh6kh3ph0"]
    assert warnings == [f"{path}: the model leaves the size of the batch open; 1 is taken"]


def test_what_the_file_says_of_shapes_is_used_only_where_nothing_can_be_inferred(tmp_path: Path) -> None:
    body = "r = Relu(x) s = ai.custom.Magic(x) t = Conv(r, w) y = Conv(s, w)"
    model = parsed(body, opsets='"" : 17, "ai.custom" : 1')
    for name in ("r", "s"):
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 9, 9]))
    assert summary(resolve([write(tmp_path, model)], no_warning)) == ["mb1ic3ih8oc4oh6kh3ph0", "mb1ic3ih9oc4oh7kh3ph0"]


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    more = '<domain: "own", opset_import: ["" : 17]> Block (a, b) => (c) { [inner] c = Conv(a, b) }'
    model = parsed("y = own.Block(x, w)", opsets='"" : 17, "own" : 1', more=more)
    assert summary(resolve([write(tmp_path, model)], no_warning)) == ["mb1ic3ih8oc4oh6kh3ph0"]


def test_external_data_may_be_missing(tmp_path: Path) -> None:
    model = parsed("r = Reshape(x, sizes) y = Conv(r, w) z = Conv(x, w)", X)
    for name, array in (("w", np.zeros((4, 3, 3, 3), np.float32)), ("sizes", np.array([1, 3, 4, 16]))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    path = str(tmp_path / "m.onnx")
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    known = "mb1ic3ih8oc4oh6kh3ph0"
    assert summary(resolve([path], no_warning)) == ["mb1ic3ih4iw16oc4oh2ow14kh3kw3ph0pw0", known]
    (tmp_path / "m.data").unlink()
    warnings: list[str] = []
    assert summary(resolve([path], warnings.append)) == ["the shape of its input 'r' cannot be inferred", known]
    assert len(warnings) == 1 and "its external data 'm.data' is missing" in warnings[0]


def test_a_descriptor_may_be_named_after_a_model() -> None:
    (row,) = resolve(["ic8ih5oc8kh3ph1nm.onnx"], no_warning)
    assert row.name == "m.onnx"


def test_list_layers_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = parsed("[one] t = Conv(x, w) [two] y = ConvTranspose(x, w)")
    path = write(tmp_path, model)
    assert cli.main(["list", "layers", path, "--json"]) == 0
    _, *rows = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(row["name"], row["workload"], row["reason"]) for row in rows] == [
        ("one", "mb1ic3ih8oc4oh6kh3ph0", None),
        ("two", None, "operator 'ConvTranspose' is not supported: only Conv is"),
    ]
    Path(path).write_bytes(b"")
    assert cli.main(["list", "layers", path]) == 1
    assert "holds no graph" in capsys.readouterr().out

"""tvmconv.build: the workloads of the command, its default algorithm, errors that speak of Python's arguments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx
import pytest

import tvmconv
from tvmconv import api
from tvmconv.compiler.builder import Request, build_path
from tvmconv.workload.networks import layer
from tvmconv.workload.shape import ConvShape

SMALL = Request(ConvShape.parse("ic1ih1oc1kh1"), "direct")
MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
two (float[1,3,8,8] x, float[4,3,3,3] v, float[5,4,1,1] w) => (float[1,5,6,6] y) {
  [first] t = Conv(x, v)
  [second] y = Conv(t, w)
}"""
FIRST, SECOND = "ic3ih8oc4kh3", "ic4ih6oc5kh1"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What build asks the builder for; the kernel that it gets is another one."""
    requests: list[Request] = []
    small = build_path(SMALL)
    monkeypatch.setattr(api, "build_path", lambda request: requests.append(request) or small)
    return requests


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "model.onnx")
    (tmp_path / "one").write_text(f"{FIRST}\n")
    (tmp_path / "both").write_text(f"{FIRST}\n{SECOND}\n")
    return tmp_path / "model.onnx"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        ("resnet18/conv1", layer("resnet18", "conv1").shape),
        ("resnet18/layer4.0.conv2", layer("resnet18", "layer4.0.conv2").shape),
        ("{model}/first", ConvShape.parse(FIRST)),
        ("{model}/second", ConvShape.parse(SECOND)),
        ("@{folder}/one", ConvShape.parse(FIRST)),
        (f" {FIRST}nname ", ConvShape.parse(FIRST)),
        (ConvShape.parse(SECOND), ConvShape.parse(SECOND)),
    ],
)
def test_workloads(asked: list[Request], model: Path, workload: Any, expected: ConvShape) -> None:
    if isinstance(workload, str):
        workload = workload.format(model=model, folder=model.parent)
    assert isinstance(tvmconv.build(workload), tvmconv.Kernel)
    assert [request.shape for request in asked] == [expected]


def test_auto_is_the_default(asked: list[Request]) -> None:
    for text in (FIRST, SECOND, "g8ic8ih9oc8kh3"):
        tvmconv.build(text)
        tvmconv.build(text, "auto")
    algorithms = [request.algorithm for request in asked]
    assert algorithms == ["direct", "direct", "gemm", "gemm", "direct", "direct"]


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"workload": "resnet18"},
        ValueError,
        "resnet18 has 11 layers; build one of them: resnet18/conv1, resnet18/layer1",
    ),
    ({"workload": "mobilenet_v2"}, ValueError, ", and 10 more"),
    ({"workload": "{model}"}, ValueError, "has 2 layers; build one of them: {model}/first, {model}/second"),
    ({"workload": "@{folder}/both"}, ValueError, f"has 2 layers; build one of them: {FIRST}, {SECOND}"),
    ({"workload": "{model}/third"}, ValueError, "third"),
    ({"workload": "{folder}/no.onnx/x"}, ValueError, "cannot read the model"),
    ({"workload": "resnet18/conv"}, ValueError, "unknown resnet18 layer 'conv', did you mean conv1?"),
    ({"workload": "resnet"}, ValueError, "unknown network 'resnet'"),
    ({"workload": "ic1"}, ValueError, "oc is missing"),
    ({"workload": 5}, TypeError, "workload is a int; pass "),
    ({"algorithm": None}, TypeError, "algorithm is a NoneType; pass text"),
    ({"algorithm": "directt"}, ValueError, "unknown algorithm 'directt', did you mean direct?"),
    ({"algorithm": "winograd"}, ValueError, "winograd takes 3x3 kernels"),
    ({"algorithm": "indirect", "layout": "nchw"}, ValueError, "indirect has no nchw form: use layout nhwc"),
    ({"target": None}, TypeError, "target is a NoneType; pass text"),
    ({"target": "pixel99"}, ValueError, "unknown target 'pixel99'"),
    ({"schedule": "hnad"}, ValueError, "unknown schedule 'hnad', did you mean hand? (known: auto, hand, tuned)"),
    ({"schedule": "tuned", "tile": "1x16"}, ValueError, "leave the tile out"),
    ({"tile": 5}, TypeError, "tile is a int; pass a Tile or text"),
    ({"tile": "big"}, ValueError, "tile 'big' is not MRxNR"),
    ({"layout": 5}, TypeError, "layout is a int; pass text"),
    ({"layout": "nwhc"}, ValueError, "unknown layout 'nwhc', did you mean nhwc?"),
    ({"threads": "2"}, TypeError, "threads='2' is not a whole number"),
    ({"threads": -1}, ValueError, "threads=-1: at least one thread has to compute"),
    ({"log_dir": 5}, TypeError, "log_dir is a int; pass the path of a folder"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("arguments", "kind", "sentence"), ERRORS)
def test_errors_are_one_line_without_options_of_the_command(
    asked: list[Request], model: Path, arguments: dict[str, Any], kind: type[Exception], sentence: str
) -> None:
    places = {"model": model, "folder": model.parent}
    arguments = {"workload": "ic12ih9oc8kh1", **arguments}
    if isinstance(arguments["workload"], str):
        arguments["workload"] = arguments["workload"].format(**places)
    with pytest.raises(kind, match=re.escape(sentence.format(**places))) as error:
        tvmconv.build(**arguments)
    assert "\n" not in str(error.value) and not re.search(r"(^|[\s`])--?[a-z]", str(error.value))
    assert not asked

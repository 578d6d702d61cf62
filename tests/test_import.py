"""What other tools' benchmarks print, as rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tvmconv import cli
from tvmconv.bench import importers
from tvmconv.database import rows as record
from tvmconv.database.rows import Row

# As benchmark_model 2.8 prints it, tabs included.
PRINTED = """\
Num threads: [4]
#threads used for CPU inference: [4]
Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3.51239e+06, Inference (avg): 2.95034e+06
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
\t  [node type]\t  [start]\t  [first]\t  [avg ms]\t  [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t  AllocateTensors\t  0.000\t  1.356\t  1.356\t100.000%\t100.000%\t  0.000\t  1\tAllocateTensors/0

Timings (microseconds): count=1 curr=1356

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t  [node type]\t  [start]\t  [first]\t  [avg ms]\t  [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t  CONV_2D\t  0.066\t  87.754\t  60.957\t  2.066%\t  2.066%\t  0.000\t  1\t[net/conv1/Relu6]:0
\t  DEPTHWISE_CONV_2D\t  61.033\t  53.628\t  49.870\t  1.691%\t  3.757%\t  0.000\t  1\t[net/dw/Relu6]:1
\t  CONV_2D\t  110.912\t  134.346\t  147.808\t  5.011%\t  8.768%\t  0.000\t  1\t[net/pw, b]:2
\t  AVERAGE_POOL_2D\t  2936.930\t  0.828\t  0.869\t  0.029%\t  99.578%\t  0.000\t  1\t[net/pool]:3

============================== Top by Computation Time ==============================
\t  [node type]\t  [start]\t  [first]\t  [avg ms]\t  [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t  CONV_2D\t  110.912\t  134.346\t  147.808\t  5.011%\t  8.768%\t  0.000\t  1\t[net/pw, b]:2

Timings (microseconds): count=50 first=2989660 curr=2912978 min=2727203 max=3189476 avg=2.9499e+06 std=109770
"""

# As newer ones write it, the operators of XNNPACK's delegate.
CSV = """\
Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
Convolution (NHWC, F32) IGEMM, 0.398, 0.407, 2.658%, 3.986%, 0, 1, Delegate/Convolution (NHWC, F32) IGEMM:0
Convolution (NHWC, F32) DWConv, 0.428, 0.05, 4.317%, 8.304%, 0, 13, Delegate/Convolution (NHWC, F32) DWConv:1
Convolution (NHWC, QC8) GEMM, 0.125, 2.3e-02, 1.944%, 10.248%, 0, 1, Delegate/Convolution (NHWC, QC8) GEMM:2

Timings (microseconds): count=64 first=1 curr=1
"""

BENCHNCNN = """\
loop_count = 2
num_threads = 1
gpu_device = -1
          squeezenet  min =   11.73  max =   11.88  avg =   11.78
{runs}            resnet18  min =    5.00  max =    7.00  avg =    6.00
"""
RUN = """\
Convolution              conv1                          {0:8.2f}ms    |      [224, 224,   3 *1] -> [112, 112,  16 *4]        kernel: 7 x 7     stride: 2 x 2
Pooling                  pool1                              0.33ms    |      [112, 112,  16 *4] -> [ 56,  56,  16 *4]
Convolution              res2a_branch2a                 {1:8.2f}ms    |      [ 56,  56,  16 *4] -> [ 56,  56,  16 *4]        kernel: 3 x 3     stride: 1 x 1
Convolution              res2a_branch1                      9.99ms    |      [ 56,  56,  16 *4] -> [ 56,  56,  16 *4]        kernel: 1 x 1     stride: 1 x 1
Convolution              res2a_branch2b                 {2:8.2f}ms    |      [ 56,  56,  16 *4] -> [ 56,  56,  16 *4]        kernel: 3 x 3     stride: 1 x 1
"""  # noqa: E501
PROFILED = BENCHNCNN.format(runs="".join(RUN.format(*times) for times in ((90, 90, 90), (1, 2, 4), (3, 4, 8))))

MOBILE = ["ic3ih32oc8oh16kh3sh2ph1nconv1", "g8ic8ih16oc8kh3ph1ndw", "ic8ih16oc16kh1npw"]


def rows(tmp_path: Path, capture: pytest.CaptureFixture[str], text: str, *argv: str, code: int = 0) -> list[Row]:
    file = tmp_path / "out.txt"
    file.write_text(text)
    assert cli.main(["import", str(file), *argv, "--json", "--quiet"]) == code
    _, *found = map(json.loads, capture.readouterr().out.splitlines())
    return found


def test_tflite_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, *layers, stranger = rows(tmp_path, capsys, PRINTED, *MOBILE[:2], "ic9ih9oc9kh1nno", "--device", "pixel6")
    assert (whole["seconds"]["median"], whole["seconds"]["n"], whole["workload"]) == (2.95034, 50, None)
    assert [(row["name"], row["status"], row["matched_by"]) for row in layers] == [
        ("conv1", "ok", "name"),
        ("dw", "ok", "name"),
        ("no", "skipped", None),
    ]
    first = layers[0]
    assert first["seconds"] == {"median": 0.060957, "p20": None, "p80": None, "n": 50, "statistic": "mean"}
    assert first["gflops"] == pytest.approx(first["flops"] / 0.060957 / 1e9)
    assert (first["peer"], first["device"], first["threads"], first["verified"]) == ("tflite", "pixel6", 4, False)
    assert (stranger["name"], stranger["status"]) == ("[net/pw, b]:2", "skipped")
    assert stranger["reason"] == "no layer of WORKLOAD has its name"
    assert stranger["seconds"]["median"] == pytest.approx(0.147808)


def test_tflite_csv_by_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A delegate's operators have no names of layers; parts add up; a quantized one is not compared."""
    found = rows(tmp_path, capsys, CSV, *MOBILE)
    assert [row["matched_by"] for row in found] == ["place in the order", "place in the order", None]
    assert [row["status"] for row in found] == ["ok", "ok", "skipped"]
    assert found[1]["seconds"]["median"] == pytest.approx(0.65e-3)
    assert found[2]["reason"] == "it computed in QC8, not in f32"


@pytest.mark.parametrize(
    ("workload", "kinds", "order"),
    [
        # Depthwise and pointwise alternate, five equal pairs included; the classifier at the end is a convolution.
        ("mobilenet_v1", "c" + "dc" * 13 + "c", [0, *range(1, 14), 14, 13, 14, 13, 14, 13, 14, 13, 14, *range(15, 19)]),
        ("vgg16", "c" * 13, [0, 1, 2, 3, 4, 5, 5, 6, 7, 7, 8, 8, 8]),
        ("resnet18", "c" * 20, None),  # three branches may have run before or behind others
        ("mobilenet_v1", "c" + "dc" * 12, None),  # one is missing
    ],
)
def test_order(
    workload: str, kinds: str, order: list[int] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    title, *_ = (line for line in CSV.splitlines() if line.startswith("node type"))
    names = {"c": "CONV_2D", "d": "DEPTHWISE_CONV_2D"}
    lines = [f"{names[kind]}, 0, {index + 1}, 1%, 1%, 0, 1, [x]:{index}" for index, kind in enumerate(kinds)]
    text = "\n".join(["= Run Order =", title, *lines])
    found = [row for row in rows(tmp_path, capsys, text, workload, code=int(order is None)) if row["workload"]]
    if order is None:
        assert all("one line for each convolution" in row["reason"] for row in found)
        return
    for layer, row in enumerate(found):
        places = [place + 1 for place, index in enumerate(order) if index == layer]
        assert row["seconds"]["median"] == pytest.approx(sum(places) / len(places) / 1e3)


def test_ncnn_by_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Warm-up runs do not count; equal layers are averaged within a run; a network of another name has no layers."""
    found = rows(tmp_path, capsys, PROFILED, "resnet18")
    squeezenet, resnet18 = (row for row in found if row["reason"] == "the whole network")
    assert (squeezenet["source"], squeezenet["seconds"]["n"]) == ("squeezenet", 2)
    assert squeezenet["seconds"]["median"] == pytest.approx(0.01178)
    assert (resnet18["source"], resnet18["peer"], resnet18["threads"]) == ("resnet18", "ncnn", 1)
    by_name = {row["name"]: row for row in found}
    assert by_name["conv1"]["seconds"] == {
        **{name: pytest.approx(time) for name, time in (("median", 2e-3), ("p20", 1.4e-3), ("p80", 2.6e-3))},
        **{"n": 2, "statistic": "median"},
    }
    assert by_name["layer1.0.conv1"]["seconds"]["median"] == pytest.approx(4.5e-3)  # of 3 and 6
    assert (by_name["layer1.0.conv1"]["count"], by_name["layer1.0.conv1"]["matched_by"]) == (4, "sizes")
    assert by_name["layer2.0.conv1"]["reason"] == "no operator of the file has its sizes"
    assert by_name["res2a_branch1"]["status"] == "skipped"


def test_ncnn_without_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (one, *_) = rows(tmp_path, capsys, BENCHNCNN.format(runs=""), "resnet18")
    assert one["source"] == "squeezenet"
    int8 = PROFILED.replace("resnet18 ", "resnet18_int8 ").replace("squeezenet", "resnet50")
    found = rows(tmp_path, capsys, "\n".join(int8.splitlines()[4:]), "resnet18")
    assert {row["reason"] for row in found if row["name"] == "conv1"} == {"it computed in int8, not in f32"}


def test_output_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, file = tmp_path / "r.jsonl", tmp_path / "out.txt"
    file.write_text(PROFILED)
    assert cli.main(["import", str(file), "resnet18", "--output", str(results), "--quiet"]) == 0
    context, *found = record.read(results)
    assert (context["kind"], context["cpu"], context["features"]) == ("context", "unknown", [])  # not this machine's
    assert [row["kind"] for row in found] == ["result"] * 14
    assert "layer1.0.conv1 ×4" in capsys.readouterr().out


def test_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="has no figures"):
        importers.read(Path(__file__).parent / "fake_compiler.py")
    assert cli.main(["import", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: No such file" in capsys.readouterr().err

"""Files that are models, or are none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.layers import no_warning
from tests.onnx_models import CONV, parsed, write
from tvmconv.support import input_file
from tvmconv.workload.resolve import resolve


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not an ONNX model, or it is damaged"),
        (b"a text, and no model\n", "is not an ONNX model, or it is damaged"),
        (b"\x7fELF\x02\x01\x01", "is not an ONNX model, or it is damaged: it looks like an ELF program or library"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "it looks like a Git LFS pointer; `git lfs pull`",
        ),
        (b"\n<!DOCTYPE html>\n<html>", "it looks like an HTML page"),
        (b"PK\x03\x04" + bytes(60), "it looks like a zip archive, such as PyTorch's files"),
        (b"\x1c\0\0\0TFL3" + bytes(60), "it looks like a TensorFlow Lite model"),
        (parsed(CONV).SerializeToString()[:80], "is not an ONNX model, or it is damaged"),
        (parsed(CONV).SerializeToString().replace(b"Conv", b"\xffonv"), "or it is damaged: a name in it is not UTF-8"),
        (parsed("y = Relu(x)").SerializeToString(), "holds no convolution"),
        (parsed(CONV, ir=99).SerializeToString(), "has IR version 99, but onnx"),
        (parsed(CONV, opsets='"" : 99').SerializeToString(), "has opset 99, but onnx"),
        (parsed(CONV, opsets='"own" : 1').SerializeToString(), "shape inference failed: "),
        (
            parsed(
                "y = own.F(x, w)",
                opsets='"" : 17, "own" : 1',
                more='<domain: "own", opset_import: ["" : 17, "own" : 1]> F (a, b) => (c) { c = own.F(a, b) }',
            ).SerializeToString(),
            "its local functions cannot be inlined: ",
        ),
    ],
)
def test_a_file_that_is_no_model_is_one_row_and_the_rest_goes_on(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    path = str(tmp_path / "m.onnx")
    bad, one, good = resolve([path, f"{path}/conv1", "resnet18/conv1"], no_warning)
    assert bad.shape is None and bad.reason and path in bad.reason and says in bad.reason and "\n" not in bad.reason
    assert (bad.source, one.source, one.reason) == (path, f"{path}/conv1", bad.reason)
    assert good.reason is None


def test_a_model_above_2_gb_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate(2**31)  # a hole: it takes no room
    (row,) = resolve([str(tmp_path / "m.onnx")], no_warning)
    assert "has 2 GB or more, which ONNX cannot read" in (row.reason or "")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "cannot read the model {}: No such file or directory"),
        (Path.mkdir, "{} is not a file: a .onnx file is expected"),
        (os.mkfifo, "cannot read the model {}: nothing was written to the pipe within 0.1 s"),
        (lambda path: path.symlink_to("/dev/zero"), "cannot read the model {}: it is a device, but a file or a pipe"),
    ],
)
def test_a_name_that_leads_to_no_file_is_a_wrong_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], says: str
) -> None:
    monkeypatch.setattr(input_file, "_PIPE_SECONDS", 0.1)
    path = tmp_path / "m.onnx"
    make(path)
    for workload in (f"{path}", f"{path}/conv1"):
        with pytest.raises(ValueError) as refusal:
            resolve([workload], no_warning)
        assert says.format(path) in str(refusal.value)


@pytest.mark.parametrize("name", ["m.pb", "model", "resnet18", "ic3ih8oc4kh3", "m.onnx", "@m"])
def test_a_model_by_any_name_and_from_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What a name alone would mean something else needs a path: ./NAME."""
    path = write(tmp_path, parsed("[c] y = Conv(x, w)"), name)
    monkeypatch.chdir(tmp_path)
    for workload in (path, f"./{name}", f"{path}/c", f"./{name}/c"):
        assert [(row.name, str(row.shape)) for row in resolve([workload], no_warning)] == [
            ("c", "mb1ic3ih8oc4oh6kh3ph0")
        ]
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        assert cat.stdout
        (row,) = resolve([f"/dev/fd/{cat.stdout.fileno()}/c"], no_warning)
    assert str(row.shape) == "mb1ic3ih8oc4oh6kh3ph0"


def test_what_other_files_are(tmp_path: Path) -> None:
    for content, says in (
        (b"some text", "to read it as a benchdnn batch file"),
        (b"<html>", "it looks like an HTML page, such"),
    ):
        (tmp_path / "m").write_bytes(content)
        with pytest.raises(ValueError, match=says):
            resolve([f"{tmp_path}/m"], no_warning)

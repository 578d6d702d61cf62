"""The command's contract: rows, tables, exit codes, one line for what is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.calling import ONE, POINTWISE, Capture, rows, run
from tvmconv import __main__, cli
from tvmconv.algorithms import ALGORITHMS
from tvmconv.cli.output import exit_code

# What the names of files end in that `compile` does not write.
NO_LIBRARIES = ("", ".o", ".h", ".dll", ".dylib", ".exe", ".lib", ".SO")
# Fields that every result has, whatever the command.
COMMON = {
    *("kind", "source", "workload", "name", "count", "layout", "target", "device", "threads", "cpus"),
    *("algorithm", "chosen_by", "peer", "schedule", "tile", "kernel", "status", "reason", "schedule_asked", "tuned_by"),
}


def start(*argv: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tvmconv", *argv]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize(
    ("what", "names"),
    [
        (["networks"], ["resnet18", "vgg16", "squeezenet1.1", "inception_v3", "mobilenet_v2"]),
        (["layers", "vgg16", "--match", "^features.2"], ["features.2", "features.24"]),
        (
            ["algorithms"],
            [
                "direct",
                "gemm",
                "im2row",
                "indirect",
                "kn2col",
                "kn2col-as",
                "kn2row",
                "kn2row-aa",
                "kn2row-as",
                "im2col",
                "winograd",
            ],
        ),
        (["schedules"], ["hand"]),
        (["targets", "--match", "v[34]"], ["x86-64-v3", "x86-64-v4"]),
        (["devices"], ["local"]),
    ],
)
def test_list(capsys: Capture, what: list[str], names: list[str]) -> None:
    assert {*names} <= {row["name"] for row in rows(capsys, "list", *what)}
    code, out, err = run(capsys, "list", *what)
    assert (code, err) == (0, "")
    assert all(name in out for name in names)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "COMMAND"),
        (["tone", "resnet18"], "invalid choice: 'tone'"),
        (["verify"], "required: WORKLOAD"),
        (["verify", ""], "the descriptor is empty"),
        (["verify", " "], "the descriptor is empty"),
        (["verify", "ic3ih224oc"], "'oc' on"),
        (["verify", "ic3ih2oc4kh3"], "oh would be 0"),
        (["verify", "g2ic3ih8oc4kh3"], "must be a multiple of the 2 groups"),
        (["verify", "resnet81"], "did you mean resnet18"),
        (["verify", "resnet18/conv7"], "did you mean conv1"),
        (["verify", "@/nowhere/problems"], "cannot read the batch file /nowhere/problems"),
        (["verify", ONE, "-a", "indirekt"], "did you mean indirect"),
        (["verify", ONE, "-a", ","], "name at least one algorithm"),
        (["verify", ONE, "-t", "x86-64-v5"], "did you mean x86-64-v4"),
        (["verify", ONE, "--tile", "6by64"], "not MRxNR"),
        (["verify", ONE, "--tile", "64x64"], "registers"),
        (["verify", ONE, "--schedule", "tund"], "unknown schedule 'tund', did you mean tuned?"),
        (["verify", ONE, "--schedule", "auto,hand"], "or auto alone"),
        (["verify", ONE, "--schedule", "tuned", "--tile", "4x32"], "leave --tile out"),
        (["verify", ONE, "--log-dir", "/nowhere"], "--log-dir /nowhere: there is no such folder"),
        (["compile", ONE, "-o", "layer.so", "--schedule", "hand,tuned"], "name one --schedule"),
        (["tune", ONE, "--trials", "1", "--tile", "4x32"], "leave --tile and --schedule out"),
        (["tune", ONE, "--trials", "1", "--schedule", "tuned"], "leave --tile and --schedule out"),
        (["verify", ONE, "--threads", "0"], "whole number of at least 1"),
        (["verify", ONE, "--threads", "2", "--cpus", f"{min(os.sched_getaffinity(0))}"], "--threads 1"),
        (["verify", ONE, "--cpus", "3-1"], "not a list of CPUs"),
        (["verify", ONE, "--cpus", "4095"], "no CPU 4095 for this process"),
        (["verify", ONE, "--layout", "nhcw"], "invalid choice: 'nhcw'"),
        (["verify", ONE, "--device", "pi"], "--device pi is none of `list devices`"),
        (["verify", ONE, "--device", "emulator", "-t", "x86-64-v2"], "the emulator is an aarch64"),
        (["bench", ONE, "--device", "emulator"], "has no speed of its own"),
        (["bench", ONE, "--peers", "onednm"], "did you mean onednn"),
        (["bench", ONE, "--output", "/nowhere/results.jsonl"], "there is no folder /nowhere"),
        (["bench", ONE, "--output", "/"], "name a plain file"),
        (["bench", ONE, "--output", "/dev/null"], "name a plain file"),
        (["bench", ONE, "--min-time", "-1"], "not a number of seconds above 0"),
        (["compile", ONE, "-o", "/nowhere/layer.so"], "there is no folder /nowhere"),
        *((["compile", ONE, "-o", f"layer{end}"], "layer.so for a shared object, layer.a for") for end in NO_LIBRARIES),
        (["compile", ONE, "-o", "layer.so.x"], "layer.so.so for a shared object"),
        (["compile", ONE, "-o", "-"], "nothing is written to stdout"),
        (["compile", ONE, "-o", "-", "--standalone"], "nothing is written to stdout"),
        (["compile", ONE, "-o", "layer.so", "--standalone"], "leave the suffix out"),
        (["compile", ONE, "-o", "layer.EXE", "--standalone"], "leave the suffix out"),
        (["compile", ONE, "-o", ""], "-o is empty"),
        (["compile", ONE, "-o", "/tmp/", "--standalone"], "name a file, not the folder /tmp/"),
        (["compile", ONE, "-o", "/dev/null"], "name a plain file"),
        (["compile", ONE, "-o", "layer.so", "--max-workspace", "1T"], "not a number of bytes such as 0, 4096, 64K"),
        (["compile", ONE, "-o", "layer.so", "--results", "/nowhere.jsonl"], "there is no such file"),
        (["compile", ONE, "-o", "layer.so", "--results", "/nowhere.jsonl", "-a", "direct"], "what auto chooses by"),
        (["compile", ONE, "-o", "layer.so", "--results", "/nowhere.jsonl", "--tile", "4x32"], "leave --tile out"),
        (["list", "layers"], "needs a network"),
        (["list", "networks", "--match", "("], "not a regular expression"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(capsys: Capture, argv: list[str], sentence: str) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("tvmconv: ")
    assert sentence in err


def test_verify(capsys: Capture) -> None:
    found = rows(capsys, "verify", ONE, POINTWISE, "-a", "indirect,gemm")
    assert [(row["workload"], row["algorithm"], row["status"], row["exact"]) for row in found] == [
        ("mb1ic8ih6oc20oh6kh3ph1", "indirect", "ok", True),
        ("mb1ic8ih6oc20oh6kh3ph1", "gemm", "rejected", None),
        ("mb2ic8ih4oc16oh4kh1ph0", "indirect", "ok", True),
        ("mb2ic8ih4oc16oh4kh1ph0", "gemm", "ok", True),
    ]
    assert all(row.keys() == {*COMMON, "exact", "max_error"} for row in found)
    assert found[0]["max_error"] == 0.0
    assert re.match(r"\d+x\d+", found[0]["tile"])
    assert "1x1" in found[1]["reason"]


def test_verify_in_the_emulator(capsys: Capture) -> None:
    """It is an aarch64, unless -t names another one of these; CPUs and threads are its own."""
    for target, argv in (("aarch64", ()), ("cortex-a55", ("-t", "cortex-a55", "--threads", "9"))):
        (found,) = rows(capsys, "verify", ONE, "-a", "direct", "--device", "emulator", *argv)
        assert found.keys() == {*COMMON, "exact", "max_error"}
        assert (found["device"], found["target"], found["cpus"], found["exact"]) == ("emulator", target, [], True)


def test_verify_for_people(capsys: Capture) -> None:
    code, out, err = run(capsys, "verify", ONE, "-a", "all")
    assert (code, err) == (0, "")
    assert "mb1ic8ih6oc20oh6kh3ph1" in out
    others = sum(known.layout == "nhwc" for known in ALGORITHMS) - 1  # gemm is for 1x1 kernels
    assert f"{others} exact, 0 wrong, 0 failed, 1 rejected" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("argv", "code", "statuses"),
    [
        ([ONE, "-a", "gemm"], 1, ["rejected"]),  # nothing was ok
        ([ONE, "-a", "gemm,indirect"], 1, ["rejected", "ok"]),  # gemm was asked for by name
        ([ONE, "-a", "indirect", "--layout", "nchw"], 1, ["rejected"]),
        ([ONE, "-a", "auto"], 0, ["ok"]),
    ],
)
def test_exit_code_of_rejections(capsys: Capture, argv: list[str], code: int, statuses: list[str]) -> None:
    assert [row["status"] for row in rows(capsys, "verify", *argv, code=code)] == statuses


@pytest.mark.parametrize(
    ("results", "required", "code"),
    [
        ([("direct", "ok"), ("gemm", "rejected")], [], 0),
        ([("direct", "ok"), ("gemm", "rejected")], ["gemm"], 1),
        ([("direct", "ok"), ("gemm", "rejected"), ("gemm", "ok")], ["gemm"], 0),
        ([("direct", "ok"), ("gemm", "mismatch")], [], 1),
        ([("direct", "ok"), ("gemm", "error")], [], 1),
        ([("direct", "rejected")], [], 1),
        ([], [], 1),
    ],
)
def test_exit_code(results: list[tuple[str, str]], required: list[str], code: int) -> None:
    assert exit_code([{"algorithm": name, "status": status} for name, status in results], required) == code


def test_rejected_lines_of_a_batch_file_are_rows(capsys: Capture, tmp_path: Path) -> None:
    batch = tmp_path / "problems"
    batch.write_text(f"{ONE}\n--dir=BWD_W\n{ONE}\nic3ih8id8oc4kd3kh3\n")
    found = rows(capsys, "verify", f"@{batch}", "-a", "indirect")
    assert [row["status"] for row in found] == ["ok", "rejected", "rejected"]
    assert f"{batch}:3" in found[1]["reason"]
    assert (found[2]["workload"], found[2]["source"]) == (None, "ic3ih8id8oc4kd3kh3")


def test_a_tile_that_does_not_divide_one_layer_rejects_that_one(capsys: Capture, tmp_path: Path) -> None:
    work = [ONE, "ic12ih6oc20kh3ph1", "-a", "indirect", "--tile", "4x16_kc8"]
    for command in (["verify"], ["show"], ["compile", "-o", f"{tmp_path}/"]):
        fits, other = rows(capsys, *command, *work)
        assert (fits["status"], other["status"]) == ("ok", "rejected")
        assert "must divide the layer's 12 channels" in other["reason"]


def test_show(capsys: Capture) -> None:
    code, out, _ = run(capsys, "show", ONE)
    assert code == 0
    assert "x 1x6x6x8 (NHWC), w 20x8x3x3 (OIHW), y 1x6x6x20" in out
    assert "gemm takes 1x1 kernels" in out
    (row,) = rows(capsys, "show", ONE, "--workspace", "-a", "direct")
    assert row["workspace_bytes"] == 0
    (row,) = rows(capsys, "show", ONE, "--asm", "-a", "indirect")
    assert "vfmadd" in row["asm"] or "mulps" in row["asm"]
    code, out, _ = run(capsys, "show", ONE, "--tir")
    assert code == 0
    assert out.startswith("# mb1ic8ih6oc20oh6kh3ph1 direct ")
    assert "@T.prim_func" in out


@pytest.mark.parametrize("options", ["", "--json"])
def test_closed_stdout_and_stderr_lead_nowhere(options: str) -> None:
    command = f"exec {sys.executable} -m tvmconv list networks {options} >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], timeout=60).returncode == 0


def test_interrupted_while_importing(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("builtins.__import__", interrupt)
        code = __main__.main()
    assert code == cli.INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_a_closed_pipe_is_silent() -> None:
    for arguments in (["list", "networks"], ["list", "layers", "vgg16", "--json"]):
        process = start(*arguments)
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == cli.CLOSED_PIPE


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C between two rows, to all processes as a terminal does it: exit code 130, and every line is whole."""
    batch = tmp_path / "problems"
    batch.write_text("ic8ih6oc20kh3ph1\n" * 400)
    process = start("verify", f"@{batch}", "-a", "indirect", "--json", "--jobs", "1", start_new_session=True)
    assert process.stdout and process.stderr
    lines = [process.stdout.readline() for _ in range(3)]
    os.killpg(process.pid, signal.SIGINT)
    lines += process.stdout.readlines()
    assert process.wait(20) == cli.INTERRUPTED
    assert process.stderr.read() == ""
    assert [json.loads(line)["kind"] for line in lines] == ["context"] + ["result"] * (len(lines) - 1)
    assert 3 <= len(lines) < 401

"""The command's contract: rows, tables, exit codes, one line for what is wrong."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from tvmconv import __main__, cli
from tvmconv.algorithms import ALGORITHMS
from tvmconv.cli.output import exit_code
from tvmconv.database.rows import Row
from tvmconv.native import toolchain
from tvmconv.report import tables
from tvmconv.report.bench import bench_table
from tvmconv.runtime.kernel import load
from tvmconv.support.filesystem.files import write_whole
from tvmconv.target.isa import SSE4

ONE = "ic8ih6oc20kh3ph1"
POINTWISE = "mb2ic8ih4oc16kh1"

Capture = pytest.CaptureFixture[str]

# What the names of files end in that `compile` does not write.
NO_LIBRARIES = ("", ".o", ".h", ".dll", ".dylib", ".exe", ".lib", ".SO")

# Fields that every result has, whatever the command.
COMMON = {
    *("kind", "source", "workload", "name", "count", "layout", "target", "device", "threads", "cpus"),
    *("algorithm", "chosen_by", "peer", "schedule", "tile", "kernel", "status", "reason", "schedule_asked", "tuned_by"),
}


def run(capture: Capture, *argv: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    try:
        code = cli.main(argv)
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capture.readouterr()
    return code, out, err


def rows(capture: Capture, *argv: str, code: int = 0) -> list[Row]:
    """The results of a command line with --json, which is checked to be nothing but rows."""
    found, out, _ = run(capture, *argv, "--json")
    assert found == code
    context, *results = map(json.loads, out.splitlines())
    assert context["kind"] == "context"
    assert {"schema", "argv", "tvmconv", "tvm", "llvm", "cpu", "features", "peak_gflops", "time"} <= context.keys()
    assert all(row["kind"] == "result" for row in results)
    return results


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


def test_compile_one(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "layer.so"
    (row,) = rows(capsys, "compile", ONE, "-a", "indirect", "-o", str(path))
    assert (row["path"], row["header"], row["chosen_by"]) == (str(path), str(tmp_path / "layer.h"), "user")
    library, header = ctypes.CDLL(str(path)), (tmp_path / "layer.h").read_text()
    assert all(getattr(library, symbol) for symbol in row["symbols"])
    declared = set(re.findall(r"\b(mb1ic8\w+)\(", header))
    assert {symbol.rpartition("_indirect_")[2] for symbol in declared} >= {"describe", "pack", "prepare", "run"}
    assert declared <= {*row["symbols"]}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["layer.h", "layer.so"]


@pytest.mark.parametrize("target", ["native", "pixel6"])
def test_compile_a_static_library(capsys: Capture, tmp_path: Path, target: str) -> None:
    path = tmp_path / "layers.a"
    (row,) = rows(capsys, "compile", ONE, "-a", "direct", "-t", target, "-o", str(path))
    assert (row["path"], row["header"]) == (str(path), str(tmp_path / "layers.h"))
    toolchain.run_zig(["ar", "x", path, "--output", tmp_path], 60, 60)
    members = [*tmp_path.glob("*.o")]
    assert len(members) == 2
    for member in members:
        with member.open("rb") as file:
            elf = ELFFile(file)
            symbols = [*elf.get_section_by_name(".symtab").iter_symbols()]
        assert (elf["e_type"], elf["e_machine"] == "EM_AARCH64") == ("ET_REL", target == "pixel6")
        defined = {symbol.name for symbol in symbols if symbol["st_shndx"] != "SHN_UNDEF"}
        assert not defined & {"memcpy", "memset"}  # of the program's C library


def test_a_header_that_has_no_place_leaves_no_library(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "layer.h").mkdir()
    assert run(capsys, "compile", ONE, "-o", f"{tmp_path}/layer.so")[0] == 2
    assert [file.name for file in tmp_path.iterdir()] == ["layer.h"]


def test_compile_many(capsys: Capture, tmp_path: Path) -> None:
    batch = tmp_path / "problems"
    batch.write_text(f'{ONE}n"a/b"\n{POINTWISE}\n')
    folder = tmp_path / "kernels"
    found = rows(capsys, "compile", f"@{batch}", "-o", f"{folder}/")
    names = ["a_b", "mb2ic8ih4oc16oh4kh1ph0"]
    assert [Path(row["path"]).name for row in found] == [f"{name}.so" for name in names]
    assert {row["chosen_by"] for row in found} == {"rule"}
    assert {file.name for file in folder.iterdir()} == {f"{name}{end}" for name in names for end in (".so", ".h")}

    found = rows(capsys, "compile", ONE, "-a", "indirect,direct", "-o", str(folder))
    assert [Path(row["path"]).name for row in found] == [
        "mb1ic8ih6oc20oh6kh3ph1-indirect.so",
        "mb1ic8ih6oc20oh6kh3ph1-direct.so",
    ]


def test_compile_into_one_file(capsys: Capture, tmp_path: Path) -> None:
    """A function set for each distinct layer; what is rejected is a row, and the others are written."""
    batch, path = tmp_path / "problems", tmp_path / "net.so"
    batch.write_text(f'{ONE}n"first"\n{POINTWISE}\n{ONE}n"third"\nic3ih8id8oc4kd3kh3\n')
    first, second, third, rejected = rows(capsys, "compile", f"@{batch}", "-o", str(path))
    assert {(row["path"], row["header"]) for row in (first, second, third)} == {(str(path), str(tmp_path / "net.h"))}
    assert first["symbols"] == third["symbols"] != second["symbols"]
    assert rejected["status"] == "rejected"
    assert rejected.keys() == first.keys()
    assert rejected["path"] is rejected["symbols"] is rejected["chosen_by"] is None
    prefixes = [row["symbols"][0].removesuffix("_describe") for row in (first, second)]
    assert [load(path, prefix).algorithm for prefix in prefixes] == ["direct", "gemm"]
    assert "/* first, third, mb1ic8ih6oc20oh6kh3ph1, direct\n" in (tmp_path / "net.h").read_text()
    assert {file.name for file in tmp_path.iterdir()} == {"problems", "net.so", "net.h"}

    assert run(capsys, "compile", f"@{batch}", "-a", "gemm,direct", "-o", str(path))[0] == 0
    assert run(capsys, "compile", f"@{batch}", "-a", "indirect", "--max-workspace", "0", "-o", str(path))[0] == 1


def test_compile_by_results(capsys: Capture, tmp_path: Path) -> None:
    """What was measured is taken as it was built then; for other layers the rule chooses, which is said once."""
    results, path = tmp_path / "results.jsonl", str(tmp_path / "net.so")
    quick = ["--samples", "2", "--min-time", "0.001", "--jobs", "1"]
    rows(capsys, "bench", ONE, "-a", "im2row", "--tile", "4x16", "--output", str(results), *quick)
    work = ["compile", ONE, POINTWISE, "-o", path, "--results", str(results)]
    found = rows(capsys, *work)
    assert [(row["algorithm"], row["chosen_by"]) for row in found] == [("im2row", "results"), ("gemm", "rule")]
    assert found[0]["tile"].startswith("4x16_")
    code, out, err = run(capsys, *work)
    assert code == 0
    assert re.search(r"im2row +4x16\S* +results", out) and re.search(r"gemm +\S+ +rule", out)
    assert err.splitlines() == [
        f"tvmconv: {results} has nothing to choose by for 1 of 2 layers, mb2ic8ih4oc16oh4kh1ph0 first: "
        "the rule chooses there"
    ]
    text = results.read_text()
    results.write_text(text.replace('"im2row"', '"fft"'))
    code, _, err = run(capsys, *work)
    unmeasured, unknown = err.splitlines()
    assert code == 0 and "has nothing to choose by for 1 of 2 layers, mb2ic8" in unmeasured
    assert "has only what cannot be built here for 1 of 2 layers, mb1ic8" in unknown and "'fft'" in unknown
    results.write_text(text.replace('"median"', '"mean"'))
    code, _, err = run(capsys, *work)
    assert (code, len(err.splitlines())) == (1, 1) and f"{results}:2 is not one of tvmconv's results" in err
    for content, bad in ((b"", 1), (b"\x7fELF\0\n", 1), (None, 2)):
        results.unlink() if content is None else results.write_bytes(content)
        assert run(capsys, *work)[0] == bad
    assert run(capsys, *work[:-1], str(tmp_path))[0] == 2
    results.write_text(text)
    code, _, err = run(capsys, *work, "-a", "auto,im2row")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "-a asks for mb1ic8ih6oc20oh6kh3ph1_im2row twice, with tiles 4x16_" in err
    found = rows(capsys, *work, "--max-workspace", "1K")
    assert [(row["algorithm"], row["chosen_by"]) for row in found] == [("direct", "rule"), ("gemm", "rule")]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="no other target of this machine's architecture")
def test_compile_for_another_machine(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no features of this one; verify and load, which run the kernel, do."""
    path = tmp_path / "layer.so"
    for module in ("runtime.kernel", "target.targets"):
        monkeypatch.setattr(f"tvmconv.{module}.host_features", lambda: frozenset(SSE4.features))
    (row,) = rows(capsys, "compile", ONE, "-t", "x86-64-v4", "-o", str(path))
    assert (row["status"], row["target"]) == ("ok", "x86-64-v4")
    assert row["packed_weight_bytes"] >= 4 * 20 * 8 * 9
    assert "x86-64-v4" in (tmp_path / "layer.h").read_text().splitlines()[0]
    with pytest.raises(ValueError, match="this machine lacks"):
        load(path)
    code, _, err = run(capsys, "verify", ONE, "-t", "x86-64-v4")
    assert code == 2
    assert "lacks" in err


def test_nothing_is_written_where_nothing_can_be_built(capsys: Capture, tmp_path: Path) -> None:
    code, _, _ = run(capsys, "compile", ONE, "-a", "gemm", "-o", f"{tmp_path}/layer.so")
    assert code == 1
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_named_as_the_caller_names_it(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(IsADirectoryError, match=re.escape(f"{target} cannot be written: Is a directory")):
        write_whole(target, b"")
    missing = tmp_path / "nowhere" / "file"
    with pytest.raises(FileNotFoundError, match=re.escape(f"{missing} cannot be written: No such file")):
        write_whole(missing, b"")
    assert list(tmp_path.iterdir()) == [target]


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


def timed(name: str, count: int, median: float, workspace: int | None = 0, **identity: Any) -> Row:
    seconds = {"median": median, "p20": median, "p80": median, "n": 11}
    row = {"source": "net", "name": name, "workload": f"ic{count}", "count": count, "algorithm": None, "peer": None}
    figures = {
        "rounds": {"n": 11, "repeated": 0, "slow": 0},
        "seconds": seconds,
        "gflops": 100.0,
        "peak_fraction": 0.8,
        "workspace_bytes": workspace,
    }
    return {**row, "status": "ok", "reason": None, **figures, **identity}


def test_sums_of_a_network(capsys: Capture) -> None:
    rejected = {"status": "rejected", "reason": "not 1x1"}
    network = [
        timed("a", 1, 0.004, 100, algorithm="indirect"),
        timed("a", 1, 0.001, 0, algorithm="gemm"),
        timed("a", 1, 0.003, None, peer="onednn"),
        timed("a", 1, 0.0005, None, peer="naive"),
        timed("b", 3, 0.002, 2048, algorithm="indirect"),
        timed("b", 3, 9.0, algorithm="gemm", **rejected),
        timed("b", 3, 0.001, None, peer="onednn", whole_call_seconds=0.002),
        timed("b", 3, 0.009, None, peer="naive"),
    ]
    tables.show(bench_table(network, uncounted={"naive"}))
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "a 4.00 * 1.00 3.00 0.500" in lines
    assert "b ×3 2.00 – * 1.00 9.00" in lines
    assert "net: sum, ms 10.0 n/a 6.00 27.5" in lines
    assert "net: peak workspace 2.0 KB n/a n/a n/a" in lines
    assert "net: best mix 7.00 ms, peak workspace 2.0 KB; layers: gemm 1, indirect 1" in lines
    assert "net: best peer of each layer 6.00 ms; layers: onednn 2" in lines
    ratio = "our best / best peer 1.225 in speed, geometric mean of 2 layers; below 1 in 1, worst 0.50 (b)"
    assert f"net: {ratio}" in lines
    assert "all layers" not in out
    assert "onednn: the convolution alone, by the library's own profiler, where that is less" in lines
    assert max(map(len, out.splitlines())) <= 100


def test_our_algorithms_against_the_one_that_builds_patches(capsys: Capture) -> None:
    """The papers' baseline; where it builds no patches, on 1x1 kernels, nothing is claimed."""
    network = [
        *(
            timed("a", 1, time, size, algorithm=name)
            for name, time, size in (("im2col", 0.006, 99), ("kn2row", 0.002, 9))
        ),
        *(
            timed("b", 2, time, size, algorithm=name)
            for name, time, size in (("im2col", 0.001, 99), ("kn2row", 0.003, 9))
        ),
        *(timed("c", 3, time, 0, algorithm=name) for name, time in (("im2col", 0.002), ("kn2row", 0.001))),
    ]
    tables.show(bench_table(network))
    ratio = "kn2row / im2col 1.000 in speed, geometric mean of 2 layers; below 1 in 1, worst 0.33 (b)"
    assert f"net: {ratio}" in capsys.readouterr().out


def slow(row: Row, rounds: int, offered: float | None = None) -> Row:
    """The row with so many slow rounds of 11, as earlier versions have it unless it is told what the cores offered."""
    figures = {"n": 11, "repeated": 33, "slow": rounds}
    return {**row, "rounds": figures if offered is None else {**figures, "offered": offered}}


OURS, THEIRS = timed("b", 1, 0.004, 0, algorithm="direct"), timed("b", 1, 0.002, None, peer="onednn")
QUIET = [timed("a", 3, 0.001, 0, algorithm="direct"), timed("a", 3, 0.002, None, peer="onednn")]
UNLIKE = "2.000 in speed, geometric mean of 1 layer; below 1 in 0, worst 2.00 (a); 1 layer left out, not measured alike"
MEAN = "1.000 in speed, geometric mean of 2 layers"
BELOW = "below 1 in 1, worst 0.50 (b)"


@pytest.mark.parametrize(
    ("ours", "theirs", "ratio", "is_marked", "has_winner"),
    [
        (OURS, THEIRS, f"{MEAN}; {BELOW}", False, True),
        (slow(OURS, 11), THEIRS, UNLIKE, True, False),  # of an earlier file, which knows no more than that
        (slow(OURS, 11, 0.45), THEIRS, UNLIKE, True, False),  # it may be faster
        (slow(OURS, 11, 0.8), THEIRS, UNLIKE, True, True),  # it cannot be
        (slow(OURS, 11, 0.5), slow(THEIRS, 11, 0.85), UNLIKE, True, True),
        (slow(OURS, 11, 0.5), slow(THEIRS, 11, 0.48), f"~{MEAN}; 1 of them in slow rounds (~); {BELOW}", True, True),
        (slow(OURS, 1), THEIRS, f"~{MEAN}; 1 of them in slow rounds (~); {BELOW}", True, True),
        (OURS, slow(THEIRS, 11, 0.5), UNLIKE, False, True),  # the slower rounds made it the fastest all the same
    ],
)
def test_ratios_are_of_times_that_were_measured_alike(
    ours: Row, theirs: Row, ratio: str, is_marked: bool, has_winner: bool, capsys: Capture
) -> None:
    tables.show(bench_table([*QUIET, ours, theirs]))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"net: our best / best peer {ratio}" in lines
    (mix,) = (line for line in lines if "best mix" in line)
    assert ("~7.00 ms" in mix) == is_marked
    (times,) = (line for line in lines if line.startswith("b "))
    assert ("* " in times) == has_winner
    assert ("1 layer without *: a time of slower rounds might be the fastest" in lines) != has_winner


def test_the_best_of_several_must_be_known(capsys: Capture) -> None:
    """Where another peer may be the best one, our ratio to the best is not known."""
    other = slow(timed("b", 1, 0.0025, None, peer="openvino"), 11, 0.5)
    tables.show(bench_table([*QUIET, OURS, THEIRS, other]))
    assert f"net: our best / best peer {UNLIKE}" in capsys.readouterr().out


def test_sums_without_a_layer_that_nobody_computes(capsys: Capture) -> None:
    """As a model's layers that are no convolution here; what one contestant alone cannot do leaves it without a sum."""
    nobody = {"status": "rejected", "reason": "3-D"}
    network = [
        *(timed(name, 1, 0.004, algorithm="direct") for name in ("a", "b")),
        timed("c", 1, 9.0, algorithm="direct", **nobody),
        timed("c", 1, 9.0, peer="onednn", **nobody),
    ]
    alone = [timed("a", 1, 0.002, peer="onednn", source="x"), timed("a", 1, 0.001, algorithm="direct", source="x")]
    tables.show(bench_table([*network, *alone]))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "net: sum of 2 of 3 layers, ms 8.00 n/a" in lines
    assert "net: best mix 8.00 ms, peak workspace 0 B; layers: direct 2" in lines
    assert not [line for line in lines if line.startswith("net: best peer")]
    ratio = "our best / best peer 2.000 in speed, geometric mean of 1 layer; below 1 in 0, worst 2.00 (a)"
    assert f"all layers: {ratio}" in lines


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00000412, "0.00412"),
        (0.0000000999, "0.0000999"),
        (0.0000123, "0.0123"),
        (0.000999, "0.999"),
        (0.0009999, "1.00"),
        (0.001234, "1.23"),
        (0.01234, "12.3"),
        (0.1234, "123"),
        (1.234, "1234"),
    ],
)
def test_milliseconds(seconds: float, text: str) -> None:
    assert tables.milliseconds(seconds) == text

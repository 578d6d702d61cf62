"""compile --standalone: a program that proves and times its layers, and says so when one is wrong.

The first link for a system has zig build its C library, which takes a minute; its cache keeps that.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests import faulty_kernel
from tvmconv import cli
from tvmconv.bench.plan import Setting, blank_row
from tvmconv.compiler.standalone import Part, write_program
from tvmconv.database import rows as record
from tvmconv.database.rows import Row
from tvmconv.native import toolchain
from tvmconv.rpc.deploy import runtime_files
from tvmconv.target import targets
from tvmconv.workload.resolve import Layer

# Two images of groups with channels that fill no vector, dilated and with strides, then a pointwise layer.
WORKLOADS = ("mb2g2ic10ih9oc14oh5kh3sh2dh1ph2", "ic16ih6oc20kh1")
ALGORITHMS = ("indirect", "direct")


def compiled(path: Path, *options: str) -> Path:
    assert cli.main(["compile", *WORKLOADS, "--standalone", "-o", str(path), "-q", *options]) == 0
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("native") / "bench", "-a", ",".join(ALGORITHMS))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def rows(*command: str | Path) -> list[Row]:
    """What the program finds, where all is well; the context first."""
    done = run(*command, "--json", "--num_runs=3", "--warmup_runs", "1")
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("threads", [1, 4])
def test_rows_are_those_of_bench(program: Path, threads: int) -> None:
    context, *found = rows(program, "--threads", str(threads))
    assert context.keys() == record.context([], None).keys()
    assert (context["cpu"], set(context["features"])) == (record.here()["cpu"], set(record.here()["features"]))
    assert [(row["source"], row["algorithm"]) for row in found] == [(w, a) for w in WORKLOADS for a in ALGORITHMS]
    setting = Setting(targets.native())
    for row in found:
        asked = blank_row(Layer(row["source"], None), setting, algorithm=row["algorithm"])
        assert row.keys() == {*asked, *record.FIGURES}
        assert (row["status"], row["exact"], row["max_error"], row["threads"]) == ("ok", True, 0, threads)
        seconds = row["seconds"]
        assert 0 < seconds["p20"] <= seconds["median"] <= seconds["p80"]
        assert row["gflops"] == pytest.approx(row["flops"] / seconds["median"] / 1e9, rel=1e-4)


def test_a_table_for_people(program: Path) -> None:
    done = run(program, "--num_runs", "2", "--cpus", "0-9999")
    assert (done.returncode, done.stdout) == (2, "")
    done = run(program, "--num_runs", "2")
    assert (done.returncode, done.stdout.count("exact"), len(done.stdout.splitlines())) == (0, 4, 5)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--threads", "0"], "--threads 0 is not a whole number from 1 to 1024"),
        (["--num_runs", "many"], "--num_runs many is not a whole number"),
        (["--cpus", "1-"], "--cpus 1- is not a list of CPUs such as 0,2-3"),
        (["--threads", "2", "--cpus", "0"], "--cpus must name a CPU for each thread"),
        (["--cpus", "1023"], "no CPU 1023 for this process"),
        (["--rounds"], "--rounds is no option"),
        (["resnet18"], "resnet18 is no option"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(program: Path, argv: list[str], sentence: str) -> None:
    done = run(program, *argv)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert sentence in done.stderr


def test_nothing_else_is_needed_and_profilers_find_all(program: Path) -> None:
    with program.open("rb") as file:
        elf = ELFFile(file)
        assert not [segment for segment in elf.iter_segments() if segment["p_type"] in ("PT_INTERP", "PT_DYNAMIC")]
        assert elf.get_section_by_name(".eh_frame")
        names = {symbol.name for symbol in elf.get_section_by_name(".symtab").iter_symbols()}
    assert {name for name in names if name.endswith("_tir_run")} >= {"mb1ic16ih6oc20oh6kh1ph0_direct_tir_run"}


def test_nchw(tmp_path: Path) -> None:
    program = compiled(tmp_path / "bench", "-a", "direct,im2col", "--layout", "nchw")
    _, *found = rows(program)
    assert [row["layout"] for row in found] == ["nchw"] * 4


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("NO_BIAS", "outputs are wrong in the first run, by "),
        ("SKIPS_LAST", "an output is NaN in the first run"),
    ],
)
def test_a_wrong_kernel_is_exit_code_1(tmp_path: Path, fault: str, sentence: str) -> None:
    native = targets.native()
    kernel = faulty_kernel.build(fault, native, tmp_path)
    toolchain.zig("-c", "-O1", "-fno-sanitize=all", tmp_path / f"{fault}-code.c", "-o", tmp_path / f"{fault}.o")
    row = blank_row(Layer("faulty", faulty_kernel.SHAPE, 'a "name"??/\\'), Setting(native), algorithm="direct")
    write_program([Part(kernel, row)], native, record.context([], None), tmp_path / "bench", print)
    done = run(tmp_path / "bench", "--json")
    _, found = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, found["status"], found["seconds"], found["name"]) == (1, "mismatch", None, row["name"])
    assert sentence in found["reason"]


def test_aarch64(tmp_path: Path) -> None:
    try:
        qemu = runtime_files.qemu(print)
    except RuntimeError as error:
        pytest.skip(str(error))
    program = compiled(tmp_path / "bench", "-t", "pixel6", "-a", ",".join(ALGORITHMS))
    with program.open("rb") as file:
        aligned = [segment["p_align"] for segment in ELFFile(file).iter_segments("PT_LOAD")]
    assert min(aligned) >= 65536
    for threads in ("1", "4"):
        _, *found = rows(qemu, program, "--threads", threads)
        assert [row["exact"] for row in found] == [True] * 4

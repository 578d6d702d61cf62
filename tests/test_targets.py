"""Targets and devices: what a name means, what LLVM makes of it, and that no core in reach lacks an instruction."""

from __future__ import annotations

import functools
import itertools
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from tests.compilers import CC, environment
from tvmconv import cli
from tvmconv.compiler import builder, lower
from tvmconv.compiler.builder import Request
from tvmconv.compiler.library import write_library
from tvmconv.runtime.kernel import load
from tvmconv.target import features, targets
from tvmconv.target.cores import CORES
from tvmconv.target.devices import DEVICES
from tvmconv.target.targets import TARGETS, parse
from tvmconv.workload.shape import ConvShape

PROBLEM, POINTWISE, DEPTHWISE = "ic4ih5oc8kh3ph1", "ic4ih5oc8kh1", "g8ic8ih5oc8kh3ph1"
# What has code of its own, beside indirect: algorithm, layout, problem.
KERNELS = (
    ("gemm", "nhwc", POINTWISE),
    ("im2row", "nhwc", PROBLEM),
    ("direct", "nhwc", PROBLEM),
    ("direct", "nhwc", DEPTHWISE),
    ("direct", "nchw", PROBLEM),
    ("kn2row-as", "nchw", PROBLEM),
)

# What the weakest core of a device has, from dumps of /proc/cpuinfo, for zig's -mcpu: not taken from target.devices.
ARMV8, HALF, ARMV82 = "generic", "generic+fullfp16", "generic+fullfp16+dotprod"
FLOORS = {
    **dict.fromkeys(("aarch64", "galaxy-s8", "pixel2xl", "raspberrypi3", "raspberrypi4", "jetson-nano"), ARMV8),
    "pixel3": HALF,
    **dict.fromkeys(("pixel4", "pixel5", "pixel6", "pixel7", "raspberrypi5", "graviton2", "apple-m1"), ARMV82),
    **dict.fromkeys(("rk3588", "orangepi5", "jetson-orin"), ARMV82),
    "pixel8": f"{ARMV82}+i8mm",
    **dict.fromkeys(("pixel9", "pixel10", "galaxy-s24", "graviton3", "graviton4", "apple-m2"), f"{ARMV82}+i8mm+bf16"),
}


def llvm_features(triple: str, mcpu: str, mattr: tuple[str, ...] = ()) -> set[str]:
    """All that LLVM then takes a core to have, its habits included."""
    import tvm

    made = {"kind": "llvm", "mtriple": triple, "mcpu": mcpu, "mattr": list(mattr)}
    return {str(name) for name in tvm.target.codegen.llvm_get_cpu_features(tvm.target.Target(made))}


@functools.cache
def module(algorithm: str, layout: str, problem: str) -> Any:
    """A kernel's scheduled functions, before LLVM makes code for some core of them."""
    request = Request(ConvShape.parse(problem), algorithm, "aarch64", layout=layout).check()
    return builder._module(request, builder._program(request))


def code_for(name: str, algorithm: str = "indirect", layout: str = "nhwc", problem: str = PROBLEM) -> str:
    return lower.assembly(module(algorithm, layout, problem), parse(name))


def instructions(texts: Iterable[str]) -> str:
    """Each different instruction once, its labels those of another file, so that all can be assembled together."""
    lines = {line.partition("//")[0].rstrip() for text in texts for line in text.splitlines()}
    return "".join(f"{line}\n".replace(".L", "L") for line in sorted(lines) if re.match(r"\s+[a-z]", line))


def refused(text: str, mcpu: str, folder: Path) -> str:
    """What zig's assembler says of the first instruction that a core lacks; nothing if it has all."""
    source = folder / "code.s"
    source.write_text(text)
    options = ("-target", "aarch64-linux-gnu", f"-mcpu={mcpu}", "-c", "-o", source.with_suffix(".o"))
    command = [*CC, *options, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    return "" if done.returncode == 0 else done.stderr or "it failed"


def codes_by_floor() -> dict[str, list[str]]:
    """The targets that may run on a device with that floor, one for each way in which LLVM makes code for them."""
    found: dict[str, dict[tuple[str, str, tuple[str, ...]], str]] = {}
    for known in TARGETS:
        device = known.name.partition("/")[0]
        if device in FLOORS:
            found.setdefault(FLOORS[device], {}).setdefault((known.triple, known.mcpu, known.mattr), known.name)
    return {floor: [*names.values()] for floor, names in found.items()}


@pytest.mark.parametrize(("floor", "names"), codes_by_floor().items())
def test_the_weakest_core_has_every_instruction(floor: str, names: list[str], tmp_path: Path) -> None:
    """Of one algorithm's code for all targets, and of every kind of kernel's for the first."""
    texts = [*(code_for(name) for name in names), *(code_for(names[0], *kernel) for kernel in KERNELS)]
    assert all(re.search(r"\bfml[as]\s+v\d+\.4s", text) for text in texts)
    assert not refused(instructions(texts), floor, tmp_path)


def test_an_instruction_that_a_core_lacks_is_seen(tmp_path: Path) -> None:
    assert "requires: sve" in refused(instructions([code_for("neoverse-v1+sve")]), ARMV82, tmp_path)
    assert "requires: dotprod" in refused("\tudot v0.4s, v1.16b, v2.16b\n", HALF, tmp_path)
    assert not refused("\tudot v0.4s, v1.16b, v2.16b\n", ARMV82, tmp_path)


def test_every_device_has_a_floor() -> None:
    assert {device.name for device in DEVICES} == FLOORS.keys() - {"aarch64"}
    assert [
        device.name for device in DEVICES for c in device.clusters if not {*device.features} <= {*c.core.features}
    ] == []


def test_llvm_agrees_with_the_tables() -> None:
    import tvm

    arithmetic = {"fullfp16", "dotprod", "i8mm", "bf16"}
    arm = parse("aarch64").triple
    codegen = tvm.target.codegen
    archs = {str(name) for name in codegen.llvm_get_cpu_archlist(tvm.target.Target({"kind": "llvm", "mtriple": arm}))}
    aliases = {"apple-m1", "apple-m2"}
    assert {core.name for core in CORES} - aliases == archs - {"generic"}
    assert all(codegen.llvm_is_valid_cpu(name, arm) for name in aliases)
    assert [core.name for core in CORES if llvm_features(arm, core.name) & arithmetic != {*core.features}] == []
    for arch, triple, least in (("aarch64", arm, "generic"), ("x86_64", parse("x86-64-v2").triple, "x86-64")):
        table, bare = features.FEATURES[arch], llvm_features(triple, least)
        for name in table:
            found = llvm_features(triple, least, (f"+{name}",)) - bare | {name}
            assert found & {*table} - bare == features.closure(arch, [name]) - bare, name


def test_code_may_use_what_its_target_says_and_nothing_else() -> None:
    table = {*features.FEATURES["aarch64"]}
    some = ("cortex-a76-fp16", "pixel6/little+dotprod", "neoverse-v2+sve2", "c1-ultra+sme2,-i8mm", "aarch64+bf16")
    for made_for in [*TARGETS, *map(parse, some)]:
        if made_for.arch == "aarch64":
            found = llvm_features(made_for.triple, made_for.mcpu, made_for.mattr) & table
            assert found == {"neon", "fp-armv8"} | made_for.extensions, made_for.name


@pytest.mark.parametrize(
    ("name", "triple", "mcpu", "needs"),
    [
        ("cortex-a53", "aarch64-unknown-linux-gnu", "cortex-a53", "asimd"),
        ("cortex-a76", "aarch64-unknown-linux-gnu", "cortex-a76", "asimd fphp asimdhp asimddp"),
        ("cortex-a76-fp16", "aarch64-unknown-linux-gnu", "cortex-a76", "asimd asimddp"),
        ("pixel3", "aarch64-unknown-linux-android", "cortex-a55", "asimd fphp asimdhp"),
        ("pixel6", "aarch64-unknown-linux-android", "cortex-a55", "asimd fphp asimdhp asimddp"),
        ("pixel6/big,-dotprod", "aarch64-unknown-linux-android", "cortex-x1", "asimd fphp asimdhp"),
        ("pixel9-i8mm-bf16", "aarch64-unknown-linux-android", "cortex-a520", "asimd fphp asimdhp asimddp"),
        ("pixel2xl/big+sve2", "aarch64-unknown-linux-android", "cortex-a73", "asimd fphp asimdhp sve sve2"),
        ("raspberrypi4", "aarch64-unknown-linux-gnu", "cortex-a72", "asimd"),
        ("aarch64+sve-b16b16,+crc", "aarch64-unknown-linux-gnu", "generic", "asimd crc32 sveb16b16"),
    ],
)
def test_names(name: str, triple: str, mcpu: str, needs: str) -> None:
    made_for = parse(name)
    assert (made_for.triple, made_for.mcpu, sorted(made_for.features)) == (triple, mcpu, sorted(needs.split()))
    assert parse(made_for.name) == made_for


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cortex-a76x", "did you mean cortex-a76"),
        ("pixel6/gold", "unknown cluster of pixel6 'gold' (known: big, mid, little)"),
        ("raspberrypi4/big", "raspberrypi4 has one kind of core: leave /big out"),
        ("pixel6/", "unknown cluster of pixel6 ''"),
        ("cortex-a76+dotprdo", "did you mean dotprod"),
        ("cortex-a76-crypto2", "unknown aarch64 feature 'crypto2'"),
        ("x86-64-v3+dotprod", "unknown x86_64 feature 'dotprod'"),
        ("cortex-a76+sve,-sve", "+sve and -sve contradict each other"),
        ("cortex-a76+fp16-fullfp16", "+fullfp16 and -fullfp16 contradict each other"),
        ("pixel8-sve,+sve2", "+sve2 and -sve contradict each other: sve2 needs sve"),
        ("cortex-a76,dotprod", "put + or - before its name"),
        ("cortex-a76+", "'+' is not a feature"),
        ("cortex-a76-neon", "cortex-a76 is neon code, which needs neon"),
        ("x86-64-v4-avx512vl", "x86-64-v4 is avx512 code, which needs avx512vl"),
        ("+sve", "unknown target ''"),
    ],
)
def test_a_wrong_name_is_one_line(capsys: pytest.CaptureFixture[str], name: str, sentence: str) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["compile", PROBLEM, "-t", name, "-o", "layer.so"])
    err = capsys.readouterr().err
    assert (end.value.code, len(err.splitlines())) == (2, 1)
    assert sentence in err


CPUINFO = """\
processor	: 0
BogoMIPS	: 38.40
Features	: {features}
CPU implementer	: {first[0]}
CPU architecture: 8
CPU part	: {first[1]}

processor	: 1
Features	: {features}
CPU implementer	: {second[0]}
CPU part	: {second[1]}
"""
A53, A55, A75, A76, NOVEL = (
    ("0x41", "0xd03"),
    ("0x51", "0x803"),
    ("0x51", "0x802"),
    ("0x41", "0xd0b"),
    ("0x41", "0xfff"),
)


@pytest.mark.parametrize(
    ("shown", "first", "second", "name"),
    [
        ("fp asimd", A53, A53, "cortex-a53"),
        ("fp asimd fphp asimdhp asimddp", A76, A76, "cortex-a76"),
        ("fp asimd fphp asimdhp asimddp", A76, A55, "cortex-a55"),
        ("fp asimd fphp asimdhp", A75, A55, "cortex-a55-dotprod"),
        ("fp asimd", A75, A75, "cortex-a75-dotprod-fullfp16"),
        ("fp asimd fphp asimdhp asimddp", A76, NOVEL, "aarch64"),
    ],
)
def test_native_on_aarch64(
    monkeypatch: pytest.MonkeyPatch, shown: str, first: tuple[str, str], second: tuple[str, str], name: str
) -> None:
    text = CPUINFO.format(features=shown, first=first, second=second)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(targets.Path, "read_text", lambda path: text)
    for cached in ("host_features", "host_parts"):
        monkeypatch.setattr(targets, cached, getattr(targets, cached).__wrapped__)
    made_for = targets.native()
    assert made_for == parse(name)
    assert made_for.missing_here is None


@pytest.mark.skipif(platform.machine() == "aarch64", reason="load would not refuse")
@pytest.mark.parametrize(("name", "page"), [("raspberrypi5", 65536), ("pixel6", 16384)])
def test_files_for_aarch64(tmp_path: Path, name: str, page: int) -> None:
    """Of one kernel and of two: aligned to the largest pages, and depending on nothing."""
    kernels = [builder.build_path(Request(ConvShape.parse(PROBLEM), each, name)) for each in ("direct", "im2row")]
    one, two = tmp_path / "one.so", tmp_path / "two.so"
    write_library(kernels[:1], {}, one)
    write_library(kernels, {}, two)
    with pytest.raises(ValueError, match="was made for aarch64; this machine is"):
        load(one)
    for path in (one, two):
        assert name in path.with_suffix(".h").read_text().splitlines()[0]
        elf: Any = ELFFile.load_from_path(str(path))
        with elf:
            segments = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
            assert elf["e_machine"] == "EM_AARCH64"
            assert segments and all(segment["p_align"] >= page for segment in segments)
            for earlier, later in itertools.pairwise(segments):
                if earlier["p_flags"] != later["p_flags"]:  # a page has one protection
                    assert later["p_vaddr"] // page > (earlier["p_vaddr"] + earlier["p_memsz"] - 1) // page
            undefined = [
                s.name for s in elf.get_section_by_name(".dynsym").iter_symbols() if s["st_shndx"] == "SHN_UNDEF"
            ]
            assert {*undefined} <= {""}


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    for what, pattern, words in (
        ("targets", "^pixel6/little$", ("neon", "aarch64-unknown-linux-android", "cortex-a55", "dotprod")),
        ("devices", "^pixel6$", ("cortex-x1", "cortex-a76", "cortex-a55", "1024", "32")),
    ):
        assert cli.main(["list", what, "--match", pattern]) == 0
        out = capsys.readouterr().out
        assert all(word in out for word in words)


@pytest.mark.skipif(platform.machine() == "aarch64", reason="it may run here")
def test_what_runs_elsewhere_is_pointed_there(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("verify", "bench"):
        assert cli.main([command, PROBLEM, "-t", "pixel6"]) == 2
        err = capsys.readouterr().err
        assert "cannot run pixel6: it is " in err and "`verify --device emulator` can" in err and err.count("\n") == 1

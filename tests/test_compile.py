"""tvmconv compile: libraries, headers, programs, and nothing half-written."""

from __future__ import annotations

import ctypes
import platform
import re
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.calling import ONE, POINTWISE, Capture, rows, run
from tvmconv.native import toolchain
from tvmconv.runtime.kernel import load
from tvmconv.support.filesystem.files import write_whole
from tvmconv.target.isa import SSE4


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

"""Several kernels in one file: each is there, once, and none gets into another's way."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import tvmconv
from tvmconv.compiler import builder
from tvmconv.compiler.builder import Request
from tvmconv.compiler.ffi_entries import exports
from tvmconv.compiler.library import write_library
from tvmconv.native import toolchain
from tvmconv.runtime.kernel_file.description import descriptions
from tvmconv.verify.reference import conv2d, integer_case
from tvmconv.workload.shape import ConvShape

# The second computes on what the first gives.
FIRST, SECOND = (ConvShape.parse(text) for text in ("ic8ih6oc20kh3ph1", "ic20ih6oc16kh1"))
REQUESTS = [Request(FIRST, "indirect"), Request(FIRST, "im2row"), Request(SECOND, "gemm")]
PREFIXES = [request.prefix for request in REQUESTS]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "net.so"
    names = {PREFIXES[0]: ["first", "a */ b /* c"], PREFIXES[2]: ["second"]}
    header = write_library([builder.build_path(request) for request in REQUESTS], names, path)
    assert header == path.with_name("net.h")
    return path


def test_each_kernel_is_loaded_by_its_prefix(library: Path, tmp_path: Path) -> None:
    assert [*descriptions(library)] == PREFIXES
    for prefix, request in zip(PREFIXES, REQUESTS, strict=True):
        case = integer_case(request.shape)
        kernel = tvmconv.load(library, prefix)
        assert kernel.algorithm == request.algorithm
        np.testing.assert_array_equal(kernel.prepare(case.w)(case.x), case.plain)
    with pytest.raises(ValueError, match=f"holds 3 kernels, name one by its prefix: {PREFIXES[0]}, "):
        tvmconv.load(library)
    tvmconv.load(library, PREFIXES[1]).save(tmp_path / "copy.so")
    assert [*descriptions(tmp_path / "copy.so")] == PREFIXES


def test_only_the_kernels_interface_is_visible(library: Path) -> None:
    with library.open("rb") as file:
        symbols = [symbol for symbol in ELFFile(file).get_section_by_name(".dynsym").iter_symbols() if symbol.name]
    assert not [symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF"]
    wanted = {symbol for prefix in PREFIXES for symbol in exports(prefix)} - {"__TVMFFI*"}
    assert {symbol.name for symbol in symbols} == {*wanted, "__TVMFFIErrorSetRaisedFromCStr"}


def test_any_tvm_runtime_finds_all_of_them(library: Path) -> None:
    import tvm

    module, case = tvm.runtime.load_module(str(library)), integer_case(SECOND)
    kernel = tvmconv.load(library, PREFIXES[2])
    packed, workspace, y = (
        tvm.runtime.tensor(np.full(shape, np.nan, np.float32))
        for shape in (kernel.packed_bytes // 4, 1, SECOND.y_shape)
    )
    module[f"{PREFIXES[2]}_pack"](tvm.runtime.tensor(case.w), tvm.runtime.tensor(case.bias), packed)
    module[f"{PREFIXES[2]}_run"](tvm.runtime.tensor(case.x), packed, y, workspace)
    np.testing.assert_array_equal(y.numpy(), conv2d(case.x, case.w, SECOND, case.bias))
    with pytest.raises(ValueError, match=r"shape\[0\]"):
        module[f"{PREFIXES[0]}_prepare"](packed)


def test_c_program(library: Path, tmp_path: Path) -> None:
    """Two layers in one program, built by zig without TVM; a layer's name cannot end the header's comments."""
    first, second = integer_case(FIRST), integer_case(SECOND)
    expected = conv2d(first.plain, second.w, SECOND)
    arrays = {"W_A": first.w, "W_B": second.w, "X": first.x, "Y": expected}
    np.concatenate([array.ravel() for array in arrays.values()]).tofile(tmp_path / "data")
    sizes = {name: array.size for name, array in (*arrays.items(), ("BETWEEN", first.plain))}
    toolchain.zig(
        *("-O1", "-Wall", "-Wextra", "-Werror", f"-I{library.parent}", f"-DA={PREFIXES[0]}", f"-DB={PREFIXES[2]}"),
        *(f"-D{name}={size}" for name, size in sizes.items()),
        *("-o", tmp_path / "program", Path(__file__).with_name("two_layers.c"), library),
        f"-Wl,-rpath,{library.parent}",
    )
    done = subprocess.run([tmp_path / "program", tmp_path / "data"], timeout=60)
    assert done.returncode == 0


def test_the_header_names_the_layers(library: Path) -> None:
    header = library.with_suffix(".h").read_text()
    assert header.startswith("/* 3 kernels, ")
    assert f"/* first, a * / b / * c, {FIRST}, indirect\n" in header
    assert f"/* second, {SECOND}, gemm\n" in header
    assert header.count("#define TVMCONV_H") == 1

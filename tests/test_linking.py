"""Programs that are linked with what `compile` and Kernel.save write, by file name, and then moved away from it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tvmconv
from tests.compilers import CC, environment
from tvmconv.compiler import builder
from tvmconv.compiler.builder import Request
from tvmconv.compiler.library import write_library
from tvmconv.native import toolchain
from tvmconv.runtime.kernel_file.soname import named
from tvmconv.target.tile import Tile
from tvmconv.verify.reference import conv2d, integer_case
from tvmconv.workload.shape import ConvShape

# The second computes on what the first gives.
FIRST, SECOND = (ConvShape.parse(text) for text in ("ic8ih6oc20kh3ph1", "ic20ih6oc16kh1"))
REQUESTS = [Request(FIRST, "indirect"), Request(SECOND, "gemm")]
PREFIXES = [request.prefix for request in REQUESTS]
SOURCE = Path(__file__).with_name("two_layers.c")

CMAKE = """
cmake_minimum_required(VERSION 3.13)
project(layers C)
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib")
add_executable(program {source})
target_compile_definitions(program PRIVATE {defines})
target_include_directories(program PRIVATE {lib})
target_link_libraries(program {libraries})
"""


@pytest.fixture
def defines(tmp_path: Path) -> dict[str, object]:
    """What two_layers.c is to be told; its data are in the file `data`."""
    first, second = integer_case(FIRST), integer_case(SECOND)
    arrays = {"W_A": first.w, "W_B": second.w, "X": first.x, "Y": conv2d(first.plain, second.w, SECOND)}
    np.concatenate([array.ravel() for array in arrays.values()]).tofile(tmp_path / "data")
    sizes = {name: array.size for name, array in (*arrays.items(), ("BETWEEN", first.plain))}
    return {**sizes, "A": PREFIXES[0], "B": PREFIXES[1]}


def libraries(folder: Path, suffix: str) -> list[Path]:
    """Each layer in a library of its own."""
    folder.mkdir(parents=True)
    paths = [folder / f"{name}{suffix}" for name in "ab"]
    for request, path in zip(REQUESTS, paths, strict=True):
        write_library([builder.build_path(request)], {}, path)
    (folder / "net.h").write_text('#include "a.h"\n#include "b.h"\n')
    return paths


def by_zig(folder: Path, defines: dict[str, object], files: list[Path]) -> None:
    _by_compiler([*CC], folder, defines, files)


def by_cc(folder: Path, defines: dict[str, object], files: list[Path]) -> None:
    if not shutil.which("cc"):
        pytest.skip("this machine has no cc")
    _by_compiler(["cc", "-Wl,--fatal-warnings"], folder, defines, files)


def _by_compiler(compiler: list[str], folder: Path, defines: dict[str, object], files: list[Path]) -> None:
    """With the libraries as paths from here."""
    options = [f"-D{name}={value}" for name, value in defines.items()]
    paths = [f"./{file.relative_to(folder)}" for file in files]
    command = [*compiler, *options, "-Ilib", "-o", "bin/program", SOURCE, *paths, "-Wl,-rpath,$ORIGIN/../lib"]
    subprocess.run(command, cwd=folder, check=True, timeout=60, env=environment())


def by_cmake(folder: Path, defines: dict[str, object], files: list[Path]) -> None:
    if not (shutil.which("cmake") and shutil.which("cc")):
        pytest.skip("this machine has no cmake, or no cc")
    fields = {
        "source": SOURCE,
        "defines": " ".join(f"{name}={value}" for name, value in defines.items()),
        "lib": files[0].parent,
        "libraries": " ".join(map(str, files)),
    }
    for name, value in fields.items():
        text = (folder / "CMakeLists.txt").read_text() if name != "source" else CMAKE
        (folder / "CMakeLists.txt").write_text(text.replace(f"{{{name}}}", str(value)))
    for command in (["-S", ".", "-B", "bin"], ["--build", "bin"]):
        subprocess.run(["cmake", *command], cwd=folder, check=True, timeout=60, stdout=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".so", ".so.1", ".a"])
@pytest.mark.parametrize("build", [by_zig, by_cc, by_cmake])
def test_a_program_runs_in_another_place(
    tmp_path: Path, defines: dict[str, object], build: object, suffix: str
) -> None:
    """With shared objects beside it, or with nothing, where they are static."""
    (tmp_path / "built" / "bin").mkdir(parents=True)
    assert callable(build)
    build(tmp_path / "built", defines, libraries(tmp_path / "built" / "lib", suffix))
    moved = (tmp_path / "built").rename(tmp_path / "moved")
    if suffix == ".a":
        shutil.rmtree(moved / "lib")
    done = subprocess.run([moved / "bin" / "program", tmp_path / "data"], cwd="/", timeout=60)
    assert done.returncode == 0


def soname(path: Path) -> str:
    said = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    return said.partition("soname: [")[2].partition("]")[0]


def test_the_soname_is_the_name_of_the_file(tmp_path: Path) -> None:
    kernel = tvmconv.build(FIRST, "indirect")
    for name in ("a.so", f"{'long' * 60}.so", "é.so", "b"):
        kernel.save(tmp_path / name)
        kernel = tvmconv.load(tmp_path / name)
        assert soname(tmp_path / name) == name
    assert soname(builder.build_path(REQUESTS[0])) == builder.build_path(REQUESTS[0]).name


def test_what_has_no_room_for_a_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "f.c").write_text("int f(void) { return 1; }\n")
    for option in ([], ["-Wl,-soname,short.so"]):
        toolchain.zig("-shared", "-nostdlib", *option, "-o", tmp_path / "f.so", tmp_path / "f.c")
        content = (tmp_path / "f.so").read_bytes()
        assert named(content, "longer-than-before.so") == content


def test_files_of_one_name_are_not_taken_for_one_another(tmp_path: Path) -> None:
    """glibc knows loaded files by their SONAME, too; by the loader and by a user of ctypes."""
    tiles = [Tile(2, 16), Tile(1, 16)]
    for number, (shape, tile) in enumerate(zip((FIRST, FIRST), tiles, strict=True)):
        (tmp_path / str(number)).mkdir()
        request = replace(Request(shape, "indirect"), tile=tile)
        write_library([builder.build_path(request)], {}, tmp_path / str(number) / "layer.so")
    for number, tile in enumerate(tiles):
        path = tmp_path / str(number) / "layer.so"
        kernel = tvmconv.load(path)
        case = integer_case(FIRST)
        np.testing.assert_array_equal(kernel.prepare(case.w)(case.x), case.plain)
        for library in (ctypes.CDLL(str(path)), kernel._library):
            describe = getattr(library, f"{PREFIXES[0]}_describe")
            describe.restype = ctypes.c_char_p
            assert f'"tile": "{tile}'.encode() in describe()

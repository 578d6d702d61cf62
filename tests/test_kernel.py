"""The Python contract: arrays as they lie, nothing stale, nothing copied, errors that say what would be right."""

from __future__ import annotations

import ctypes
import itertools
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import tvmconv
from tvmconv.native import toolchain
from tvmconv.runtime.arrays import Array, aligned
from tvmconv.runtime.kernel import Conv, Kernel
from tvmconv.verify.reference import Case, conv2d, integer_case
from tvmconv.workload.shape import ConvShape

SHAPE = ConvShape.parse("mb2ic12ih9oc40kh3ph1")


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return tvmconv.build(SHAPE, "indirect")


@pytest.fixture(scope="module")
def case() -> Case:
    return integer_case(SHAPE, seed=5)


@pytest.fixture(scope="module")
def conv(kernel: Kernel, case: Case) -> Conv:
    return kernel.prepare(case.w, case.bias, case.clamp)


def at_offset(array: Array, offset: int) -> Array:
    """A copy that begins `offset` bytes behind a multiple of 64."""
    memory = aligned(array.nbytes + offset)[offset:]
    copy = memory.view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize(("x_offset", "y_offset"), list(itertools.product((0, 4, 16, 32), repeat=2)))
def test_any_aligned_element_will_do(conv: Conv, case: Case, x_offset: int, y_offset: int) -> None:
    x, y = at_offset(case.x, x_offset), at_offset(np.full_like(case.fused, np.nan), y_offset)
    workspace = conv.new_workspace(aligned(conv.workspace_bytes + 4)[4:])
    assert conv(x, out=y, workspace=workspace) is y
    np.testing.assert_array_equal(y, case.fused)


def test_x_may_be_read_only_and_may_move(conv: Conv, case: Case) -> None:
    for seed in range(3):
        x = integer_case(SHAPE, seed).x.copy()
        x.flags.writeable = False
        np.testing.assert_array_equal(conv(x), conv2d(x, case.w, SHAPE, case.bias, case.clamp))


@pytest.mark.parametrize(("layout", "axes"), [("OIHW", (0, 1, 2, 3)), ("OHWI", (0, 2, 3, 1)), ("HWIO", (2, 3, 1, 0))])
def test_weight_layouts(kernel: Kernel, case: Case, layout: str, axes: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(
        kernel.prepare(np.ascontiguousarray(case.w.transpose(axes)), weights=layout)(case.x), case.plain
    )


@pytest.mark.parametrize("own", [True, False], ids=["a workspace each", "the convolution's own, in turn"])
def test_threads(case: Case, own: bool) -> None:
    """im2row writes all of its workspace in each call: two calls in one workspace get into each other's way."""
    conv = tvmconv.build(SHAPE, "im2row").prepare(case.w)

    def many_calls(seed: int) -> None:
        x, workspace = integer_case(SHAPE, seed).x, conv.new_workspace() if own else None
        expected = conv2d(x, case.w, SHAPE)
        for _ in range(200):
            np.testing.assert_array_equal(conv(x, workspace=workspace), expected)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many_calls, range(4)))


def test_a_given_workspace_is_the_one_that_is_used(case: Case) -> None:
    conv = tvmconv.build(SHAPE, "im2row").prepare(case.w)
    workspace = conv.new_workspace()
    workspace.fill(0xFF)
    before = conv._own_workspace.copy()
    conv(case.x, workspace=workspace)
    assert not np.isnan(workspace.view(np.float32)).all()
    np.testing.assert_array_equal(conv._own_workspace, before)


@pytest.mark.parametrize("clamp", [None, (-1e30, 1e30)])
def test_nan_reaches_the_outputs_that_use_it(kernel: Kernel, case: Case, clamp: tuple[float, float] | None) -> None:
    x = case.x.copy()
    x[1, 4, 4, 3] = np.nan
    y = kernel.prepare(case.w, clamp=clamp)(x)
    touched = np.zeros(SHAPE.y_shape, bool)
    touched[1, 3:6, 3:6] = True
    np.testing.assert_array_equal(np.isnan(y), touched)


def test_any_memory_will_do_as_workspace(conv: Conv, case: Case) -> None:
    """Neither what it held nor another kernel that has used it matters."""
    other = tvmconv.build("ic40ih12oc8kh3ph1", "im2row")
    rival = integer_case(other.shape)
    memory = np.full(max(conv.workspace_bytes, other.workspace_bytes()), 0xFF, np.uint8)
    prepared = conv.new_workspace(memory)
    np.testing.assert_array_equal(other.prepare(rival.w)(rival.x, workspace=prepared), rival.plain)
    for workspace in (prepared, memory, memory[: conv.workspace_bytes]):
        np.testing.assert_array_equal(conv(case.x, workspace=workspace), case.fused)


def refusals(case: Case) -> dict[str, tuple[dict[str, object], type[Exception], str]]:
    y = np.empty_like(case.plain)
    frozen = y.copy()
    frozen.flags.writeable = False
    odd = aligned(case.x.nbytes + 1)[1:].view(np.float32).reshape(case.x.shape)
    return {
        "x of another shape": ({"x": case.x[:1]}, ValueError, "this kernel takes (2, 9, 9, 12)"),
        "x masked": ({"x": np.ma.masked_less(case.x, 0)}, TypeError, "x is a masked array, and kernels know no masks"),
        "out masked": ({"out": np.ma.array(y)}, TypeError, "out is a masked array, and kernels know no masks"),
        "x of another byte order": (
            {"x": case.x.astype(">f4")},
            TypeError,
            "pass float32 in this machine's byte order",
        ),
        "x broadcast": ({"x": np.broadcast_to(np.float32(1), case.x.shape)}, ValueError, "numpy.ascontiguousarray(x)"),
        "x in torch's order": ({"x": np.ascontiguousarray(case.x.transpose(0, 3, 1, 2))}, ValueError, "), NHWC"),
        "out not contiguous": (
            {"out": np.empty(y.shape[::-1], np.float32).T},
            ValueError,
            "out is not contiguous; pass numpy.empty((2, 9, 9, 40), numpy.float32)",
        ),
        "x of float64": ({"x": case.x.astype(np.float64)}, TypeError, "pass float32"),
        "x a list": ({"x": case.x.tolist()}, TypeError, "pass a NumPy array or a torch tensor"),
        "x not contiguous": (
            {"x": np.moveaxis(np.moveaxis(case.x, 3, 1).copy(), 1, 3)},
            ValueError,
            "ascontiguousarray",
        ),
        "x misaligned": ({"x": odd}, ValueError, "not aligned"),
        "out read-only": ({"out": frozen}, ValueError, "read-only"),
        "out of another shape": ({"out": y[:1]}, ValueError, "this kernel takes (2, 9, 9, 40)"),
        "workspace too small": ({"workspace": np.empty(8, np.uint8)}, ValueError, "this kernel needs"),
        "workspace over x": ({"workspace": case.x.view(np.uint8).reshape(-1)}, ValueError, "overlaps x"),
        "workspace no array": ({"workspace": 5}, TypeError, "new_workspace"),
    }


@pytest.mark.parametrize("name", refusals(integer_case(SHAPE, 5)))
def test_bad_arrays(conv: Conv, case: Case, name: str) -> None:
    arguments, kind, sentence = refusals(case)[name]
    with pytest.raises(kind, match=re.escape(sentence)):
        conv(arguments.pop("x", case.x), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ({"w": np.zeros((40, 12, 3, 2), np.float32)}, ValueError, "this kernel takes (40, 12, 3, 3)"),
        ({"w": np.zeros((40, 12, 3, 3))}, TypeError, "pass float32"),
        ({"weights": "IOHW"}, ValueError, "known: OIHW, OHWI, HWIO"),
        ({"bias": np.zeros(39, np.float32)}, ValueError, "this kernel takes (40,)"),
        ({"w": np.zeros((12, 40, 3, 3), np.float32).swapaxes(0, 1)}, ValueError, "not contiguous"),
        ({"clamp": (1.0, 0.0)}, ValueError, "lower bound is above"),
        ({"clamp": 6}, ValueError, "not a pair of numbers"),
        ({"clamp": (0, None)}, ValueError, "not a pair of numbers"),
    ],
)
def test_bad_weights(kernel: Kernel, case: Case, arguments: dict[str, object], kind: type, sentence: str) -> None:
    with pytest.raises(kind, match=re.escape(sentence)):
        kernel.prepare(**{"w": case.w, **arguments})  # type: ignore[arg-type]


def test_a_phase_that_there_is_not(case: Case) -> None:
    conv = tvmconv.build(SHAPE, "im2row").prepare(case.w)
    with pytest.raises(ValueError, match=re.escape("unknown phase 'cpy', did you mean copy? (known: copy, run)")):
        conv.bind(case.x, np.empty_like(case.plain), phase="cpy")


def test_a_status_is_flags(kernel: Kernel) -> None:
    sentence = "_pack: a pointer is NULL that must not be and a pointer is not aligned to 4 bytes"
    with pytest.raises(ValueError, match=sentence):
        kernel.call("pack", None, None, ctypes.c_void_p(2))


def test_saved_kernel_is_the_same(kernel: Kernel, case: Case, tmp_path: Path) -> None:
    kernel.save(tmp_path / "layer.so")
    assert [path.name for path in tmp_path.iterdir()] == ["layer.so"]
    np.testing.assert_array_equal(tvmconv.load(tmp_path / "layer.so").prepare(case.w)(case.x), case.plain)


@pytest.mark.parametrize("algorithm", ["indirect", "im2row", "direct", "kn2col-as"])
def test_sizes_are_those_of_the_c_functions(algorithm: str) -> None:
    """They are read from the description, so that they are known for every machine's kernels."""
    kernel = tvmconv.build(SHAPE, algorithm)
    library, prefix = ctypes.CDLL(str(kernel.path)), kernel.description["prefix"]
    for name, arguments, size in (
        ("packed_bytes", (), kernel.packed_bytes),
        *(("workspace_bytes", (threads,), kernel.workspace_bytes(threads)) for threads in (1, 4)),
    ):
        function = getattr(library, f"{prefix}_{name}")
        function.restype = ctypes.c_size_t
        assert function(*arguments) == size


def test_numpy_is_all_that_running_needs(kernel: Kernel) -> None:
    code = f"import sys, tvmconv; tvmconv.load({str(kernel.path)!r}); assert 'tvm' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("algorithm", ["indirect", "im2row", "direct"])
def test_no_symbol_is_left_undefined(algorithm: str) -> None:
    kernel = tvmconv.build(SHAPE, algorithm)
    with kernel.path.open("rb") as file:
        symbols = list(ELFFile(file).get_section_by_name(".dynsym").iter_symbols())
    undefined = {symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name}
    assert not undefined
    assert {f"{kernel.description['prefix']}_{name}" for name in ("run", "pack", "prepare", "describe")} <= {
        symbol.name for symbol in symbols
    }


@pytest.mark.parametrize("algorithm", ["indirect", "im2row", "direct", "kn2col-as"])
def test_c_program(case: Case, tmp_path: Path, algorithm: str) -> None:
    """A program in C, built by zig without TVM, runs the layer; with a pool of its own too."""
    kernel = tvmconv.build(SHAPE, algorithm)
    prefix, size = kernel.description["prefix"], {"W": case.w.size, "X": case.x.size, "Y": case.fused.size}
    kernel.save(tmp_path / "layer.so")
    (tmp_path / "layer.h").write_text(kernel.header())
    np.concatenate([a.ravel() for a in (case.w, case.bias, case.x, case.fused)]).tofile(tmp_path / "data")
    assert case.clamp
    toolchain.zig(
        *("-O1", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}", f"-DPREFIX={prefix}", f"-DOC={SHAPE.oc}"),
        *(f"-D{name}_SIZE={count}" for name, count in size.items()),
        *(f"-DLOWER={case.clamp[0]}f", f"-DUPPER={case.clamp[1]}f"),
        *(
            "-o",
            tmp_path / "layer",
            Path(__file__).with_name("layer.c"),
            tmp_path / "layer.so",
            f"-Wl,-rpath,{tmp_path}",
        ),
    )
    done = subprocess.run([tmp_path / "layer", tmp_path / "data"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    described, tasks = done.stdout.splitlines()
    assert json.loads(described) == json.loads(json.dumps(kernel.description))
    assert int(tasks.split()[0]) > 0


def test_the_header_is_cpp_too(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "layer.h").write_text(kernel.header())
    function = f"{kernel.description['prefix']}_packed_bytes"
    (tmp_path / "use.cpp").write_text(f'#include "layer.h"\nauto size = {function}();\n')
    toolchain.zig("-x", "c++", "-c", "-Wall", "-Wextra", "-Werror", tmp_path / "use.cpp", "-o", tmp_path / "use.o")
    with (tmp_path / "use.o").open("rb") as file:
        names = {symbol.name for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols()}
    assert function in names  # and not what C++ would have made of it


def test_ffi_entries(kernel: Kernel, case: Case) -> None:
    """What a TVM RPC server does with the file: load it and call pack, clamp, prepare and run on tensors."""
    import tvm

    prefix, module = kernel.description["prefix"], tvm.runtime.load_module(str(kernel.path))
    w, bias, x = (tvm.runtime.tensor(array) for array in (case.w, case.bias, case.x))
    packed, workspace, y = (
        tvm.runtime.tensor(np.full(shape, np.nan, np.float32))
        for shape in (kernel.packed_bytes // 4, kernel.workspace_bytes() // 4, SHAPE.y_shape)
    )
    assert case.clamp
    module[f"{prefix}_pack"](w, bias, packed)
    module[f"{prefix}_clamp"](*case.clamp, packed)
    module[f"{prefix}_prepare"](workspace)
    module[f"{prefix}_run"](x, packed, y, workspace)
    np.testing.assert_array_equal(y.numpy(), case.fused)
    with pytest.raises(ValueError, match=r"shape\[0\]"):
        module[f"{prefix}_prepare"](packed)

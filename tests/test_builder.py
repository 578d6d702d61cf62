"""Many kernels at once: what is cached costs nothing, a compiler that fails costs one kernel, Ctrl-C leaves nothing."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests import fake_compiler
from tests.processes import is_running, users_of
from tests.waiting import until
from tvmconv import cli
from tvmconv.compiler import builder, cache_key
from tvmconv.compiler.builder import BuildError, Request
from tvmconv.compiler.parser_cache import parsed_quickly
from tvmconv.native import toolchain
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

HERE = Path(__file__).parent


def request(oc: int = 8, algorithm: str = "direct") -> Request:
    return Request(ConvShape.parse(f"ic8ih5oc{oc}kh3ph1"), algorithm)


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the kernels in an empty cache; zig's own cache stays."""
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(toolchain.cache() / "zig"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tvmconv" / "kernels"


@pytest.fixture
def faulty(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and the compiler is fake_compiler's."""
    monkeypatch.setattr(builder, "COMPILER", "fake_compiler")
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{HERE.parent}")
    return kernels


def test_what_is_cached_needs_neither_a_process_nor_tvm() -> None:
    path = builder.build_path(request())
    program = f"""
import sys
from tvmconv.compiler import builder
from tvmconv.support import worker
from tvmconv.workload import shape
worker.Worker = None
request = builder.Request(shape.ConvShape.parse({str(request().shape)!r}), "direct")
(path,) = builder.build_all([request], 2).values()
assert str(path) == {str(path)!r}, path
assert "tvm" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=HERE.parent, check=True)


def test_compilers_parse_what_others_do() -> None:
    """Though they remember texts and expressions from one kernel to the next, and look for no source of a frame."""
    asked = [
        replace(request(algorithm=algorithm), tile=tile)
        for algorithm in ("indirect", "winograd")
        for tile in (Tile(2, 16), Tile(1, 16))
    ]
    expected = [builder.module_text(each) for each in asked]
    with parsed_quickly():
        assert inspect.stack()[0][3:5] == ("test_compilers_parse_what_others_do", None)
        assert [builder.module_text(each) for each in asked] == expected
    assert inspect.stack()[0].code_context


def test_what_decides_a_kernel_decides_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def path(asked: Request) -> Path:
        return builder._path(asked.check())

    named = replace(request(), shape=replace(request().shape, name="a name"))
    assert named == request()
    assert path(named) == path(request())
    others = [request(oc=16), request(algorithm="indirect"), replace(request(), tile=Tile(1, 16))]
    assert len({path(request()), *map(path, others)}) == 4

    before = path(request())
    for changed in ("tvmconv.compiler.cache_key.__version__", "tvmconv.compiler.cache_key.SCHEMA"):
        with monkeypatch.context() as patch:
            patch.setattr(changed, "9")
            patch.setattr(cache_key, "tools", cache_key.tools.__wrapped__)
            assert path(request()) != before


def test_every_module_that_makes_a_kernel_decides_its_file() -> None:
    """All of this project that a compiler loads, but for the package support and `__init__` files without code."""
    program = """
import sys
from tvmconv.compiler import builder, link, lower
from tvmconv.workload.shape import ConvShape
builder.scheduled_module(builder.Request(ConvShape.parse("ic8ih6oc8kh3"), "direct"))
print(*(module.__file__ for name, module in [*sys.modules.items()] if name.startswith("tvmconv")))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=HERE.parent, check=True, capture_output=True, text=True)
    loaded = {Path(file).relative_to(HERE.parent).as_posix() for file in done.stdout.split()}
    deciding = {file.relative_to(HERE.parent).as_posix() for file in cache_key.sources()}
    others = {file for file in loaded - deciding if not file.startswith("tvmconv/support/")}
    packages = ("", "runtime/", "workload/")
    assert others == {"tvmconv/version.py", *(f"tvmconv/{package}__init__.py" for package in packages)}
    assert {"tvmconv/algorithms/microkernel/packing.py", "tvmconv/native/shim.c"} <= deciding


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_compiler_that_fails_costs_one_kernel(faulty: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    monkeypatch.setattr(builder, "PATIENCE", 2.0)
    fates = {
        8: None,
        fake_compiler.CRASHES: "the compiler crashed (SIGABRT)",
        16: None,
        fake_compiler.HANGS: "the compiler did not answer within 2 s",
        fake_compiler.FAILS: "InternalError: no register is left",
        24: None,
    }
    gemm = request(algorithm="gemm")
    steps: list[tuple[int, int]] = []
    results = builder.build_all([*map(request, fates), gemm], jobs, lambda *step: steps.append(step))

    assert isinstance(results.pop(gemm), ValueError)
    for (asked, result), (oc, fate) in zip(results.items(), fates.items(), strict=True):
        assert asked == request(oc)
        if fate is None:
            assert isinstance(result, Path) and result.exists()
        else:
            assert (type(result), str(result)) == (BuildError, fate)
    assert steps == [(done, 7) for done in range(1, 8)]  # the one that is rejected is done at once
    assert sum(path.suffix == ".so" for path in faulty.iterdir()) == 3
    assert not list(faulty.glob(".building-*"))
    assert not is_running(int((faulty / "linker").read_text()))


def test_the_same_kernel_is_built_once(faulty: Path) -> None:
    loose, strict = request(), request().check()
    assert loose != strict
    results = builder.build_all([loose, strict, loose], 2)
    assert [*results] == [loose, strict]
    assert results[loose] == results[strict]
    assert len(list(faulty.iterdir())) == 1


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_at_once(kernels: Path, tmp_path: Path, number: signal.Signals) -> None:
    """While kernels are being built: exit code 128 and the signal's, nothing said, nobody and no half left."""
    command = [sys.executable, "-m", "tvmconv", "verify", "resnet18", "--jobs", "2"]
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd=HERE.parent,
        env=environment,
    )
    until(lambda: list(kernels.glob(".building-*/.building-*")), 60)
    assert len(users_of(tmp_path)) >= 3
    os.killpg(process.pid, number)
    started = time.monotonic()
    assert process.communicate(timeout=20) == (b"", b"")
    assert time.monotonic() - started < 1
    assert process.returncode == 128 + number
    until(lambda: not users_of(tmp_path), 1)
    assert not [*kernels.glob(".*"), *(tmp_path / "temporary").iterdir()]


def test_a_damaged_kernel_is_built_again(kernels: Path) -> None:
    whole = builder.build_path(request())
    content, part = whole.read_bytes(), whole.with_suffix(".o")
    os.truncate(whole, 100)
    os.truncate(part, 0)
    assert builder.build_path(request()) == whole
    assert whole.read_bytes() == content and part.stat().st_size


def test_a_full_disk_is_said_in_one_line(
    kernels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels.mkdir(parents=True)
    kernels.parent.chmod(0o700)
    usage = shutil.disk_usage(kernels)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert cli.main(["verify", str(request().shape), "-a", "direct"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"tvmconv: {kernels}: No space left on device; set XDG_CACHE_HOME to .*", line)

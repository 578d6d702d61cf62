"""Every example runs, as its page says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compilers import CC, environment
from tvmconv import cli

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TVMCONV = Path(sys.executable).with_name("tvmconv")
RESULT = "corner 64, middle 100\n"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, text=True, capture_output=True, timeout=300, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_run() -> None:
    """A new folder of examples needs a test here."""
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == {"c", "python", "onnx"}


def test_python() -> None:
    assert "by the definition" in run(sys.executable, EXAMPLES / "python" / "layer.py")


def test_onnx() -> None:
    shown = run(sys.executable, EXAMPLES / "onnx" / "model.py")
    assert "2 exact, 0 wrong" in shown and "first" in shown and "second" in shown


def test_c_by_the_compiler_alone(tmp_path: Path) -> None:
    assert cli.main(["compile", "ic16ih14oc32kh3ph1", "-a", "indirect", "-o", str(tmp_path / "layer.so"), "-q"]) == 0
    program = tmp_path / "program"
    linked = (f"-L{tmp_path}", "-l:layer.so", "-Wl,-rpath,$ORIGIN", f"-I{tmp_path}")
    strict = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic")
    run(*CC, *strict, EXAMPLES / "c" / "main.c", *linked, "-o", program)
    assert run(program) == RESULT


def test_c_by_cmake(tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("cmake")
    cmake = str(beside) if beside.exists() else shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    if not TVMCONV.exists():
        pytest.skip("tvmconv is not installed in this environment, so no command is on its PATH")
    if shutil.which("make") is None and shutil.which("ninja") is None:
        pytest.skip("cmake has neither make nor ninja to build with")
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\nexec {sys.executable} -m ziglang cc "$@"\n')
    compiler.chmod(0o755)
    generator = "Ninja" if shutil.which("ninja") else "Unix Makefiles"
    build = tmp_path / "build"
    run(
        cmake,
        "-S",
        EXAMPLES / "c",
        "-B",
        build,
        "-G",
        generator,
        f"-DTVMCONV={TVMCONV}",
        f"-DCMAKE_C_COMPILER={compiler}",
    )
    run(cmake, "--build", build)
    assert run(build / "program") == RESULT

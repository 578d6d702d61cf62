"""Code and output that pages show: the Python runs, the C compiles, the output is what the command prints."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.compilers import CC, environment
from tests.test_docs import PAGES, ROOT, blocks
from tvmconv import cli

VERIFY = "scripts/tvmconv verify ic64ih56oc64kh3ph1"
PYTHON = [
    (page.name, block) for page in PAGES for block in blocks(page, "python") if "import numpy as np, tvmconv" in block
]
C = [(page.name, block) for page in PAGES for block in blocks(page, "c") if '#include "layer.h"' in block]
SHOWN = [
    (page.name, block.removeprefix(f"$ {VERIFY}\n"))
    for page in PAGES
    for block in blocks(page, "console")
    if block.startswith(f"$ {VERIFY}\n")
]


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python_runs(page: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, page, "exec"), {})
    assert (tmp_path / "layer.so").exists()


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layer")
    assert cli.main(["compile", "ic64ih56oc64kh3ph1", "-a", "indirect", "-o", str(folder / "layer.so"), "-q"]) == 0
    return folder


@pytest.mark.parametrize(("page", "block"), C)
def test_c_compiles(page: str, block: str, layer: Path) -> None:
    lines = block.splitlines()
    top = [line for line in lines if line.startswith("#")]
    body = [line for line in lines if not line.startswith("#")]
    program = ["#include <stdlib.h>", *top, "void f(float *x, float *w, float *bias, float *y) {", *body, "}", ""]
    (layer / "f.c").write_text("\n".join(program))
    compiler = [*CC, "-c", "-Wall", "-Werror", "f.c", "-o", "f.o"]
    done = subprocess.run(compiler, cwd=layer, text=True, capture_output=True, env=environment())
    assert done.returncode == 0, done.stderr


def test_the_pool_is_that_of_the_header() -> None:
    (shown,) = (block for page in PAGES for block in blocks(page, "c") if "typedef struct" in block)
    assert shown in (ROOT / "tvmconv" / "native" / "tvmconv.h").read_text(encoding="utf-8")


def test_the_first_command_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(VERIFY.split()[1:]) == 0
    printed = capsys.readouterr().out.split()
    assert SHOWN and PYTHON and C
    for page, block in SHOWN:
        assert block.split() == printed, page

"""Calls of the command in this process, and what it prints."""

from __future__ import annotations

import json

import pytest

from tvmconv import cli
from tvmconv.database.rows import Row

ONE = "ic8ih6oc20kh3ph1"
POINTWISE = "mb2ic8ih4oc16kh1"
Capture = pytest.CaptureFixture[str]


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

"""Calls of the command with tuning logs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tuning import KEY, written
from tvmconv import cli
from tvmconv.database.log import Record, Versions, new_log
from tvmconv.database.rows import Row

Capture = pytest.CaptureFixture[str]
OLD = replace(Versions.here(), tvm="0.26.0")


def run(capture: Capture, *argv: object) -> tuple[int, list[Row], str]:
    code = cli.main([*map(str, argv), "--json"])
    out, err = capture.readouterr()
    return code, [json.loads(line) for line in out.splitlines()][1:], err


def logged(folder: Path, *records: Record) -> Path:
    return written(new_log(KEY.target, "net", folder), *records)

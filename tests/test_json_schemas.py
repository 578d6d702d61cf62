"""Rows of real commands and records of logs are what the schemas in docs/reference say."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tvmconv import cli
from tvmconv.cli.commands import tune
from tvmconv.tune.runner import LocalTrialRunner, MeasureConfig

ROOT = Path(__file__).resolve().parent.parent
SCHEMA, RECORD = (
    json.loads((ROOT / "docs" / "reference" / f"{name}.schema.json").read_text(encoding="utf-8"))
    for name in ("rows", "record")
)
SHAPE = "ic8ih8oc8kh3ph1"
QUICK = ("--samples", "2", "--min-time", "0.001", "--max-time", "2")

# By command: its options, and the statuses that its rows are to show.
RUNS: Mapping[str, tuple[tuple[str, ...], set[str]]] = {
    "verify": (("-a", "direct,kn2row,gemm"), {"ok", "rejected"}),
    "bench": (("-a", "direct,gemm", "--peers", "onednn", *QUICK), {"ok", "rejected"}),
    "compile": (("-a", "direct", "-o", "FOLDER/layer.so"), {"ok"}),
    "tune": (("-a", "direct", "--trials", "1", "--searcher", "random", "--log-dir", "FOLDER"), {"ok"}),
    "show": (("-a", "direct,gemm"), {"ok", "rejected"}),
}


def validator(definition: str | None = None) -> Draft202012Validator:
    """Of any row, or of one that $defs has."""
    schema = {**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{definition}"}]} if definition else SCHEMA
    return Draft202012Validator(schema)


def test_the_schema_is_one_and_explains_every_key() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for definition in ("context", "result", "times"):
        for key, value in SCHEMA["$defs"][definition]["properties"].items():
            assert key == "kind" or value["description"].endswith("."), key
    described = SCHEMA["$defs"]["result"]["properties"].keys()
    for command in ("verify", "bench", "compile", "tune"):
        assert described >= set(SCHEMA["$defs"][command]["required"])


@pytest.fixture
def quick_finals(monkeypatch: pytest.MonkeyPatch) -> None:
    """tune without its long final."""
    config = MeasureConfig(samples=2, min_time=0.001, final_samples=2, final_min_time=0.001, final_max_time=1.0)
    monkeypatch.setattr(tune, "LocalTrialRunner", functools.partial(LocalTrialRunner, config=config))


@pytest.mark.usefixtures("quick_finals")
@pytest.mark.parametrize("command", RUNS)
def test_real_rows_follow_it(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, statuses = RUNS[command]
    given = [option.replace("FOLDER", str(tmp_path)) for option in options]
    cli.main([command, SHAPE, *given, "--json", "--jobs", "1"])
    context, *rows = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    validator("context").validate(context)
    assert not context.keys() - SCHEMA["$defs"]["context"]["properties"].keys()
    assert {row["status"] for row in rows} == statuses
    for row in rows:
        validator().validate(row)
        if command in SCHEMA["$defs"]:
            validator(command).validate(row)
        elif row["status"] == "ok":
            assert row["workspace_bytes"] == 0
        new = row.keys() - SCHEMA["$defs"]["result"]["properties"].keys()
        assert not new, f"describe {', '.join(new)} in docs/reference/rows.schema.json"
    if command == "tune":
        check_records(*tmp_path.rglob("*.jsonl"))


def check_records(*logs: Path) -> None:
    assert logs
    for log in logs:
        for line in log.read_text(encoding="utf-8").splitlines():
            Draft202012Validator(RECORD).validate(json.loads(line))


def test_records_of_shipped_logs_follow_theirs() -> None:
    Draft202012Validator.check_schema(RECORD)
    check_records(*(ROOT / "tuning_logs").rglob("*.jsonl"))


def test_it_refuses_what_is_no_row() -> None:
    row: dict[str, Any] = {"kind": "result", "status": "fine"}
    assert not validator().is_valid(row)
    assert not validator().is_valid({"kind": "other"})

"""Writes tables of the JSON schemas into pages.

A line `<!-- schema: FILE NAME -->` becomes the keys of $defs/NAME in reference/FILE.schema.json.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent.parent / "reference"
_PLACE = re.compile(r"^<!-- schema: (\w+) (\w+) -->$", re.MULTILINE)
_COMMANDS = ("verify", "bench", "compile", "tune")


def _table(match: re.Match[str]) -> str:
    file, name = match.groups()
    schema = json.loads((_FOLDER / f"{file}.schema.json").read_text(encoding="utf-8"))
    definition = schema["$defs"][name]
    rows = ["| key | type | in | meaning |", "|---|---|---|---|"]
    for key, value in definition["properties"].items():
        where = _where(schema, key) if name == "result" else ""
        rows.append(f"| `{key}` | {_type(value)} | {where} | {value.get('description', '')} |")
    if name != "result":
        rows = [re.sub(r"\|[^|]*\|([^|]*\|)$", r"|\1", row) for row in rows]
    return "\n".join(rows)


def _where(schema: dict[str, Any], key: str) -> str:
    if key in schema["$defs"]["result"]["required"]:
        return "all"
    return ", ".join(command for command in _COMMANDS if key in schema["$defs"][command]["required"])


def _type(value: dict[str, Any]) -> str:
    if "anyOf" in value:
        return " or ".join(map(_type, value["anyOf"]))
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return ", ".join(f"`{json.dumps(each)}`" for each in value["enum"])
    kinds = value["type"]
    return " or ".join([kinds] if isinstance(kinds, str) else kinds)


def _write_tables(app: Any, docname: str, source: list[str]) -> None:
    source[0] = _PLACE.sub(_table, source[0])


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", _write_tables)
    return {"parallel_read_safe": True}

"""Fits docstrings of plain text to autodoc, which reads reStructuredText."""

from __future__ import annotations

import re
from typing import Any


def _as_markup(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Makes `code` of docstrings code, and keeps * and _ as they are."""
    for number, line in enumerate(lines):
        parts = re.split(r"(`[^`]+`)", line)
        lines[number] = "".join(
            f"``{part[1:-1]}``" if part.startswith("`") and len(part) > 2 else re.sub(r"([*|])", r"\\\1", part)
            for part in parts
        )


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _as_markup)
    return {"parallel_read_safe": True}

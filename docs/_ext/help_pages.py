"""Writes the help of the command and of the scripts into pages.

A line `<!-- help: NAME -->` of a page becomes what parsers.NAME() knows: one section for each subcommand, with the text
that `--help` prints. sphinx-argparse-cli and sphinx-argparse change that text: they upper-case metavars and add
"default: None".
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

import parsers

_PLACE = re.compile(r"^<!-- help: (\w+) -->$", re.MULTILINE)


def subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of a parser's subcommands, in their order."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _sections(parser: argparse.ArgumentParser, level: int) -> str:
    text = f"{'#' * level} {parser.prog}\n\n```text\n{parser.format_help()}```\n\n"
    return text + "".join(_sections(each, level + 1) for each in subcommands(parser))


def _write_help(app: Any, docname: str, source: list[str]) -> None:
    with mock.patch.dict(os.environ, {"COLUMNS": "100"}):
        source[0] = _PLACE.sub(lambda match: _sections(getattr(parsers, match[1])(), 2), source[0])


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", _write_help)
    return {"parallel_read_safe": True}

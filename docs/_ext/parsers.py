"""The argument parsers of the command and of the scripts, for the reference and for the tests of shown commands.

The parsers are made inside functions that parse at once. Here parse_args is replaced by one that hands its parser out.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from tvmconv.cli import arguments
from tvmconv.cli.scripts import arguments as scripts


class _Found(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def _hand_out(parser: argparse.ArgumentParser, *arguments: Any, **more: Any) -> None:
    raise _Found(parser)


def _parser_of(parse: Callable[[Sequence[str]], argparse.Namespace]) -> argparse.ArgumentParser:
    # The default of --jobs is the number of CPUs of the machine: pages show one fixed number.
    with (
        mock.patch.object(os, "sched_getaffinity", return_value={0, 1}),
        mock.patch.object(argparse.ArgumentParser, "parse_args", _hand_out),
    ):
        try:
            parse([])
        except _Found as found:
            return found.parser
    raise AssertionError(f"{parse} parsed nothing")


def command() -> argparse.ArgumentParser:
    """The parser of `tvmconv`."""
    return _parser_of(arguments.parse)


def indirect_vs_im2row() -> argparse.ArgumentParser:
    """The parser of scripts/indirect_vs_im2row."""
    return _parser_of(scripts.parse_claims)


def thread_scaling() -> argparse.ArgumentParser:
    """The parser of scripts/thread_scaling."""
    return _parser_of(scripts.parse_scaling)


def compare_searchers() -> argparse.ArgumentParser:
    """The parser of scripts/compare_searchers."""
    return _parser_of(scripts.parse_searchers)

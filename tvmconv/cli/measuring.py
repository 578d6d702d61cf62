"""The options that control how long to measure."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tvmconv.cli import values
from tvmconv.cli.values import argument_type

if TYPE_CHECKING:
    from tvmconv.measure.interleaved import Rules

_NAMES = ("samples", "min_time", "max_time")


def add_samples(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--samples",
        type=argument_type(values.positive),
        metavar="N",
        help="rounds of each contestant (default: 11)",
    )


def add_max_time(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-time", type=argument_type(values.seconds), metavar="S", help="seconds of a layer (default: 30)"
    )


def rules_of(options: argparse.Namespace, *, cold: bool = False) -> Rules:
    """The rules with what was given; what a command does not ask for, or was not told, is measure's default."""
    from tvmconv.measure.interleaved import Rules  # NumPy comes with it: too much for --help

    given = {name: getattr(options, name, None) for name in _NAMES}
    return Rules(cold=cold, **{name: value for name, value in given.items() if value is not None})

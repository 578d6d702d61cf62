"""argparse types: from an option's text to its value."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from tvmconv.algorithms import ALGORITHMS, algorithm
from tvmconv.database.heuristic import AUTO
from tvmconv.database.tuned import HAND, TUNED
from tvmconv.support.text import shortened, unknown
from tvmconv.support.whole_number import whole_number
from tvmconv.target.cpu_list import cpu_list

_MOST_SECONDS = 10**6  # twelve days: clocks and sleeping functions take much more, but not any number

_T = TypeVar("_T")


class Algorithms(NamedTuple):
    """The value of -a. Those that were named have to run at least once, those that `all` brings need not."""

    names: tuple[str, ...]
    named: bool

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if self.named and name != AUTO)

    def unnamed(self, verbose: int) -> tuple[str, ...]:
        """The algorithms that only `all` selects; their rejections are not reported unless asked for."""
        return tuple(name for name in self.names if not (self.named or verbose or name == AUTO))


ALL = Algorithms(("all",), named=False)


def argument_type(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """`parse` for argparse, which would replace a ValueError's sentence by one of its own."""

    def parse_argument(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).replace("%", "%%")) from None

    return parse_argument


def port(text: str) -> int:
    try:
        return whole_number(text, most=65535)
    except ValueError:
        raise ValueError(f"{shortened(text)!r} is not a port, or 0 for any that is free") from None


def all_algorithms(layout: str | None = None) -> Algorithms:
    """The algorithms of `-a all`: those of one layout, nhwc by default."""
    return Algorithms(tuple(known.name for known in ALGORITHMS if known.layout == (layout or "nhwc")), named=False)


def algorithms(text: str) -> Algorithms:
    if text == "all":
        return ALL
    names = tuple(dict.fromkeys(filter(None, text.split(","))))
    if not names:
        raise ValueError("name at least one algorithm, or all, or auto")
    for name in names:
        if name == "all":
            raise ValueError("all stands for itself: name it alone")
        if name != AUTO:
            algorithm(name)
    return Algorithms(names, named=True)


def schedules(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, text.split(","))))
    for name in names:
        if name not in (HAND, TUNED, AUTO):
            raise ValueError(unknown("schedule", name, (HAND, TUNED, AUTO)))
    if not names or (AUTO in names and len(names) > 1):
        raise ValueError("name hand, tuned, both, or auto alone")
    return names


def positive(text: str) -> int:
    return whole_number(text, least=1)


def seed(text: str) -> int:
    return whole_number(text, most=2**63 - 1)


def seconds(text: str) -> float:
    # float also takes 1_000, blanks and digits of other scripts.
    seconds = float(text) if re.fullmatch(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) else 0.0
    if not 0 < seconds <= _MOST_SECONDS:
        raise ValueError(f"{shortened(text)!r} is not a number of seconds above 0, and {_MOST_SECONDS} at most")
    return seconds


def bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,15})([KMG]?)", text.upper(), re.ASCII)
    if not match:
        raise ValueError(f"{shortened(text)!r} is not a number of bytes such as 0, 4096, 64K, 2M or 1G")
    return int(match[1]) << 10 * " KMG".index(match[2] or " ")


def cpus(text: str) -> tuple[int, ...] | tuple[str, ...]:
    """A list of CPUs, or a device's clusters by name, as in big+mid."""
    if re.fullmatch(r"[a-z]+(\+[a-z]+)*", text):
        return tuple(dict.fromkeys(text.split("+")))
    return cpu_list(text)


def regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None

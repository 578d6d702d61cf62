"""What an option's text stands for, for argparse."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def argument_type(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """`parse` for argparse, which would replace a ValueError's sentence by one of its own."""

    def parse_argument(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).replace("%", "%%")) from None

    return parse_argument


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError(f"{text!r} is not a port, or 0 for any that is free")
    return int(text)

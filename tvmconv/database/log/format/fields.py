"""The valid values of the fields of a tuning record."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from tvmconv.target.tile import Tile

STATUSES = ("ok", "wrong", "error")
STAGES = ("trial", "final")
TIMES = ("median", "p20", "p80", "n")
_TIMES = frozenset(TIMES)

# Bounds that no measurement reaches, so that quotients of times are finite, too.
LEAST, MOST = 1e-30, 1e30
COUNTS = 2**31  # sizes and counts are below this
_LONGEST_TILE = 100  # characters


class Kind(NamedTuple):
    """words: what a field holds, behind "a record has as its …"; holds: whether a value is that, where a TypeError says
    no, too."""

    words: str
    holds: Callable[[Any], bool]


class Fields:
    """The kinds of an object's fields, by name."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = [(name, kind.words, kind.holds) for name, kind in kinds.items()]
        self._values: Callable[[object], tuple[Any, ...]] = attrgetter(*kinds)

    def check(self, part: object) -> None:
        """Raises ValueError, with one sentence, for the first field of `part` that is not of its kind."""
        try:
            for (name, words, holds), value in zip(self._kinds, self._values(part), strict=True):  # noqa: B007
                if not holds(value):
                    break
            else:
                return
        except TypeError:
            pass
        raise ValueError(f"{name} is {reprlib.repr(value)}; a record has as its {name} {words}")


is_name = str.isprintable  # lone surrogates are not


def is_text(value: Any) -> bool:
    return type(value) is str and (value.isprintable() or not any("\ud800" <= letter <= "\udfff" for letter in value))


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and LEAST < value < MOST


def _is_plain(value: Any) -> bool:
    is_number = type(value) in (int, float) and -MOST < value < MOST
    return value is None or type(value) is bool or is_number or (type(value) is str and is_name(value))


def is_seconds(value: Any) -> bool:
    if type(value) is not dict or value.keys() != _TIMES or type(value["n"]) is not int:
        return False
    return all(map(_is_positive, value.values()))


@lru_cache(maxsize=1 << 12)
def _is_small(tile: str) -> bool:
    """Whether all sizes of a tile are such. Raises ValueError for text that is no tile at all."""
    return all(size < COUNTS for size in Tile.parse(tile).decided.values())


def is_tile(value: Any) -> bool:
    return type(value) is str and len(value) <= _LONGEST_TILE and _is_small(value)


def _whole(least: int, end: int | None = COUNTS) -> Kind:
    below = "" if end is None else f", below {end}"
    words = f"a whole number of at least {least}{below}"
    return Kind(words, lambda value: type(value) is int and least <= value and (end is None or value < end))


def _one_of(names: tuple[str, ...]) -> Kind:
    return Kind(f"one of {', '.join(names)}", frozenset(names).__contains__)


NAME = Kind("printable text", is_name)
VERSION = Kind("a whole number", lambda value: type(value) is int and abs(value) < COUNTS)

KEY = Fields(
    {
        **dict.fromkeys(("workload", "layout", "dtype", "epilogue", "algorithm", "target", "mcpu"), NAME),
        "features": Kind("a list of names", lambda value: type(value) is tuple and all(map(is_name, value))),
        "threads": _whole(1),
    }
)

VERSIONS = Fields(
    {
        **dict.fromkeys(("schema", "space"), VERSION),
        **dict.fromkeys(("tvm", "llvm", "tvmconv"), NAME),
    }
)

RECORD = Fields(
    {
        "tile": Kind("block sizes such as 6x64_kr4_mc0_kc0_pf4_st0, each below 2**31", is_tile),
        "status": _one_of(STATUSES),
        "reason": Kind("text, or null", lambda value: value is None or is_text(value)),
        "seconds": Kind(f"{', '.join(TIMES)}, all above 0, or null", lambda value: value is None or is_seconds(value)),
        "gflops": Kind("a number above 0, or null", lambda value: value is None or _is_positive(value)),
        "stage": _one_of(STAGES),
        "trial": _whole(0),
        "seed": _whole(0, None),
        "default": Kind("true or false", lambda value: type(value) is bool),
        "searcher": NAME,
        "device": NAME,
        "cpu": NAME,
        "time": NAME,
    }
)

PROTOCOL = Kind(
    "names, each with text, a number, true, false or null",
    lambda value: isinstance(value, dict) and all(map(is_name, value)) and all(map(_is_plain, value.values())),
)

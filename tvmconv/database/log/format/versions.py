"""The versions that the meaning of a record depends on: of the line, of the tile, of the compiler."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version

from tvmconv.database.log.format.fields import VERSIONS
from tvmconv.version import __version__

SCHEMA = 1  # of a line of a tuning log
SPACE = 1  # to be raised when sizes of a tile come to mean something else: then what was measured ranks them no more
LLVM = "22"  # of the one wheel of TVM that pyproject.toml allows; TVM could say it, but takes seconds to import


@dataclass(frozen=True)
class Versions:
    """The versions that a record was made with. tvmconv's own is for people: `space` says what changed the code."""

    schema: int
    space: int
    tvm: str
    llvm: str
    tvmconv: str

    def __post_init__(self) -> None:
        VERSIONS.check(self)

    @classmethod
    @cache
    def here(cls) -> Versions:
        """The versions of this installation."""
        return cls(SCHEMA, SPACE, version("apache-tvm"), LLVM, __version__)

    def foreign_to(self, other: Versions) -> str | None:
        """Why what these versions measured says nothing about code made with `other`; None if it does."""
        return _foreign(self, other)


@lru_cache(maxsize=64)
def _foreign(one: Versions, other: Versions) -> str | None:
    names = {"schema": "schema", "space": "tile space", "tvm": "TVM", "llvm": "LLVM"}
    mine, yours = vars(one), vars(other)
    differing = [name for name in names if mine[name] != yours[name]]
    if not differing:
        return None
    made = ", ".join(f"{names[name]} {mine[name]}" for name in differing)
    here = ", ".join(f"{names[name]} {yours[name]}" for name in differing)
    return f"it was made with {made}; here is {here}"

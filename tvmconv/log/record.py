"""A tuning record: what one tile was worth for one key, with all that is needed to judge and to repeat it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from functools import cache
from typing import Any, Literal

from tvmconv import jsonlines
from tvmconv import record as results
from tvmconv.device import EMULATED
from tvmconv.log.key import Key
from tvmconv.log.versions import Versions
from tvmconv.tile import Tile

STATUSES = ("ok", "wrong", "error")
STAGES = ("trial", "final")
TIMES = ("median", "p20", "p80", "n")
START = b'{"key": {"workload": "'  # of every line, by which half of one is told from a file of something else

Status = Literal["ok", "wrong", "error"]
Stage = Literal["trial", "final"]


@cache
def _cpu() -> str:
    return str(results.here()["cpu"])


def now() -> str:
    """The time, as records have it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Record:
    """One measurement. Raises ValueError, with one sentence, for one that contradicts itself.

    tile: as str(Tile) has it; status: "wrong" where the result was, "error" where there was none; reason: why, or None;
    seconds: median, p20, p80 of one call and their number n, None unless the status is ok; stage: "final" for those
    that were measured again at the end, interleaved with the default; trial: which of its key, from 0, and of a final
    which trial it repeats; seed: of the search; default: whether it is the hand-written schedule's tile; searcher: who
    proposed it; protocol: how it was measured; cpu: the processor as Linux names it; time: ISO 8601, the same for all
    finals of one interleaved run.
    """

    key: Key
    tile: str
    status: Status
    reason: str | None
    seconds: Mapping[str, float] | None
    gflops: float | None
    stage: Stage
    trial: int
    seed: int
    default: bool
    searcher: str
    protocol: Mapping[str, Any] = field(default_factory=dict)
    device: str = "local"
    versions: Versions = field(default_factory=Versions.here)
    cpu: str = field(default_factory=_cpu)
    time: str = field(default_factory=now)

    def __post_init__(self) -> None:
        if self.status not in STATUSES or self.stage not in STAGES:
            raise ValueError(f"a record's status is one of {STATUSES}, its stage one of {STAGES}")
        Tile.parse(self.tile)
        if (self.seconds is not None, self.gflops is not None) != (self.status == "ok",) * 2:
            raise ValueError(f"a record of status {self.status} has {'its' if self.status == 'ok' else 'no'} time")
        times = [*(self.seconds or {}).values(), *([] if self.gflops is None else [self.gflops])]
        if self.seconds is not None and (set(self.seconds) != set(TIMES) or not all(map(_is_positive, times))):
            raise ValueError(f"a record's seconds are {', '.join(TIMES)}, all above 0")

    @property
    def median(self) -> float:
        """Seconds of one call; infinite where there is no time."""
        return self.seconds["median"] if self.seconds else math.inf

    @property
    def method(self) -> str:
        """How it was measured, in one line: trials of different methods say nothing of each other."""
        return jsonlines.line(dict(sorted(self.protocol.items()))).rstrip()

    @property
    def foreign(self) -> str | None:
        """Why its time says nothing about kernels that are made here; None if it does."""
        if self.device == EMULATED:
            return "it was measured on an emulated device, whose times mean nothing"
        return self.versions.foreign_to(Versions.here())

    def line(self) -> bytes:
        """The record as a line of a log."""
        return jsonlines.line(asdict(self)).encode()


@dataclass(frozen=True)
class Foreign:
    """A line of another schema, kept as it is."""

    text: bytes
    schema: int

    def line(self) -> bytes:
        return self.text + b"\n"


def parse(text: bytes) -> Record | Foreign | None:
    """What a line of a log holds; None for a line that is no record."""
    content = jsonlines.parse(text)
    if content is None or not text.startswith(START):
        return None
    try:
        versions = content["versions"]
        if type(versions["schema"]) is int and versions["schema"] != Versions.here().schema:
            return Foreign(text, versions["schema"])
        key = {**content["key"], "features": tuple(content["key"]["features"])}
        record = Record(**{**content, "key": Key(**key), "versions": Versions(**versions)})
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return record if _well_typed(record) else None


def _is_positive(value: object) -> bool:
    return type(value) in (int, float) and 0 < float(value) < math.inf  # type: ignore[arg-type]


_KINDS: Mapping[str, Any] = {
    "str": str,
    "int": int,
    "bool": bool,
    "str | None": (str, type(None)),
    "tuple[str, ...]": tuple,
    "Mapping[str, Any]": dict,
}


def _well_typed(value: Record | Key | Versions) -> bool:
    """Whether the fields that have one of the simple types do."""
    for item in fields(value):
        own, kind = getattr(value, item.name), _KINDS.get(str(item.type))
        if isinstance(own, Key | Versions) and not _well_typed(own):
            return False
        if kind and (not isinstance(own, kind) or (kind is int and isinstance(own, bool))):
            return False
    return True

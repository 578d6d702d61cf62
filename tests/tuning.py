"""Tuning records for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tvmconv.compiler.builder import Request
from tvmconv.database.log import Key, Log, Record
from tvmconv.workload.shape import ConvShape

WORKLOAD = "mb1ic8ih6oc20oh6kh3ph1"
KEY = Key.of(Request(ConvShape.parse(WORKLOAD), "indirect"), threads=1)


def record(tile: str = "2x16", milliseconds: float | None = 1.0, key: Key = KEY, **changes: Any) -> Record:
    """A record with a time, or, without milliseconds, one of status wrong."""
    if milliseconds is None:
        values: dict[str, Any] = {"status": "wrong", "reason": "3 of 720 outputs are wrong", "seconds": None}
    else:
        seconds = {name: milliseconds / 1e3 for name in ("median", "p20", "p80")} | {"n": 3}
        values = {"status": "ok", "reason": None, "seconds": seconds, "gflops": 1 / milliseconds}
    common = {"stage": "trial", "trial": 0, "seed": 0, "default": False, "searcher": "random", "gflops": None}
    return Record(**{"key": key, "tile": tile, **common, **values, **changes})


def key(**changes: Any) -> Key:
    return replace(KEY, **changes)


def written(path: Path, *records: Record) -> Path:
    for item in records:
        Log(path).append(item)
    return path

"""Rows of bench with made-up times."""

from __future__ import annotations

from typing import Any

from tvmconv.database.rows import Row


def timed(name: str, count: int, median: float, workspace: int | None = 0, **identity: Any) -> Row:
    seconds = {"median": median, "p20": median, "p80": median, "n": 11}
    row = {"source": "net", "name": name, "workload": f"ic{count}", "count": count, "algorithm": None, "peer": None}
    figures = {
        "rounds": {"n": 11, "repeated": 0, "slow": 0},
        "seconds": seconds,
        "gflops": 100.0,
        "peak_fraction": 0.8,
        "workspace_bytes": workspace,
    }
    return {**row, "status": "ok", "reason": None, **figures, **identity}

"""What tuning brought, as a table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from tvmconv.record import Row
from tvmconv.report import FAINT, GOOD, layer_title, milliseconds, new_table, remarks


def tune_table(rows: Sequence[Row]) -> RenderableType:
    """Each layer: hand and tuned side by side, both from the final; at the end the geometric mean of the gains."""
    table = new_table("layer", "algorithm", "tile")
    for column in ("hand ms", "tuned ms", "gain", "GFLOP/s", "trials"):
        table.add_column(column, justify="right")
    done = [row for row in rows if row["status"] == "ok"]
    for row in done:
        table.add_row(layer_title(row), row["algorithm"], row["tile"], *_figures(row))
    gains = [row["gain"] for row in done if row["gain"]]
    mean = math.exp(sum(map(math.log, gains)) / len(gains)) if gains else 1.0
    summary = f"tuned over hand, geometric mean of {len(gains)}: {mean:.3f}" if gains else "nothing was tuned"
    stopped = [Text(f"{row['workload']}: {row['reason']}", FAINT) for row in rows if row["status"] == "skipped"]
    return Group(table, *stopped, remarks([row for row in rows if row["status"] != "skipped"]), summary)


def _figures(row: Row) -> tuple[RenderableType, ...]:
    trials = row["trials"]
    failed = f", {trials['failed']} failed" if trials["failed"] else ""
    hand = milliseconds(row["default"]["median"]) if row["default"] else "–"
    if row["by_hand"] != row["algorithm"]:
        hand = f"{row['by_hand']} {hand}"
    gain = Text(f"{row['gain']:.3f}", GOOD if row["gain"] > 1 else "") if row["gain"] else "–"
    return hand, milliseconds(row["seconds"]["median"]), gain, f"{row['gflops']:.0f}", f"{trials['done']}{failed}"

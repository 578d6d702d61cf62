"""The table of tuning results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from tvmconv.database.rows import Row
from tvmconv.report.tables import FAINT, GOOD, layer_title, milliseconds, new_table, remarks


def tune_table(rows: Sequence[Row]) -> RenderableType:
    """Each layer: hand and tuned side by side, both from the final, or, where the search was stopped, what the log has;
    at the end the geometric mean of the gains."""
    table = new_table("layer", "algorithm", "tile")
    for column in ("hand ms", "tuned ms", "gain", "GFLOP/s", "trials"):
        table.add_column(column, justify="right")
    known = [row for row in rows if row["seconds"]]
    for row in known:
        table.add_row(layer_title(row), row["algorithm"], row["tile"], *_figures(row))
    stopped = [Text(f"{row['workload']}: {row['reason']}", FAINT) for row in rows if row["status"] == "skipped"]
    others = remarks([row for row in rows if row["status"] != "skipped"])
    return Group(*([table] if known else []), *stopped, others, mean_gain([row["gain"] for row in known]))


def mean_gain(gains: Sequence[float | None]) -> str:
    """One line for the gains of all layers, None being those that have none."""
    known = [gain for gain in gains if gain]
    if not known:
        return "nothing was tuned"
    mean = math.exp(sum(map(math.log, known)) / len(known))
    return f"tuned over hand, geometric mean of {len(known)}: {mean:.3f}"


def by_hand(row: Row, seconds: Mapping[str, float] | None) -> str:
    """The time of the kernel by hand, and its algorithm where that is not the row's."""
    time = milliseconds(seconds["median"]) if seconds else "–"
    return time if row["by_hand"] in (None, row["algorithm"]) else f"{row['by_hand']} {time}"


def gain(row: Row) -> Text:
    return Text(f"{row['gain']:.3f}", GOOD if row["gain"] > 1 else "") if row["gain"] else Text("–")


def _figures(row: Row) -> tuple[RenderableType, ...]:
    trials = row["trials"]
    failed = f", {trials['failed']} failed" if trials["failed"] else ""
    tuned, hand = milliseconds(row["seconds"]["median"]), by_hand(row, row["default"])
    return hand, tuned, gain(row), f"{row['gflops']:.0f}", f"{trials['done']}{failed}"

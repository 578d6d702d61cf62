"""Earlier results to choose by: the measured winner for each layer, out of a file that bench has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmconv import record
from tvmconv.record import Row
from tvmconv.shape import ConvShape


@dataclass(frozen=True)
class Results:
    """Our verified rows of a file that were measured in one setting on a CPU like this one, run by run."""

    path: Path
    runs: Sequence[Sequence[Row]]

    def ranking(self, shape: ConvShape, max_workspace: int | None = None) -> list[Row]:
        """The rows of a layer that need no more workspace (bytes), fastest first; none if it was not measured.

        All are of one run, since times are comparable only if taken side by side: of the run that compared most of
        them, the latest if several did.
        """
        most: list[Row] = []
        for run in self.runs:
            own = [row for row in run if row.get("workload") == str(shape)]
            fitting = [row for row in own if max_workspace is None or row["workspace_bytes"] <= max_workspace]
            most = fitting if len(fitting) >= len(most) else most
        return sorted(most, key=lambda row: float(row["seconds"]["median"]))


def read(path: Path, wanted: Mapping[str, Any]) -> Results:
    """The results in the file whose rows have the `wanted` values (of target, layout, device and threads).

    Raises ValueError, with one sentence, if there is no such file or nothing in it is of this machine and those
    values; record.BadFile for a file of something else.
    """
    if not path.is_file():
        raise ValueError(f"--results {path}: there is no such file; `tvmconv bench … --output {path}` makes one")
    rows = record.read(path)
    here = _ours(record.runs(rows, record.here()))
    runs = [[row for row in run if all(row.get(key) == value for key, value in wanted.items())] for run in here]
    if not any(runs):
        raise ValueError(f"--results {path}: {_why_nothing(rows, here, wanted)}")
    return Results(path, runs)


def _ours(runs: Sequence[Mapping[str, Row]]) -> list[list[Row]]:
    return [[row for row in run.values() if _is_measured(row)] for run in runs]


def _is_measured(row: Row) -> bool:
    """Whether it is a row of ours that was proved exact and has its time and its memory, as bench writes it."""
    has_figures = row.get("seconds") and row.get("workspace_bytes") is not None
    return bool(row.get("algorithm") and row.get("status") == "ok" and row.get("verified") and has_figures)


def _why_nothing(rows: Sequence[Row], here: Sequence[Sequence[Row]], wanted: Mapping[str, Any]) -> str:
    found = [row for run in here for row in run]
    if not any(map(_is_measured, rows)):
        return "it has no time of a verified kernel; `tvmconv bench … --output` writes such"
    if not found:
        cpus = dict.fromkeys(row.get("cpu") for row in rows if row["kind"] == "context")
        return f"it is not of a machine like this one ({record.here()['cpu']}), but of {', '.join(map(str, cpus))}"
    for key, value in wanted.items():
        others = dict.fromkeys(row.get(key) for row in found)
        if value not in others:
            return f"it has nothing of {key} {value}, only of {key} {', '.join(map(str, others))}"
    return "it has nothing of " + ", ".join(f"{key} {value}" for key, value in wanted.items()) + " together"

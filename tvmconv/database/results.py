"""Earlier results to choose by: each layer's measured winner in a file that bench has written."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmconv.database import rows as record
from tvmconv.database.rows import Row
from tvmconv.measure.comparable import is_fastest, time_of
from tvmconv.support.jsonlines import BadFile
from tvmconv.target.devices import LOCAL
from tvmconv.workload.shape import ConvShape

# What a measured row says in words.
_TEXTS = ("workload", "algorithm", "layout", "target", "device", "schedule", "tile")


@dataclass(frozen=True)
class Results:
    """Our verified rows of a file that were measured in one setting on a CPU like this one, run by run."""

    path: Path
    runs: Sequence[Sequence[Row]]

    def ranking(self, shape: ConvShape, max_workspace: int | None = None) -> list[Row]:
        """The rows of a layer that need no more workspace (bytes), fastest first; none if it was not measured.

        All are of one run, since times are comparable only if taken side by side: of the run that compared most of
        them, the latest if several did. Where the fastest is not known, since the cores offered others less, the rows
        are ranked by what their times would be at full speed.
        """
        most: list[Row] = []
        for run in self.runs:
            own = [row for row in run if row.get("workload") == str(shape)]
            fitting = [row for row in own if max_workspace is None or row["workspace_bytes"] <= max_workspace]
            most = fitting if len(fitting) >= len(most) else most
        is_known = _is_known(most)
        return sorted(most, key=lambda row: time_of(row).seconds if is_known else time_of(row).at_full_speed)

    def is_doubtful(self, shape: ConvShape, max_workspace: int | None = None) -> bool:
        """Whether the first of the ranking is a guess, since the rows were not measured alike."""
        return not _is_known(self.ranking(shape, max_workspace))


def read(path: Path, wanted: Mapping[str, Any]) -> Results:
    """The results in the file whose rows have the `wanted` values (of target, layout, device and threads).

    Raises ValueError, with one sentence, if there is no such file or nothing in it is of this machine and those
    values; BadFile for a file of something else, an empty one, and one with damaged rows.
    """
    if not path.exists():
        raise ValueError(f"--results {path}: there is no such file; `tvmconv bench … --output {path}` makes one")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or another special file"
        raise ValueError(f"--results {path} is {kind}; name a file that `tvmconv bench … --output` has written")
    rows = record.read(path)
    if not rows:
        raise BadFile(f"{path} has none of tvmconv's results; `tvmconv bench … --output {path}` writes them")
    for number, row in enumerate(rows, start=1):
        if _is_damaged(row):
            raise record.bad_line(path, number)
    # A row of a device names it, whatever machine the bench was started on.
    context = record.here() if wanted.get("device", LOCAL) == LOCAL else {"schema": record.SCHEMA}
    here = _ours(record.runs(rows, context))
    runs = [[row for row in run if all(row.get(key) == value for key, value in wanted.items())] for run in here]
    if not any(runs):
        raise ValueError(f"--results {path}: {_why_nothing(rows, here, wanted)}")
    return Results(path, runs)


def _is_known(rows: Sequence[Row]) -> bool:
    times = [time_of(row) for row in rows]
    return not times or is_fastest(min(times, key=lambda time: time.seconds), times)


def _ours(runs: Sequence[Mapping[str, Row]]) -> list[list[Row]]:
    return [[row for row in run.values() if _is_measured(row)] for run in runs]


def _is_measured(row: Row) -> bool:
    """Whether it is a row of ours that was proved exact, as bench writes it with its time, on what has a speed."""
    return bool(row.get("algorithm") and row.get("status") == "ok" and row.get("verified") and not row.get("emulated"))


def _is_damaged(row: Row) -> bool:
    """Whether a result that came out has not what bench writes into it, so that nothing can be chosen by it."""
    if row["kind"] == "result" and row.get("status") in record.SETTLED and "algorithm" not in row:
        return True
    if row["kind"] == "context" or not _is_measured(row):
        return False
    seconds: Any = row.get("seconds")
    median: Any = seconds.get("median") if isinstance(seconds, dict) else None
    threads: Any = row.get("threads")
    workspace: Any = row.get("workspace_bytes")
    has_figures = type(threads) is type(workspace) is int and workspace >= 0
    has_time = type(median) in (int, float) and 0 < median <= sys.float_info.max
    return not (has_figures and has_time and _has_rounds(row) and all(isinstance(row.get(key), str) for key in _TEXTS))


def _has_rounds(row: Row) -> bool:
    """Whether what the row says about its rounds makes sense; it may say nothing."""
    rounds: Any = row.get("rounds")
    if rounds is None:
        return True
    if not isinstance(rounds, dict):
        return False
    n, slow, offered = (rounds.get(key) for key in ("n", "slow", "offered"))
    is_share = offered is None or (type(offered) in (int, float) and 0 <= offered <= 1)
    return is_share and type(n) is type(slow) is int and 0 <= slow <= n and n > 0


def _why_nothing(rows: Sequence[Row], here: Sequence[Sequence[Row]], wanted: Mapping[str, Any]) -> str:
    found = [row for run in here for row in run]
    if not any(map(_is_measured, rows)):
        return "it has no time of a verified kernel; `tvmconv bench … --output` writes such"
    if not found:
        cpus = dict.fromkeys(str(row.get("cpu")) for row in rows if row["kind"] == "context")
        return f"it is not of a machine like this one ({record.here()['cpu']}), but of {', '.join(cpus)}"
    for key, value in wanted.items():
        others = dict.fromkeys(row.get(key) for row in found)
        if value not in others:
            return f"it has nothing of {key} {value}, only of {key} {', '.join(map(str, others))}"
    return "it has nothing of " + ", ".join(f"{key} {value}" for key, value in wanted.items()) + " together"

"""What tuning logs hold, as rows and as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from tvmconv.log import SHIPPED, Comparison, Foreign, Key, Record, Sourced, decide
from tvmconv.log.check import unusable
from tvmconv.log.lookup import nearest_cpu
from tvmconv.record import Row
from tvmconv.report import BAD, FAINT, GOOD, milliseconds, new_table

Entries = Mapping[Path, Sequence[Record | Foreign | None]]


def sourced(entries: Entries) -> list[Sourced]:
    """All records of this schema, with their files; what is shipped ranks behind the rest."""
    return [
        Sourced(entry, path, rank=int(SHIPPED in path.resolve().parents))
        for path, own in entries.items()
        for entry in own
        if isinstance(entry, Record)
    ]


def by_key(found: Sequence[Sourced]) -> dict[Key, list[Sourced]]:
    """The records of each key, in order of their first."""
    groups: dict[Key, list[Sourced]] = {}
    for item in found:
        groups.setdefault(item.record.key, []).append(item)
    return groups


def record_row(item: Sourced) -> Row:
    """A record as a row, its key's fields among the others."""
    fields = asdict(item.record)
    return {"kind": "result", "file": str(item.path), **fields.pop("key"), **fields}


def best_rows(found: Sequence[Sourced]) -> Iterator[Row]:
    """For each key what counts, and `gain`: the default's time over the best one's, where both were compared."""
    for key, own in by_key(found).items():
        trials = {item.record.line() for item in own if item.record.stage == "trial"}  # once, if files repeat it
        row = {"kind": "result", **asdict(key), "trials": len(trials)}
        usable = [item for item in own if not unusable(item.record)]
        comparison = decide(usable, nearest_cpu(key)) if usable else decide(own, cpu=None)
        yield {**row, **(_verdict(comparison) if comparison else {"status": "error", "reason": "nothing has a time"})}


def _verdict(comparison: Comparison) -> Row:
    best, default = comparison.best.record, comparison.default
    reason = unusable(best)
    return {
        **{"status": "rejected" if reason else "ok", "reason": reason, "file": str(comparison.best.path)},
        **{"tile": best.tile, "schedule": "hand" if best.default else "tuned", "stage": best.stage, "cpu": best.cpu},
        **{"time": best.time, "seconds": dict(best.seconds or {}), "gflops": best.gflops},
        "default_seconds": dict(default.seconds or {}) if default else None,
        "gain": default.median / best.median if default else None,
        "withheld": comparison.withheld,
    }


def check_rows(entries: Entries) -> Iterator[Row]:
    """For each file its lines that are no records, and its keys with whether they can be used here, or why not."""
    for path, own in entries.items():
        row = {"kind": "result", "file": str(path), "key": None, "records": 1}
        for number, entry in enumerate(own, start=1):
            if entry is None:
                yield {**row, "status": "error", "reason": f"line {number} is not a tuning record"}
        foreign = Counter(entry.schema for entry in own if isinstance(entry, Foreign))
        for schema, count in foreign.items():
            yield {**row, "records": count, "status": "rejected", "reason": f"they are of schema {schema}"}
        verdicts = Counter((entry.key, unusable(entry)) for entry in own if isinstance(entry, Record))
        for (key, reason), count in verdicts.items():
            status = "rejected" if reason else "ok"
            yield {**row, "key": str(key), "records": count, "status": status, "reason": reason}


def show_table(rows: Sequence[Row]) -> RenderableType:
    """A line for each record."""
    table = new_table("layer", "algorithm", "target", "threads", "stage", "trial", "by", "tile", "ms", "GFLOP/s", "")
    for row in rows:
        ok = row["status"] == "ok"
        table.add_row(
            *(row["workload"], row["algorithm"], row["target"], str(row["threads"]), row["stage"], str(row["trial"])),
            *(row["searcher"], row["tile"], milliseconds(row["seconds"]["median"]) if ok else "–"),
            *(f"{row['gflops']:.1f}" if ok else "–", Text("" if ok else f"{row['status']}: {row['reason']}", BAD)),
        )
    return table


def best_table(rows: Sequence[Row]) -> RenderableType:
    """A line for each key."""
    table = new_table("layer", "algorithm", "target", "threads", "trials", "tile", "ms", "by hand, ms", "gain", "")
    for row in rows:
        own = [row["workload"], row["algorithm"], row["target"], str(row["threads"]), str(row["trials"])]
        times: list[Any] = ["–"] * 4
        if "gain" in row:
            hand = milliseconds(row["default_seconds"]["median"]) if row["default_seconds"] else "–"
            gain = Text("–") if row["gain"] is None else Text(f"{row['gain']:.3f}", GOOD if row["gain"] > 1 else "")
            times = [row["tile"], milliseconds(row["seconds"]["median"]), hand, gain]
        remark = row["reason"] or row["withheld"] or ("" if row["stage"] == "final" else "not re-measured at the end")
        table.add_row(*own, *times, Text(remark, BAD if row["status"] == "error" else FAINT))
    return table


def check_table(rows: Sequence[Row]) -> RenderableType:
    """A line for each thing that check_rows found."""
    table = new_table("file", "records", "of", "")
    for row in rows:
        verdict = Text("usable", "green") if row["status"] == "ok" else Text(row["reason"], BAD)
        table.add_row(row["file"], str(row["records"]), row["key"] or "–", verdict)
    return table

"""Contents of tuning logs, as rows and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tvmconv.database.log import Damaged, Foreign, Key, Log, Record, Sourced
from tvmconv.database.log.check import unusable
from tvmconv.database.rows import Row
from tvmconv.report.tables import BAD, FAINT, milliseconds, new_table
from tvmconv.report.tune import by_hand, gain, mean_gain

_SHOWN = ("layer", "algorithm", "target", "threads", "stage", "trial", "by", "tile", "ms", "GFLOP/s", "")


def record_row(item: Sourced) -> Row:
    """A record as a row, its key's fields among the others."""
    fields = item.record.fields()
    return {"kind": "result", "file": str(item.path), **fields.pop("key"), **fields}


def check_rows(log: Log) -> Iterator[Row]:
    """For a file its lines that are no records, and its keys with whether they can be used here, or why not."""
    row: Row = {"kind": "result", "file": str(log.path), "key": None, "records": 1}
    foreign: Counter[int] = Counter()
    verdicts: Counter[tuple[Key, str | None]] = Counter()
    for line in log.lines():
        if isinstance(line.entry, Damaged):
            reason = f"line {line.number} is not a tuning record: {line.entry.reason}"
            yield {**row, "status": "error", "reason": reason}
        elif isinstance(line.entry, Foreign):
            foreign[line.entry.schema] += 1
        else:
            verdicts[line.entry.key, unusable(line.entry)] += 1
    for schema, count in foreign.items():
        yield {**row, "records": count, "status": "rejected", "reason": f"they are of schema {schema}"}
    for (key, why_not), count in verdicts.items():
        status = "rejected" if why_not else "ok"
        yield {**row, "key": str(key), "records": count, "status": status, "reason": why_not}


def show_table(records: Iterable[Record]) -> RenderableType:
    """A line for each record."""
    table = new_table(*_SHOWN)
    for record in records:
        *cells, remark = _cells(record)
        table.add_row(*cells, Text(remark, BAD))
    return table


def show_lines(records: Sequence[Record]) -> Iterator[str]:
    """The same as lines of text, for so many records that a table would take minutes."""
    widths = [*map(len, _SHOWN)]
    for record in records:
        widths = [max(width, len(cell)) for width, cell in zip(widths, _cells(record), strict=True)]
    for cells in chain([_SHOWN], map(_cells, records)):
        yield "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cells(record: Record) -> tuple[str, ...]:
    key = record.key
    times = (milliseconds(record.median), f"{record.gflops:.1f}") if record.gflops else ("–", "–")
    remark = "" if record.status == "ok" else f"{record.status}: {_printable(record.reason)}"
    made = (key.workload, key.algorithm, key.target, str(key.threads), record.stage, str(record.trial))
    return *made, record.searcher, record.tile, *times, remark


def _printable(text: str | None) -> str:
    """The text on one line, without control sequences of a terminal."""
    return "no reason" if text is None else text if text.isprintable() else repr(text)[1:-1]


def best_table(rows: Sequence[Row]) -> RenderableType:
    """A line for each key; the algorithm that auto takes for a layer is marked."""
    table = new_table("layer", "algorithm", "target", "threads", "trials", "tile", "ms", "by hand, ms", "gain", "")
    for row in rows:
        mark = f"{row['algorithm']} *" if _is_taken(row) else row["algorithm"]
        own = [row["workload"], mark, row["target"], str(row["threads"]), str(row["trials"])]
        times: list[Any] = ["–"] * 4
        if "gain" in row:
            hand = by_hand(row, row["default_seconds"])
            times = [row["tile"], milliseconds(row["seconds"]["median"]), hand, gain(row)]
        remark = row["reason"] or row["withheld"] or ("" if row["stage"] == "final" else "not re-measured at the end")
        table.add_row(*own, *times, Text(remark, BAD if row["status"] == "error" else FAINT))
    taken = [row for row in rows if _is_taken(row)]
    legend = ["* what auto takes for the layer by these records"] if taken else []
    return Group(table, *legend, mean_gain([row["gain"] for row in taken]))


def _is_taken(row: Row) -> bool:
    return "gain" in row and row["auto"] == row["algorithm"]


def check_table(rows: Sequence[Row]) -> RenderableType:
    """A line for each thing that check_rows found."""
    table = new_table("file", "records", "of", "")
    for row in rows:
        verdict = Text("usable", "green") if row["status"] == "ok" else Text(row["reason"], BAD)
        table.add_row(row["file"], str(row["records"]), row["key"] or "–", verdict)
    return table

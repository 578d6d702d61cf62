"""Rows as tables for people: layers down, algorithms and peers across."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tvmconv.record import Row
from tvmconv.shape import ConvShape

# Where nobody looks at the width, nothing is folded or cut.
_UNLIMITED = 10_000

_BAD, _GOOD, _FAINT = "bold red", "bold green", "dim"


def show(text: RenderableType) -> None:
    """Print to stdout: in colour and folded to the terminal's width if it is one, else plain and as wide as needed."""
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else _UNLIMITED, highlight=False, emoji=False, markup=False)
    console.print(text, soft_wrap=isinstance(text, str))


def listing(items: Sequence[Row]) -> RenderableType:
    """Items that all have the same keys, one a line; numbers to the right."""
    table = _table()
    for key, value in items[0].items():
        table.add_column(key, justify="right" if isinstance(value, (int, float)) else "left")
    for item in items:
        table.add_row(*("–" if value is None else str(value) for value in item.values()))
    return table


def verify_table(rows: Sequence[Row]) -> RenderableType:
    """Each layer by each algorithm: exact or not."""
    words = {"ok": Text("exact", "green"), "rejected": Text("–", _FAINT)}
    table = _by_layer(rows, lambda row: words.get(row["status"]) or Text(row["status"].upper(), _BAD))
    count = {status: sum(row["status"] == status for row in rows) for status in ("ok", "rejected", "mismatch", "error")}
    summary = f"{count['ok']} exact, {count['mismatch']} wrong, {count['error']} failed, {count['rejected']} rejected"
    return Group(table, _remarks(rows), summary)


def workspace_table(rows: Sequence[Row]) -> RenderableType:
    """Each layer by each algorithm: bytes of extra memory."""
    table = _by_layer(rows, lambda row: _bytes(row["workspace_bytes"]) if row["status"] == "ok" else "–")
    return Group(table, _remarks(rows), "extra memory beside x, y and the packed weights")


def layer_tables(rows: Sequence[Row]) -> RenderableType:
    """Each layer with its sizes, and what each algorithm would do with it."""
    parts: list[RenderableType] = []
    for layer in _layers(rows):
        parts.append(Text(" ".join(filter(None, (layer[0]["workload"], layer[0]["name"]))) or layer[0]["source"], "bold"))
        if layer[0]["workload"]:
            parts += [f"  {line}" for line in _sizes(ConvShape.parse(layer[0]["workload"]))]
        table = _table("algorithm", "tile", "workspace", "")
        for row in layer:
            known = row["status"] == "ok"
            table.add_row(
                row["algorithm"], row["tile"], _bytes(row["workspace_bytes"]) if known else None, row["reason"]
            )
        parts.append(table)
    return Group(*parts)


def _sizes(shape: ConvShape) -> tuple[str, str]:
    x, w, y = ("x".join(map(str, sizes)) for sizes in (shape.x_shape, shape.w_shape, shape.y_shape))
    return (
        f"x {x} (NHWC), w {w} (OIHW), y {y}; padding top {shape.ph} left {shape.pw} bottom {shape.pb} right {shape.pr}",
        f"{shape.flops / 1e6:.1f} MFLOP; as a matrix product M {shape.m}, OC {shape.ocg}, K {shape.k},"
        f" {shape.mb * shape.g} times",
    )


def compile_table(rows: Sequence[Row]) -> RenderableType:
    """What was written: file, algorithm, workspace, the prefix of its symbols."""
    table = _table("file", "algorithm", "tile", "workspace", "symbols")
    for row in rows:
        if row["status"] == "ok":
            symbols = f"{row['symbols'][0].rpartition('_')[0]}_*"
            table.add_row(row["path"], row["algorithm"], row["tile"], _bytes(row["workspace_bytes"]), symbols)
    return Group(table, _remarks(rows))


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _by_layer(rows: Sequence[Row], cell: Callable[[Row], RenderableType]) -> Table:
    """A table with a row for each layer and a column for each algorithm."""
    algorithms = contestants(rows)
    table = _table("layer")
    for name in algorithms:
        table.add_column(name, justify="right")
    for layer in _layers(rows):
        cells = {contestant(row): cell(row) for row in layer}
        table.add_row(_layer_title(layer[0]), *(cells.get(name, "") for name in algorithms))
    return table


def _layer_title(row: Row) -> Text:
    """The layer's name and how often it occurs, below it the descriptor; or one of them."""
    workload = row["workload"] or row["source"]
    if not row["name"]:
        return Text(workload)
    times = f" ×{row['count']}" if row["count"] > 1 else ""
    return Text(f"{row['name']}{times}\n").append(workload, _FAINT)


def contestant(row: Row) -> str:
    """The algorithm or the peer of a row."""
    return str(row["algorithm"] or row["peer"])


def contestants(rows: Iterable[Row]) -> list[str]:
    """All algorithms and peers, in order of appearance."""
    return list(dict.fromkeys(map(contestant, rows)))


def _layers(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each layer. A layer's rows follow each other; its first contestant again is the next layer."""
    layers: list[list[Row]] = []
    for row in rows:
        if not layers or _place(row) != _place(layers[-1][0]) or contestant(row) in map(contestant, layers[-1]):
            layers.append([])
        layers[-1].append(row)
    return layers


def _place(row: Row) -> tuple[Any, ...]:
    return row["source"], row["name"], row["workload"]


def _remarks(rows: Sequence[Row]) -> RenderableType:
    """Why rows are not ok: each failure by itself, rejections that have one reason together."""
    failures, rejections = [], Counter[str]()
    for row in rows:
        if row["status"] == "rejected":
            rejections[row["reason"]] += 1
        elif row["status"] != "ok":
            where = row["workload"] or row["source"]
            failures.append(Text(f"{row['status']}: {contestant(row)} on {where}: {row['reason']}", _BAD))
    rejected = [Text(f"– {reason} ({_times(count)})", _FAINT) for reason, count in rejections.items()]
    return Group(*failures, *rejected)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _bytes(size: int) -> str:
    """A size people can read: bytes up to 1 KB, then KB, MB."""
    if size < 1024:
        return f"{size} B"
    if size < 1024 * 1024:
        return f"{size / 1024:.1f} KB"
    return f"{size / 1024 / 1024:.1f} MB"

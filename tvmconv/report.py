"""Rows as tables for people: layers down, algorithms and peers across."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
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
    width = None if sys.stdout.isatty() else _UNLIMITED
    console = Console(file=sys.stdout, width=width, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:  # rich would answer a closed pipe by an exit code of its own
        console.print(text)
    sys.stdout.write(captured.get())
    sys.stdout.flush()


def listing(items: Sequence[Row]) -> RenderableType:
    """Items that all have the same keys, one a line; numbers to the right."""
    table = new_table()
    for key, value in items[0].items():
        table.add_column(key, justify="right" if isinstance(value, (int, float)) else "left")
    for item in items:
        table.add_row(*map(_listed, item.values()))
    return table


def _listed(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "–" if value is None else str(value)


def verify_table(rows: Sequence[Row]) -> RenderableType:
    """Each layer by each algorithm: exact or not."""
    words = {"ok": Text("exact", "green"), "rejected": Text("–", _FAINT)}
    table = _by_layer(rows, lambda row: words.get(row["status"]) or Text(row["status"].upper(), _BAD))
    count = {status: sum(row["status"] == status for row in rows) for status in ("ok", "rejected", "mismatch", "error")}
    summary = f"{count['ok']} exact, {count['mismatch']} wrong, {count['error']} failed, {count['rejected']} rejected"
    return Group(table, remarks(rows), summary)


def workspace_table(rows: Sequence[Row]) -> RenderableType:
    """Each layer by each algorithm: bytes of extra memory."""
    table = _by_layer(rows, lambda row: _bytes(row["workspace_bytes"]) if row["status"] == "ok" else "–")
    return Group(table, remarks(rows), "extra memory beside x, y and the packed weights")


def layer_tables(rows: Sequence[Row]) -> RenderableType:
    """Each layer with its sizes, and what each algorithm would do with it."""
    parts: list[RenderableType] = []
    for layer in _layers(rows):
        workload, name = layer[0]["workload"], layer[0]["name"]
        parts.append(Text(f"{workload or layer[0]['source']} {name or ''}", "bold"))
        if workload:
            parts += [f"  {line}" for line in _sizes(ConvShape.parse(workload))]
        table = new_table("algorithm", "tile", "workspace", "")
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
    table = new_table("file", "algorithm", "tile", "workspace", "symbols")
    for row in rows:
        if row["status"] == "ok":
            symbols = f"{row['symbols'][0].rpartition('_')[0]}_*"
            table.add_row(row["path"], row["algorithm"], row["tile"], _bytes(row["workspace_bytes"]), symbols)
    return Group(table, remarks(rows))


def bench_table(rows: Sequence[Row], uncounted: Collection[str] = ()) -> RenderableType:
    """Each layer by each contestant: time, speed and percent of the peak, extra memory; then each network's sums.

    The fastest is marked; contestants in `uncounted` are shown, but are never the fastest.
    """
    winners = {id(fastest(layer, uncounted)) for layer in _layers(rows)}
    table = _by_layer(rows, lambda row: _time(row, winner=id(row) in winners))
    networks = [list(layers) for _, layers in groupby(_layers(rows), key=lambda layer: layer[0]["source"])]
    mixes = []
    for network in networks:
        if len(network) > 1:
            table.add_section()
            for title, cells in network_sums(network).items():
                table.add_row(f"{network[0][0]['source']}: {title}", *(cells[name] for name in contestants(rows)))
            mixes.append(_best_mix(network))
    legend = "median ms; GFLOP/s and % of this core's measured FMA peak; bytes of extra memory; * is the fastest"
    return Group(table, *mixes, remarks(rows), legend, *_rounds(rows))


def fastest(layer: Sequence[Row], uncounted: Collection[str] = ()) -> Row | None:
    """The row of least median time, None if there is none."""
    timed = [row for row in layer if seconds(row) is not None and contestant(row) not in uncounted]
    return min(timed, key=lambda row: row["seconds"]["median"], default=None)


def seconds(row: Row) -> float | None:
    """The median time of a run, None if it was not measured."""
    return row["seconds"]["median"] if row["status"] == "ok" else None


def network_sums(network: Sequence[Sequence[Row]]) -> dict[str, dict[str, str]]:
    """By title and contestant: the time of all layers as often as they occur, and the largest workspace."""
    sums: dict[str, dict[str, str]] = {"sum, ms": {}, "peak workspace": {}}
    for name in contestants(row for layer in network for row in layer):
        own = [row for layer in network for row in layer if contestant(row) == name and row["status"] == "ok"]
        complete = len(own) == len(network)
        sizes = [row["workspace_bytes"] for row in own]
        sums["sum, ms"][name] = milliseconds(_total(own)) if complete else "n/a"
        sums["peak workspace"][name] = _bytes(max(sizes)) if complete and None not in sizes else "n/a"
    return sums


def _best_mix(network: Sequence[Sequence[Row]]) -> str:
    """The network's time if each layer is computed by the fastest of our own algorithms."""
    best = [fastest([row for row in layer if row["algorithm"]]) for layer in network]
    chosen = [row for row in best if row]
    source = network[0][0]["source"]
    if len(chosen) < len(network):
        return f"{source}: best mix n/a, {len(network) - len(chosen)} of {len(network)} layers have no time"
    mix = ", ".join(f"{name} {count}" for name, count in Counter(map(contestant, chosen)).most_common())
    workspace = max(row["workspace_bytes"] for row in chosen)
    return f"{source}: best mix {milliseconds(_total(chosen))} ms, peak workspace {_bytes(workspace)}; layers: {mix}"


def _total(rows: Sequence[Row]) -> float:
    return float(sum(row["count"] * row["seconds"]["median"] for row in rows))


def _time(row: Row, winner: bool) -> RenderableType:
    if row["status"] in ("rejected", "skipped"):
        return Text("–", _FAINT)
    if row["status"] != "ok":
        return Text(row["status"].upper(), _BAD)
    share = f" {row['peak_fraction']:.0%}" if row["peak_fraction"] is not None else ""
    mark = ("* " if winner else "") + ("~" if row["rounds"]["slow"] else "")
    time = Text(f"{mark}{milliseconds(row['seconds']['median'])}\n", _GOOD if winner else "")
    memory = "" if row["workspace_bytes"] is None else f"\n{_bytes(row['workspace_bytes'])}"
    return time.append(f"{row['gflops']:.1f}{share}{memory}", _FAINT)


def _rounds(rows: Sequence[Row]) -> list[str]:
    """How steady the machine was: the typical spread, and the rounds that were played again or accepted as slow."""
    timed = [row for row in rows if seconds(row) is not None]
    if not timed:
        return []
    spreads = sorted(row["seconds"]["p80"] / row["seconds"]["p20"] - 1 for row in timed)
    repeated, slow = (sum(row["rounds"][kind] for row in timed) for kind in ("repeated", "slow"))
    return [
        f"p80 is {spreads[len(spreads) // 2]:.0%} above p20 (median of all rows), at most {spreads[-1]:.0%}",
        f"{repeated} rounds were played again, the core being slow; {slow} slow ones had to be accepted (~)",
    ]


def milliseconds(seconds: float) -> str:
    """Three digits; below 1 ms three behind the point, so whole microseconds."""
    milliseconds = seconds * 1e3
    digits = max(0, 3 - len(str(int(milliseconds))) + (milliseconds < 1))
    return f"{milliseconds:.{digits}f}"


def new_table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _by_layer(rows: Sequence[Row], cell: Callable[[Row], RenderableType]) -> Table:
    """A table with a row for each layer and a column for each algorithm."""
    algorithms = contestants(rows)
    table = new_table("layer")
    for name in algorithms:
        table.add_column(name, justify="right")
    for layer in _layers(rows):
        cells = {contestant(row): cell(row) for row in layer}
        table.add_row(layer_title(layer[0]), *(cells.get(name, "") for name in algorithms))
    return table


def layer_title(row: Row) -> Text:
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


def remarks(rows: Sequence[Row]) -> RenderableType:
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

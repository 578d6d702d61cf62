"""Tables of rows: layers down, algorithms and peers across."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from tvmconv.database.rows import Row
from tvmconv.report.summary import contestant, contestants, is_auto, layers
from tvmconv.report.table_layout import Table, foldable
from tvmconv.workload.shape import ConvShape

# Where nobody looks at the width, nothing is folded or cut.
_UNLIMITED = 10_000

BAD, GOOD, FAINT = "bold red", "bold green", "dim"


def show(text: RenderableType) -> None:
    """Print to stdout: in colour and fitted to the terminal's width if it is one, else plain and as wide as needed."""
    width = None if sys.stdout.isatty() else _UNLIMITED
    console = Console(file=sys.stdout, width=width, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:  # rich would answer a closed pipe by an exit code of its own
        console.print(foldable(text), soft_wrap=True)
    sys.stdout.write(captured.get())
    sys.stdout.flush()


def listing(items: Sequence[Row]) -> RenderableType:
    """Items that all have the same keys, one a line; numbers to the right."""
    table = new_table()
    for key, value in items[0].items():
        table.add_column(key, justify="right" if isinstance(value, (int, float)) else "left")
    for item in items:
        table.add_row(*(Text(_listed(value), no_wrap=key not in _PROSE) for key, value in item.items()))
    return table


def _listed(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "–" if value is None else str(value)


_PROSE = ("chip", "definition", "features", "isas", "reason", "summary")  # what may be folded of a listing


def verify_table(rows: Sequence[Row], unnamed: Collection[str] = ()) -> RenderableType:
    """Each layer by each algorithm: exact or not."""
    words = {"ok": Text("exact", "green"), "rejected": Text("–", FAINT)}
    table = by_layer(rows, lambda row: words.get(row["status"]) or Text(row["status"].upper(), BAD))
    count = {status: sum(row["status"] == status for row in rows) for status in ("ok", "rejected", "mismatch", "error")}
    summary = f"{count['ok']} exact, {count['mismatch']} wrong, {count['error']} failed, {count['rejected']} rejected"
    return Group(table, remarks(rows, unnamed), summary)


def workspace_table(rows: Sequence[Row], unnamed: Collection[str] = ()) -> RenderableType:
    """Each layer by each algorithm: bytes of extra memory."""
    table = by_layer(rows, lambda row: size(row["workspace_bytes"]) if row["status"] == "ok" else "–")
    return Group(table, remarks(rows, unnamed), "extra memory beside x, y and the packed weights")


def estimate_table(rows: Sequence[Row], unnamed: Collection[str] = ()) -> RenderableType:
    """Table of estimates: each layer's hot loop by a model of the core, and its instructions by the emulator."""
    table = new_table("layer", "algorithm", "tile", "hot loop", "stack", "as", "held up by", "instructions / FLOP")
    for row in rows:
        if row["status"] != "ok":
            continue
        fraction, counted = row["hot_loop_peak_fraction"], row["instructions_per_flop"]
        table.add_row(
            row["name"] or row["workload"],
            row["algorithm"],
            row["tile"],
            "–" if fraction is None else f"{100 * fraction:.1f} %",
            "–" if row["hot_loop_stack_accesses"] is None else str(row["hot_loop_stack_accesses"]),
            row["hot_loop_model"] or "–",
            row["hot_loop_bottleneck"] or "–",
            "–" if counted is None else f"{counted:.4f}",
        )
    explanation = (
        "hot loop: of the core's f32 peak, by llvm-mca; stack: accesses to it in the loop; "
        "instructions: those executed for the whole layer"
    )
    return Group(table, remarks(rows, unnamed), explanation)


def layer_tables(rows: Sequence[Row]) -> RenderableType:
    """Each layer with its sizes, and what each algorithm would do with it."""
    parts: list[RenderableType] = []
    for layer in layers(rows):
        workload, name = layer[0]["workload"], layer[0]["name"]
        parts.append(Text(f"{workload or layer[0]['source']} {name or ''}", "bold"))
        if workload:
            parts += [f"  {line}" for line in _sizes(ConvShape.parse(workload))]
        table = new_table("algorithm", "tile", "workspace", "")
        for row in layer:
            known = row["status"] == "ok"
            table.add_row(row["algorithm"], row["tile"], size(row["workspace_bytes"]) if known else None, row["reason"])
        parts.append(table)
    return Group(*parts)


def _sizes(shape: ConvShape) -> tuple[str, str]:
    x, w, y = ("x".join(map(str, sizes)) for sizes in (shape.x_shape, shape.w_shape, shape.y_shape))
    return (
        f"x {x} (NHWC), w {w} (OIHW), y {y}; padding top {shape.ph} left {shape.pw} bottom {shape.pb} right {shape.pr}",
        f"{shape.flops / 1e6:.1f} MFLOP; as a matrix product M {shape.m}, OC {shape.ocg}, K {shape.k},"
        f" {shape.mb * shape.g} times",
    )


def compile_table(rows: Sequence[Row], unnamed: Collection[str] = ()) -> RenderableType:
    """Table of written kernels: algorithm and who chose it, workspace, file, the prefix of its symbols."""
    table = new_table("layer", "algorithm", "tile", "chosen by", "workspace", "file", "symbols")
    written = [row for row in rows if row["status"] == "ok"]
    for row in written:
        symbols = f"{row['symbols'][0].rpartition('_')[0]}_*"
        layer, memory = row["name"] or row["workload"], size(row["workspace_bytes"])
        path = Text(row["path"], no_wrap=True)
        table.add_row(layer, row["algorithm"], row["tile"], row["chosen_by"], memory, path, symbols)
    workspaces = [row["workspace_bytes"] for row in written]
    sizes = f"extra memory: {size(max(workspaces))} for the largest, {size(sum(workspaces))} for all" if written else ""
    return Group(table, *([sizes] if len(written) > 1 else []), remarks(rows, unnamed))


def import_table(rows: Sequence[Row]) -> RenderableType:
    """Table of imported times by layer and network, and how each layer was matched."""
    table = new_table("layer", "peer", "ms", "GFLOP/s", "found by")
    for row in (row for row in rows if row["status"] == "ok"):
        speed = "" if row["gflops"] is None else f"{row['gflops']:.1f}"
        time = milliseconds(row["seconds"]["median"])
        table.add_row(layer_title(row), row["peer"], time, speed, row["matched_by"] or row["reason"])
    statistics = sorted({row["seconds"]["statistic"] for row in rows if row["seconds"]})
    missed: dict[str, list[str]] = {}
    for row in (row for row in rows if row["status"] == "skipped"):
        missed.setdefault(row["reason"], []).append(row["name"] or row["workload"])
    remarks = [Text(f"– {reason}: {', '.join(names)}", FAINT) for reason, names in missed.items()]
    legend = f"times: {' or '.join(statistics)} of the tool's runs; nothing was verified"
    return Group(table, *remarks, f"{legend}, and what else the cores had to do is unknown")


def milliseconds(seconds: float) -> str:
    """Three significant digits; whole milliseconds from 100 on."""
    exponent = int(f"{seconds * 1e3:.2e}".partition("e")[2])
    return f"{seconds * 1e3:.{max(0, 2 - exponent)}f}"


def new_table(*titles: str) -> Table:
    """A table with so many columns of text; others may be added."""
    return Table(*titles)


def by_layer(rows: Sequence[Row], cell: Callable[[Row], Text | str]) -> Table:
    """A table with a row for each layer and a column for each algorithm."""
    algorithms = contestants(rows)
    table = new_table("layer")
    for name in algorithms:
        table.add_column(name, justify="right")
    for layer in layers(rows):
        cells = {contestant(row): _with_choice(cell(row), row) for row in layer}
        table.add_row(layer_title(layer[0]), *(cells.get(name, "") for name in algorithms))
    return table


def _with_choice(cell: Text | str, row: Row) -> Text:
    """A cell, and what auto took in it."""
    text = Text(cell) if isinstance(cell, str) else cell.copy()
    return text.append(f"\n{row['algorithm']}", FAINT) if is_auto(row) and row["status"] == "ok" else text


def layer_title(row: Row) -> Text:
    """The layer's name and how often it occurs, below it the descriptor; or one of them."""
    workload = row["workload"] or row["source"]
    if not row["name"]:
        return Text(workload)
    times = f" ×{row['count']}" if row["count"] > 1 else ""
    return Text(f"{row['name']}{times}\n").append(workload, FAINT)


def remarks(rows: Sequence[Row], unnamed: Collection[str] = ()) -> RenderableType:
    """Why rows are not ok: each failure by itself, each reason of rejections once.

    That an algorithm among `unnamed` rejects a layer that others take needs no reason.
    """
    failures: list[Text] = []
    reasons: dict[str, None] = {}
    among = layers(rows) if unnamed else []
    expected = {id(row) for layer in among for row in layer if _is_expected(row, layer, unnamed)}
    for row in rows:
        if row["status"] == "rejected":
            if id(row) not in expected:
                reasons[row["reason"]] = None
        elif row["status"] != "ok":
            where = row["workload"] or row["source"]
            failures.append(Text(f"{row['status']}: {contestant(row)} on {where}: {row['reason']}", BAD))
    hint = ["does not take the layer; -v says why"] if expected else []
    return Group(*failures, *(Text(f"– {reason}", FAINT) for reason in (*reasons, *hint)))


def _is_expected(row: Row, layer: Sequence[Row], unnamed: Collection[str]) -> bool:
    """Whether a row says no more than that an algorithm is for other layers."""
    is_rejected = row["status"] == "rejected" and row["algorithm"] in unnamed
    return is_rejected and any(other["status"] != "rejected" for other in layer)


def size(count: int) -> str:
    """A number of bytes that people can read: bytes up to 1 KB, then KB, MB, GB."""
    if count < 1024:
        return f"{count} B"
    if count < 1024 * 1024:
        return f"{count / 1024:.1f} KB"
    if count < 1024**3:
        return f"{count / 1024**2:.1f} MB"
    return f"{count / 1024**3:.1f} GB"

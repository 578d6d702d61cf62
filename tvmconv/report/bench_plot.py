"""Plots of a bench: percent of peak for each layer, and each network's time against its extra memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmconv.database.rows import Row
from tvmconv.report.figure import drawing, literal
from tvmconv.report.summary import (
    Sum,
    best_rows,
    contestant,
    contestants,
    is_known,
    is_slow,
    layers,
    networks,
    ours,
    seconds,
    sums,
    timed,
    total,
)
from tvmconv.report.tables import size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart by people who see colours otherwise too (Okabe and Ito); ours are filled, the peers' are outlines.
_OURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A4FBF", "#8C564B")
_PEERS = ("#000000", "#777777", "#8B0000", "#2F4F4F", "#B8860B")
_SHAPES = "osD^vP<>"
_BEST_MIX = "best mix of ours"
_FAINT = 0.35  # opacity of what has slow rounds
_LINEAR = 1024  # bytes up to which the axis of memory is linear, so that 0 has a place on it

_HEIGHT, _SLOT, _PANEL = 4.2, 0.42, 4.6  # inches: of a panel, of a layer across, of a network's panel across


@dataclass(frozen=True)
class Style:
    """The drawing style of a contestant, the same in all panels."""

    colour: str
    shape: str
    ours: bool

    @property
    def line(self) -> str:
        """Draws a sum as a horizontal line, since a peer's memory is unknown."""
        return "none" if self.ours else "--"

    @property
    def marker(self) -> dict[str, Any]:
        face = self.colour if self.ours else "none"
        return {"marker": self.shape, "markersize": 6, "markerfacecolor": face, "markeredgecolor": self.colour}


def draw(rows: Sequence[Row], cpu: str, path: Path) -> None:
    """Draws a bench's rows, of which one at least has a time, into a file, PNG or SVG by its name, whole or not at all.

    cpu is what the title calls the machine. Raises OSError where the file cannot be written.
    """
    styles = _styles(rows)
    parts = networks(rows) or [layers(rows)]
    width = max(8.0, _SLOT * len(layers(rows)) + 1.5, _PANEL * len(parts))
    with drawing(path, width, 2 * _HEIGHT + 1.5) as figure:
        grid = figure.add_gridspec(2, len(parts))
        _draw_peak(figure.add_subplot(grid[0, :]), layers(rows), styles)
        for column, part in enumerate(parts):
            _draw_memory(figure.add_subplot(grid[1, column]), part, styles)
        figure.suptitle(_title(rows, cpu), fontsize=10)
        is_doubtful = any(is_slow(row) for row in rows if seconds(row) is not None)
        figure.legend(
            handles=_legend(styles, is_doubtful),
            loc="outside lower center",
            ncols=max(3, int(width / 1.6)),
            frameon=False,
        )


def _styles(rows: Sequence[Row]) -> dict[str, Style]:
    ours = contestants(row for row in rows if row["algorithm"])
    peers = contestants(row for row in rows if row["peer"])
    return {
        name: Style(colours[index % len(colours)], _SHAPES[index % len(_SHAPES)], names is ours)
        for names, colours in ((ours, _OURS), (peers, _PEERS))
        for index, name in enumerate(names)
    }


def _title(rows: Sequence[Row], cpu: str) -> str:
    first = rows[0]
    threads = "1 thread" if first["threads"] == 1 else f"{first['threads']} threads"
    layouts = " and ".join(dict.fromkeys(row["layout"].upper() for row in rows if row["algorithm"]))
    return ", ".join((cpu, threads, f"target {first['target']}", *([layouts] if layouts else []), "float32"))


def _draw_peak(axes: Axes, found: Sequence[Sequence[Row]], styles: Mapping[str, Style]) -> None:
    """A column of points for each layer, side by side in the order of the legend."""
    offsets = {name: (index + 0.5) / len(styles) * 0.7 - 0.35 for index, name in enumerate(styles)}
    for name, style in styles.items():
        own = [(place, row) for place, layer in enumerate(found) for row in layer if contestant(row) == name]
        for slow in (False, True):
            points = [(place, row) for place, row in own if seconds(row) is not None and is_slow(row) == slow]
            axes.plot(
                [place + offsets[name] for place, _ in points],
                [100 * (row["peak_fraction"] or 0) for _, row in points],
                linestyle="none",
                alpha=_FAINT if slow else 1.0,
                **style.marker,
            )
    for boundary in range(1, len(found)):
        axes.axvline(boundary - 0.5, color="0.9", linewidth=0.8, zorder=0)
    first = 0
    for source, own_layers in groupby(layer[0]["source"] for layer in found):
        count = len(list(own_layers))
        if count > 1:
            axes.axvline(first - 0.5, color="0.5", linewidth=0.8, zorder=0)
            axes.text(first - 0.4, 1.01, literal(source), transform=axes.get_xaxis_transform(), fontweight="bold")
        first += count
    axes.set_xticks(
        range(len(found)), [_name(layer[0]) for layer in found], rotation=45, ha="right", rotation_mode="anchor"
    )
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.5, len(found) - 0.5)
    axes.set_ylim(0, max(105, axes.get_ylim()[1]))
    axes.set_ylabel("% of the measured FMA peak")


def _name(row: Row) -> str:
    times = f" ×{row['count']}" if row["count"] > 1 else ""
    return literal(row["name"] or row["workload"] or row["source"]) + times


def _draw_memory(axes: Axes, network: Sequence[Sequence[Row]], styles: Mapping[str, Style]) -> None:
    """A point for each algorithm that has a time for all layers, one for the best mix; a line for each such peer."""
    found, done = sums(network), timed(network)
    own_rows = [ours(layer) for layer in done]
    mix = total(best_rows(own_rows), len(done), is_doubtful=not all(map(is_known, own_rows)))
    points = [(own, style.marker, name) for name, style in styles.items() if style.ours and (own := found.get(name))]
    sizes = [0]
    for own, marker, name in [(mix, _STAR, ""), *points]:
        if own.seconds is not None and own.workspace is not None:
            axes.plot([own.workspace], [1e3 * own.seconds], linestyle="none", alpha=_opacity(own), **marker)
            axes.annotate(name, (own.workspace, 1e3 * own.seconds), (6, 5), textcoords="offset points", fontsize=7.5)
            sizes.append(own.workspace)
    peers = [(own, style, name) for name, style in styles.items() if not style.ours and (own := found.get(name))]
    for index, (own, style, name) in enumerate(peers):
        if own.seconds is not None:
            axes.axhline(1e3 * own.seconds, color=style.colour, linewidth=1, linestyle=style.line, alpha=_opacity(own))
            # Each at a place of its own, as lines may lie close together.
            place, across = (0.99 - 0.17 * (index % 6), 1e3 * own.seconds), axes.get_yaxis_transform()
            axes.text(*place, name, transform=across, color=style.colour, ha="right", va="bottom", fontsize=7.5)
    axes.set_xscale("symlog", base=2, linthresh=_LINEAR)
    ticks = [0] + [_LINEAR * 16**power for power in range(6) if _LINEAR * 16**power <= 4 * max(sizes)]
    axes.set_xticks(ticks, [size(tick).replace(".0 ", " ") for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(-_LINEAR / 2, max(2 * _LINEAR, 4 * max(sizes)))
    axes.margins(y=0.15)
    names = dict.fromkeys(layer[0]["source"] for layer in network)
    part = "" if len(done) == len(network) else f", {len(done)} of {len(network)} layers"
    axes.set_title(literal(next(iter(names))) + part if len(names) == 1 else f"{len(done)} layers", fontweight="bold")
    axes.set_xlabel("extra memory of the largest layer")
    axes.set_ylabel("time of all layers, ms")


def _opacity(found: Sum) -> float:
    return _FAINT if found.is_doubtful else 1.0


_STAR: dict[str, Any] = {
    **{"marker": "*", "markersize": 13, "markerfacecolor": "gold", "markeredgecolor": "black"},
    "zorder": 1,  # behind the algorithm that it may be
}


def _legend(styles: Mapping[str, Style], is_doubtful: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            label=name,
            color=style.colour,
            linewidth=1,
            linestyle="none" if style.ours else "--",
            **style.marker,
        )
        for name, style in styles.items()
    ]
    handles.append(Line2D([], [], label=_BEST_MIX, linestyle="none", **_STAR))
    faint = Line2D([], [], label="faint: in slow rounds", color="0.5", linestyle="none", marker="o", alpha=_FAINT)
    return [*handles, faint] if is_doubtful else handles

"""The table of a bench: the fastest entry of each layer, and sums of networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from tvmconv.database.heuristic import AUTO
from tvmconv.database.rows import Row
from tvmconv.database.tuned import TUNED
from tvmconv.report.summary import (
    Ratios,
    Sum,
    against_hand,
    against_patches,
    against_peers,
    best_rows,
    contestant,
    contestants,
    fastest,
    is_auto,
    is_known,
    is_slow,
    layers,
    networks,
    ours,
    peers,
    seconds,
    sums,
    timed,
    total,
)
from tvmconv.report.tables import BAD, FAINT, GOOD, by_layer, milliseconds, remarks, size


def bench_table(rows: Sequence[Row], uncounted: Collection[str] = (), unnamed: Collection[str] = ()) -> RenderableType:
    """Each layer by each contestant: time, speed and percent of the peak, extra memory; then each network's sums.

    The fastest is marked where it is known; contestants in `uncounted` are shown, but are never the fastest. `unnamed`:
    the algorithms whose rejections are no news.
    """
    winners = {id(fastest(layer, uncounted)) for layer in layers(rows) if is_known(layer, uncounted)}
    table = by_layer(rows, lambda row: _time(row, winner=id(row) in winners))
    remaining = layers(rows)
    verdicts = []
    for network in networks(rows):
        table.add_section()
        for title, cells in _network_sums(network).items():
            table.add_row(title, *(cells.get(name, "") for name in contestants(rows)))
        verdicts += _verdicts(network, uncounted)
        remaining = [layer for layer in remaining if layer[0]["source"] != network[0][0]["source"]]
    if (remaining and len(layers(rows)) > 1) or len(networks(rows)) > 1:
        verdicts += _comparison("all layers", layers(rows), uncounted)
    verdicts += _tuned_over_hand(layers(rows))
    legend = "median ms; GFLOP/s and % of the measured FMA peak; bytes of extra memory; * is the fastest"
    remarked = remarks(rows, unnamed)
    return Group(table, *verdicts, remarked, legend, *_emulated(rows), *_profiled(rows), *_rounds(rows, uncounted))


def _network_sums(network: Sequence[Sequence[Row]]) -> dict[str, dict[str, str]]:
    """For each title and contestant: the summed time of all layers, with their counts, and the largest workspace."""
    source, done = network[0][0]["source"], len(timed(network))
    part = "" if done == len(network) else f" of {done} of {len(network)} layers"
    found = sums(network)
    return {
        f"{source}: sum{part}, ms": {name: _milliseconds_or_none(own) for name, own in found.items()},
        f"{source}: peak workspace": {
            name: "n/a" if own.workspace is None else size(own.workspace) for name, own in found.items()
        },
    }


def _verdicts(network: Sequence[Sequence[Row]], uncounted: Collection[str]) -> list[str]:
    """The network's time if each layer is computed by the fastest of ours, or by the fastest peer, and the ratio."""
    source, done = network[0][0]["source"], timed(network)
    lines = []
    sides = {
        "best mix": [ours(layer) for layer in done],
        "best peer of each layer": [peers(layer, uncounted) for layer in done],
    }
    for title, own in sides.items():
        best = best_rows(own)
        found = total(best, len(done), is_doubtful=not all(map(is_known, own)))
        mix = ", ".join(f"{name} {count}" for name, count in Counter(map(_kernel, best)).most_common())
        workspace = "" if found.workspace is None else f", peak workspace {size(found.workspace)}"
        if found.seconds is not None:
            lines.append(f"{source}: {title} {_milliseconds_or_none(found)} ms{workspace}; layers: {mix}")
        elif best or title == "best mix":
            lines.append(f"{source}: {title} n/a, {len(done) - len(best)} of {len(done)} layers have no time")
    return lines + _comparison(source, network, uncounted)


def _kernel(row: Row) -> str:
    """The algorithm that auto took, else the contestant."""
    return str(row["algorithm"]) if is_auto(row) else contestant(row)


def _comparison(title: str, among: Sequence[Sequence[Row]], uncounted: Collection[str]) -> list[str]:
    """Our best speed over the best peer's, and our algorithms' over the patch builder's, where both are known."""
    found = {("our best", "best peer"): against_peers(among, uncounted), **against_patches(among)}
    return [f"{title}: {one} / {other} {_ratios(ratios)}" for (one, other), ratios in found.items() if ratios]


def _tuned_over_hand(among: Sequence[Sequence[Row]]) -> list[str]:
    return [f"{one} / {other} {_ratios(ratios)}" for (one, other), ratios in against_hand(among).items()]


def _ratios(ratios: Ratios) -> str:
    """The mean, and of how many layers it is; ~ where it has slow rounds."""
    count = len(ratios.by_layer)
    left_out = f"{_layers(ratios.left_out)} left out, not measured alike" if ratios.left_out else ""
    if not count:
        return f"n/a: {left_out}"
    mean = f"{'~' if ratios.slow else ''}{ratios.mean:.3f} in speed, geometric mean of {_layers(count)}"
    slow = f"{ratios.slow} of them in slow rounds (~)" if ratios.slow else ""
    worst = f"below 1 in {ratios.below_one}, worst {ratios.by_layer[ratios.worst]:.2f} ({ratios.worst})"
    return "; ".join(part for part in (mean, slow, worst, left_out) if part)


def _layers(count: int) -> str:
    return f"{count} layers" if count > 1 else "1 layer"


def _milliseconds_or_none(found: Sum) -> str:
    return "n/a" if found.seconds is None else f"{'~' if found.is_doubtful else ''}{milliseconds(found.seconds)}"


def _time(row: Row, winner: bool) -> Text:
    if row["status"] in ("rejected", "skipped"):
        return Text("–", FAINT)
    if row["status"] != "ok":
        return Text(row["status"].upper(), BAD)
    share = f" {row['peak_fraction']:.0%}" if row["peak_fraction"] is not None else ""
    mark = ("* " if winner else "") + ("~" if is_slow(row) else "")
    time = Text(f"{mark}{milliseconds(row['seconds']['median'])}\n", GOOD if winner else "")
    memory = "" if row["workspace_bytes"] is None else f"\n{size(row['workspace_bytes'])}"
    tuned = "\ntuned" if row.get("schedule_asked") == AUTO and row["schedule"] == TUNED else ""
    return time.append(f"{row['gflops']:.1f}{share}{memory}{tuned}", FAINT)


def _emulated(rows: Sequence[Row]) -> list[str]:
    devices = dict.fromkeys(row["device"] for row in rows if row.get("emulated"))
    return [f"{device} is emulated: these times mean nothing" for device in devices]


def _profiled(rows: Sequence[Row]) -> list[str]:
    """Whose times are not those of whole calls."""
    profiled = [row for row in rows if row.get("whole_call_seconds")]
    if not profiled:
        return []
    names = ", ".join(contestants(profiled))
    whole = [row for row in profiled if row["seconds"]["median"] >= row["whole_call_seconds"]]
    return [
        f"{names}: the convolution alone, by the library's own profiler, where that is less",
        *([f"{', '.join(contestants(whole))}: whole calls where all rounds were slow"] if whole else []),
    ]


def _rounds(rows: Sequence[Row], uncounted: Collection[str]) -> list[str]:
    """Notes on the steadiness of the machine: typical spread, repeated and slow rounds, unknown results."""
    timed = [row for row in rows if seconds(row) is not None]
    if not timed:
        return []
    spreads = sorted(row["seconds"]["p80"] / row["seconds"]["p20"] - 1 for row in timed)
    repeated, slow = (sum(row["rounds"][kind] for row in timed) for kind in ("repeated", "slow"))
    unknown = sum(not is_known(layer, uncounted) for layer in layers(rows))
    return [
        f"p80 is {spreads[len(spreads) // 2]:.0%} above p20 (median of all rows), at most {spreads[-1]:.0%}",
        f"{repeated} rounds were played again, the core being slow; {slow} slow ones had to be accepted (~)",
        *([f"{_layers(unknown)} without *: a time of slower rounds might be the fastest"] if unknown else []),
    ]

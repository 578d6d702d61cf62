"""What rows say together: who was fastest on a layer, a network's sums, our best beside the best of the peers."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tvmconv.choose import AUTO
from tvmconv.record import Row
from tvmconv.tuned import HAND, TUNED

PATCH_BUILDERS = ("im2row", "im2col")
_BEST = ("best tuned", "best hand")


@dataclass(frozen=True)
class Sum:
    """A network's layers, each as often as it occurs: seconds of all, bytes of the largest workspace; None: unknown."""

    seconds: float | None
    workspace: int | None


@dataclass(frozen=True)
class Ratios:
    """One contestant's speed as a multiple of another's, by layer."""

    by_layer: Mapping[str, float]

    @property
    def mean(self) -> float:
        """The geometric mean."""
        return math.exp(sum(map(math.log, self.by_layer.values())) / len(self.by_layer))

    @property
    def below_one(self) -> int:
        return sum(ratio < 1 for ratio in self.by_layer.values())

    @property
    def worst(self) -> str:
        """The layer of the smallest ratio."""
        return min(self.by_layer, key=lambda name: self.by_layer[name])


def contestant(row: Row) -> str:
    """The peer of a row, or the algorithm or auto, with the schedule if that was asked for by name."""
    asked = row.get("schedule_asked") or AUTO
    return (_algorithm_asked(row) or str(row["peer"])) + (f" {asked}" if asked != AUTO else "")


def is_auto(row: Row) -> bool:
    """Whether the algorithm was left to be chosen."""
    return row["algorithm"] == AUTO or row.get("chosen_by") not in (None, "user")


def _algorithm_asked(row: Row) -> str | None:
    return AUTO if is_auto(row) else row["algorithm"]


def contestants(rows: Iterable[Row]) -> list[str]:
    """All algorithms and peers, in order of appearance."""
    return list(dict.fromkeys(map(contestant, rows)))


def layers(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each layer. A layer's rows follow each other; its first contestant again is the next layer."""
    found: list[list[Row]] = []
    for row in rows:
        if not found or _place(row) != _place(found[-1][0]) or contestant(row) in map(contestant, found[-1]):
            found.append([])
        found[-1].append(row)
    return found


def _place(row: Row) -> tuple[Any, ...]:
    return row["source"], row["name"], row["workload"], row.get("device")


def networks(rows: Sequence[Row]) -> list[list[list[Row]]]:
    """The layers of each workload that was asked for, where it has more than one."""
    found = [list(own) for _, own in groupby(layers(rows), key=lambda layer: layer[0]["source"])]
    return [network for network in found if len(network) > 1]


def timed(network: Sequence[Sequence[Row]]) -> list[Sequence[Row]]:
    """The layers for which anybody has a time: not those that no one can compute."""
    return [layer for layer in network if any(seconds(row) is not None for row in layer)]


def seconds(row: Row) -> float | None:
    """The median time of a run, None if it was not measured."""
    return row["seconds"]["median"] if row["status"] == "ok" else None


def fastest(layer: Sequence[Row], uncounted: Collection[str] = ()) -> Row | None:
    """The row of least median time, None if there is none. Contestants in `uncounted` are never the fastest."""
    candidates = [row for row in layer if seconds(row) is not None and contestant(row) not in uncounted]
    return min(candidates, key=lambda row: row["seconds"]["median"], default=None)


def best_ours(network: Sequence[Sequence[Row]]) -> list[Row]:
    """The fastest of our own rows of each layer that has one."""
    return _found(fastest([row for row in layer if row["algorithm"]]) for layer in network)


def best_peers(network: Sequence[Sequence[Row]], uncounted: Collection[str] = ()) -> list[Row]:
    """The fastest of the peers' rows of each layer that has one."""
    return _found(fastest([row for row in layer if row["peer"]], uncounted) for layer in network)


def _found(rows: Iterable[Row | None]) -> list[Row]:
    return [row for row in rows if row]


def total(rows: Sequence[Row], count: int) -> Sum:
    """The sum of `rows`, one for each of `count` layers: unknown if there are fewer."""
    if len(rows) < count or not count:
        return Sum(None, None)
    sizes = [row["workspace_bytes"] for row in rows]
    return Sum(
        sum(row["count"] * row["seconds"]["median"] for row in rows), None if None in sizes else max(map(int, sizes))
    )


def sums(network: Sequence[Sequence[Row]]) -> dict[str, Sum]:
    """The sum of each contestant, over the layers that anybody has a time for."""
    done = timed(network)
    by_name: dict[str, list[Row]] = {name: [] for name in contestants(row for layer in network for row in layer)}
    for row in (row for layer in done for row in layer if seconds(row) is not None):
        by_name[contestant(row)].append(row)
    return {name: total(rows, len(done)) for name, rows in by_name.items()}


def against_peers(network: Sequence[Sequence[Row]], uncounted: Collection[str] = ()) -> Ratios:
    """Our best beside the best peer on each distinct layer where both have a time."""
    pairs = ((best_ours([layer]), best_peers([layer], uncounted)) for layer in network)
    return _ratios((ours[0], peer[0]) for ours, peer in pairs if ours and peer)


def against_patches(network: Sequence[Sequence[Row]]) -> dict[tuple[str, str], Ratios]:
    """Each of our other algorithms beside the one that builds patches, the baseline of both papers: by their names.

    Of layers where patches are built: not where the input itself is the matrix.
    """
    pairs: dict[tuple[str, str], list[tuple[Row, Row]]] = {}
    for layer in network:
        ours = [row for row in layer if row["algorithm"] and seconds(row) is not None]
        for baseline in (row for row in ours if row["algorithm"] in PATCH_BUILDERS and row["workspace_bytes"]):
            for other in (row for row in ours if row["algorithm"] not in PATCH_BUILDERS and _same_kind(row, baseline)):
                pairs.setdefault((contestant(other), contestant(baseline)), []).append((other, baseline))
    return {names: _ratios(rows) for names, rows in pairs.items()}


def against_hand(network: Sequence[Sequence[Row]]) -> dict[tuple[str, str], Ratios]:
    """Each algorithm by its tuned schedule beside the same by hand, and the best of both where it says more; by names.

    Of the runs in which both were asked for by name, so that both were measured side by side.
    """
    pairs: dict[tuple[str, str], list[tuple[Row, Row]]] = {}
    for layer in network:
        ours = [row for row in layer if row["algorithm"] and seconds(row) is not None]
        tuned, hand = ([row for row in ours if row.get("schedule_asked") == name] for name in (TUNED, HAND))
        for one in tuned:
            for other in (row for row in hand if _algorithm_asked(row) == _algorithm_asked(one)):
                pairs.setdefault((contestant(one), contestant(other)), []).append((one, other))
        if tuned and hand:
            best = [min(rows, key=lambda row: row["seconds"]["median"]) for rows in (tuned, hand)]
            pairs.setdefault(_BEST, []).append((best[0], best[1]))
    found = {names: _ratios(rows) for names, rows in pairs.items()}
    best_of_all = found.pop(_BEST, None)
    return found if best_of_all is None or best_of_all in found.values() else {**found, _BEST: best_of_all}


def _same_kind(one: Row, other: Row) -> bool:
    """Whether both were asked for by the same schedule."""
    return bool(one.get("schedule_asked") == other.get("schedule_asked"))


def _ratios(pairs: Iterable[tuple[Row, Row]]) -> Ratios:
    """The first row's speed over the second's, of each distinct problem."""
    ratios: dict[str, float] = {}
    named: dict[str, str] = {}  # by workload: a layer that occurs again, under any name, is the same problem
    for one, other in pairs:
        if one["workload"] not in named:
            name = named[one["workload"]] = one["name"] or one["workload"]
            ratios[name if name not in ratios else f"{name}, {one['workload']}"] = (
                other["seconds"]["median"] / one["seconds"]["median"]
            )
    return Ratios(ratios)

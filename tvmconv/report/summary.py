"""Summaries of rows: the fastest entry of a layer, a network's sums, our best against the best peer."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tvmconv.database.heuristic import AUTO
from tvmconv.database.rows import Row
from tvmconv.database.tuned import HAND, TUNED
from tvmconv.measure.comparable import are_alike, is_fastest, time_of

PATCH_BUILDERS = ("im2row", "im2col")
_BEST = ("best tuned", "best hand")

_Sides = tuple[Sequence[Row], Sequence[Row]]  # two sets of rows of one layer, whose fastest are compared


@dataclass(frozen=True)
class Sum:
    """A network's layers, each as often as it occurs: seconds of all, bytes of the largest workspace; None: unknown.
    `is_doubtful`: whether any of the times has slow rounds, or may not be the best."""

    seconds: float | None
    workspace: int | None
    is_doubtful: bool = False


@dataclass(frozen=True)
class Ratios:
    """One contestant's speed as a multiple of another's, by layer, where both were measured alike.

    `slow` of these have slow rounds; `left_out` layers were not measured alike.
    """

    by_layer: Mapping[str, float]
    slow: int = 0
    left_out: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.by_layer or self.left_out)

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
    """Names of all algorithms and peers, in order of appearance."""
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
    candidates = _timed_rows(layer, uncounted)
    return min(candidates, key=lambda row: row["seconds"]["median"], default=None)


def is_known(layer: Sequence[Row], uncounted: Collection[str] = ()) -> bool:
    """Whether the fastest is known: not if others may be faster that the cores offered less."""
    best = fastest(layer, uncounted)
    return best is None or is_fastest(time_of(best), map(time_of, _timed_rows(layer, uncounted)))


def is_slow(row: Row) -> bool:
    """Whether slow rounds had to be accepted for a row that has a time."""
    return time_of(row).slow


def _timed_rows(layer: Sequence[Row], uncounted: Collection[str]) -> list[Row]:
    return [row for row in layer if seconds(row) is not None and contestant(row) not in uncounted]


def ours(layer: Sequence[Row]) -> list[Row]:
    """Our own rows of a layer that have a time."""
    return [row for row in layer if row["algorithm"] and seconds(row) is not None]


def peers(layer: Sequence[Row], uncounted: Collection[str] = ()) -> list[Row]:
    """The peers' rows of a layer that have a time and count."""
    return [row for row in _timed_rows(layer, uncounted) if row["peer"]]


def best_rows(sides: Iterable[Sequence[Row]]) -> list[Row]:
    """The fastest of each side that has a time."""
    return [row for row in map(fastest, sides) if row]


def total(rows: Sequence[Row], count: int, is_doubtful: bool = False) -> Sum:
    """The sum of `rows`, one for each of `count` layers: unknown if there are fewer. It is doubtful if one has slow
    rounds, too."""
    if len(rows) < count or not count:
        return Sum(None, None)
    sizes = [row["workspace_bytes"] for row in rows]
    return Sum(
        sum(row["count"] * row["seconds"]["median"] for row in rows),
        None if None in sizes else max(map(int, sizes)),
        is_doubtful or any(map(is_slow, rows)),
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
    return _ratios((ours(layer), peers(layer, uncounted)) for layer in network)


def against_patches(network: Sequence[Sequence[Row]]) -> dict[tuple[str, str], Ratios]:
    """Each of our other algorithms beside the one that builds patches, the baseline of both papers: by their names.

    Of layers where patches are built: not where the input itself is the matrix.
    """
    pairs: dict[tuple[str, str], list[_Sides]] = {}
    for layer in network:
        own = ours(layer)
        for baseline in (row for row in own if row["algorithm"] in PATCH_BUILDERS and row["workspace_bytes"]):
            for other in (row for row in own if row["algorithm"] not in PATCH_BUILDERS and _same_kind(row, baseline)):
                pairs.setdefault((contestant(other), contestant(baseline)), []).append(([other], [baseline]))
    return {names: _ratios(rows) for names, rows in pairs.items()}


def against_hand(network: Sequence[Sequence[Row]]) -> dict[tuple[str, str], Ratios]:
    """Each algorithm by its tuned schedule beside the same by hand, and the best of both where it says more; by names.

    Of the runs in which both were asked for by name, so that both were measured side by side.
    """
    pairs: dict[tuple[str, str], list[_Sides]] = {}
    for layer in network:
        tuned, hand = ([row for row in ours(layer) if row.get("schedule_asked") == name] for name in (TUNED, HAND))
        for one in tuned:
            for other in (row for row in hand if _algorithm_asked(row) == _algorithm_asked(one)):
                pairs.setdefault((contestant(one), contestant(other)), []).append(([one], [other]))
        if tuned and hand:
            pairs.setdefault(_BEST, []).append((tuned, hand))
    found = {names: _ratios(rows) for names, rows in pairs.items()}
    best_of_all = found.pop(_BEST, None)
    return found if best_of_all is None or best_of_all in found.values() else {**found, _BEST: best_of_all}


def _same_kind(one: Row, other: Row) -> bool:
    """Whether both were asked for by the same schedule."""
    return bool(one.get("schedule_asked") == other.get("schedule_asked"))


def _ratios(pairs: Iterable[_Sides]) -> Ratios:
    """The speed of the first side's fastest over that of the second's, of each distinct problem."""
    ratios: dict[str, float] = {}
    alike: set[str] = set()  # workloads: a layer that occurs again, under any name, is the same problem
    slow, unlike = 0, set[str]()
    for sides in pairs:
        bests = best_rows(sides)
        if len(bests) < len(sides) or (workload := bests[0]["workload"]) in alike:
            continue
        one, other = map(time_of, bests)
        if not (are_alike(one, other) and all(map(is_known, sides))):
            unlike.add(workload)
            continue
        alike.add(workload)
        name = bests[0]["name"] or workload
        ratios[name if name not in ratios else f"{name}, {workload}"] = other.seconds / one.seconds
        slow += one.slow or other.slow
    return Ratios(ratios, slow, len(unlike - alike))

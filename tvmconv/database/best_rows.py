"""The best record of each layer in tuning logs, beside the default kernel: a row for each key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tvmconv.database import auto, heuristic
from tvmconv.database.log import Comparison, Key, Record, Sourced, decide
from tvmconv.database.log.check import mismatch, unusable
from tvmconv.database.log.lookup import nearest_cpu
from tvmconv.database.rows import Row
from tvmconv.workload.shape import AXES, ConvShape


@dataclass(frozen=True)
class Candidate:
    """One algorithm for a layer: its records, those that count where some can be used here, and what they come to."""

    found: Sequence[Sourced]
    counting: Sequence[Record]
    comparison: Comparison | None

    @cached_property
    def wrong(self) -> set[str]:
        """The tiles that gave a wrong result, which count nowhere."""
        return {record.tile for record in self.counting if record.status == "wrong"}

    @classmethod
    def of(cls, key: Key, found: Sequence[Sourced]) -> Candidate:
        usable = [] if mismatch(key) else [item for item in found if not item.record.foreign]
        comparison = decide(usable, nearest_cpu(key)) if usable else decide(found, cpu=None)
        return cls(found, [item.record for item in usable or found], comparison)


@dataclass(frozen=True)
class LayerRecords:
    """A layer's candidates by algorithm: of one layout, target and number of threads."""

    candidates: Mapping[str, Candidate]
    shape: ConvShape | None
    layout: str

    @cached_property
    def auto(self) -> str | None:
        """The algorithm that auto takes by these records; None if it knows none for the layer."""
        if self.shape is None:
            return None
        comparisons = {name: own.comparison for name, own in self.candidates.items() if own.comparison}
        usable = {name: own.best.record for name, own in comparisons.items() if not unusable(own.best.record)}
        records = usable or {name: own.best.record for name, own in comparisons.items()}
        return auto.by_records(self.shape, self.layout, records)

    @cached_property
    def suited(self) -> Sequence[str]:
        """The algorithms that the rule takes, best first."""
        return heuristic.preferred(self.shape, self.layout) if self.shape else []

    def by_hand(self, best: Record) -> Record | None:
        """The kernel by hand that was measured beside the best one: that of the rule's algorithm, which `tune` puts
        into each final, or else of the same algorithm. None if it has no time."""
        for name in dict.fromkeys([*self.suited, best.key.algorithm]):
            candidate = self.candidates.get(name)
            own = [one for one in candidate.counting if one.default and _beside(one, best)] if candidate else []
            if candidate and own:
                right = [one for one in own if one.seconds and one.tile not in candidate.wrong]
                return min(right, key=lambda one: one.median, default=None)
        return None


def _beside(one: Record, other: Record) -> bool:
    """Whether two records' times may be compared."""
    if (one.stage, one.cpu, one.method) != (other.stage, other.cpu, other.method):
        return False
    if one.versions.foreign_to(other.versions):
        return False
    return one.stage == "trial" or one.time == other.time


def by_layer(found: Iterable[Sourced]) -> list[dict[Key, list[Sourced]]]:
    """The records of each key, the keys of each layer together, both in order of their first record."""
    layers: dict[Key, dict[Key, list[Sourced]]] = {}
    groups: dict[Key, list[Sourced]] = {}
    for item in found:
        groups.setdefault(item.record.key, []).append(item)
    for key, own in groups.items():
        layers.setdefault(replace(key, algorithm=""), {})[key] = own
    return [*layers.values()]


def best_rows(found: Iterable[Sourced], wanted: Callable[[Key], bool] = lambda key: True) -> Iterator[Row]:
    """For each wanted key what counts, the keys of a layer together.

    auto: the algorithm that auto takes of all that the layer's records know; gain: the time of the kernel by hand over
    the best one's, `by_hand` being its algorithm and `default_seconds` its times, where both were compared.
    """
    for layer in by_layer(found):
        yield from (row for key, row in _layer_rows(layer) if wanted(key))


def _layer_rows(keys: Mapping[Key, Sequence[Sourced]]) -> Iterator[tuple[Key, Row]]:
    first = next(iter(keys))
    candidates = {key.algorithm: Candidate.of(key, own) for key, own in keys.items()}
    layer = LayerRecords(candidates, _shape(first), first.layout)
    for key, own in keys.items():
        comparison = candidates[key.algorithm].comparison
        row = {"kind": "result", **vars(key), "trials": _distinct(own), "auto": layer.auto}
        verdict = {"status": "error", "reason": "nothing has a time"}
        yield key, {**row, **(_verdict(comparison, layer) if comparison else verdict)}


def _shape(key: Key) -> ConvShape | None:
    try:
        return ConvShape.parse(key.workload) if key.layout in AXES else None
    except ValueError:
        return None


def _verdict(comparison: Comparison, layer: LayerRecords) -> Row:
    best = comparison.best.record
    default = layer.by_hand(best)
    reason = unusable(best)
    return {
        **{"status": "rejected" if reason else "ok", "reason": reason, "file": str(comparison.best.path)},
        **{"tile": best.tile, "schedule": "hand" if best.default else "tuned", "stage": best.stage, "cpu": best.cpu},
        **{"time": best.time, "seconds": dict(best.seconds or {}), "gflops": best.gflops},
        "by_hand": default.key.algorithm if default else None,
        "default_seconds": dict(default.seconds or {}) if default else None,
        "gain": default.median / best.median if default else None,
        "withheld": comparison.withheld,
    }


def _distinct(found: Sequence[Sourced]) -> int:
    """Number of distinct trials; one that several files repeat counts once."""
    alike: dict[tuple[str, str, int], list[Record]] = {}
    for record in (item.record for item in found if item.record.stage == "trial"):
        known = alike.setdefault((record.tile, record.time, record.trial), [])
        if record not in known:
            known.append(record)
    return sum(map(len, alike.values()))

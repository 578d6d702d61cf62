"""Decides which record of a key counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from tvmconv.database.log.format.record import Record
from tvmconv.target.devices import LOCAL

Item = TypeVar("Item")

Times = Mapping[str, float] | None  # median, p20, p80 of one call and their number n, as a record has them

# By how much faster than the default another tile has to be to take its place. A final is made in one process; in the
# next, where code and data lie elsewhere, a tile that had won by 2.5 % lost by 2.7.
_LEAST_GAIN = 0.03
_ELSEWHERE = 0.1  # the same on another CPU: nine gains of 2 to 6 % on a Zen 5 were a loss of 3 % on a Xeon
_DEVIATIONS = 2.0  # and by how many standard errors of their difference, since the luckiest of several is taken
_P20_TO_P80 = 1.68  # in standard deviations, of a normal distribution
_OF_MEDIAN = 1.25  # its standard error, in those of the mean


def fastest(
    items: Iterable[Item],
    times: Callable[[Item], Times],
    favoured: Callable[[Item], bool],
    least: float = _LEAST_GAIN,
) -> Item:
    """The one of the least median, but a favoured one, such as the default, unless another is faster by `least` (0.03
    is 3 %), and by more than chance makes it on a core as restless as the times show."""
    known = [(item, times(item)) for item in items]
    if len(known) == 1:  # as most of a large log's finals are
        return known[0][0]
    best, best_times = min(known, key=lambda one: _median(one[1]))
    own = [one for one in known if favoured(one[0])]
    if not own or best_times is None:
        return best
    favourite, its_times = min(own, key=lambda one: _median(one[1]))
    doubt = _DEVIATIONS * math.hypot(_error(best_times), _error(its_times))
    gain = _median(its_times) / _median(best_times) - 1
    return best if gain > max(least, doubt) else favourite


def _median(times: Times) -> float:
    return times["median"] if times else math.inf


def _error(times: Times) -> float:
    """The standard error of the median, as a part of it."""
    if times is None:
        return 0.0
    deviation = (times["p80"] - times["p20"]) / _P20_TO_P80
    return _OF_MEDIAN * deviation / math.sqrt(times["n"]) / times["median"]


class Sourced(NamedTuple):
    """A record and the file that it is in. rank: the place of the file's folder among all, lower first."""

    record: Record
    path: Path
    rank: int = 0


@dataclass(frozen=True)
class Comparison:
    """Records of one key that may be compared: of one file, one CPU and one way to measure; if they are finals, of one
    interleaved run. least: how much faster than the default a tile has to be there to be the best here."""

    records: tuple[Sourced, ...]
    least: float = _LEAST_GAIN

    @cached_property
    def winner(self) -> Sourced:
        """The fastest where it was measured, but the default unless another is clearly faster."""
        return self._fastest(_LEAST_GAIN)

    @cached_property
    def best(self) -> Sourced:
        """The one to use here: the winner, or the default where the winner gained too little on another CPU."""
        return self._fastest(self.least)

    @property
    def withheld(self) -> str | None:
        """Why the winner is not used here, in words; None if it is."""
        winner = self.winner.record
        if self.best.record == winner or self.default is None:
            return None
        gain = self.default.median / winner.median - 1
        return f"{winner.tile} gained {gain:.1%} on {winner.cpu}: less than {self.least:.0%} there is not taken here"

    def _fastest(self, least: float) -> Sourced:
        return fastest(self.records, lambda item: item.record.seconds, lambda item: item.record.default, least)

    @cached_property
    def default(self) -> Record | None:
        """The hand-written schedule's tile, if it was measured beside the others; its fastest measurement."""
        own = [item.record for item in self.records if item.record.default]
        return min(own, key=lambda record: record.median, default=None)


def least_gain(record: Record, cpu: str | None) -> float:
    """The least gain over the default, where the record was measured, for which a tile is used on the CPU of that name;
    None for any. A device is what it was tuned for, whatever CPU this is."""
    return _LEAST_GAIN if record.device != LOCAL or cpu in (None, record.cpu) else _ELSEWHERE


def decide(found: Iterable[Sourced], cpu: str | None) -> Comparison | None:
    """The comparison that counts among the records of one key; None if there is none.

    Finals, in which the best were measured again side by side with the default, count more than trials; what was
    measured on this CPU (`cpu`: its name; None if none is nearer than others) more than what was measured on another of
    the same features; then the order of folders decides, at last the time. On another CPU large gains over the default
    count alone, so that a final without one counts less than any trial of this CPU. A tile that gave a wrong result
    anywhere counts nowhere.
    """
    found = list(found)
    wrong = {item.record.tile for item in found if item.record.status == "wrong"}
    right = [item for item in found if item.record.tile not in wrong]
    groups: dict[tuple[Path, str, str], list[Sourced]] = {}
    for item in right:
        groups.setdefault((item.path, item.record.cpu, item.record.method), []).append(item)
    comparisons = [comparison for group in groups.values() for comparison in _comparisons(group, cpu)]
    return max(comparisons, key=lambda comparison: _weight(comparison, cpu), default=None)


def _weight(comparison: Comparison, cpu: str | None) -> tuple[bool, bool, bool, int, str]:
    best, final = comparison.best, comparison.best.record.stage == "final"
    decisive = final and (comparison.least == _LEAST_GAIN or not best.record.default)
    return decisive, best.record.cpu == cpu, final, -best.rank, best.record.time


def _comparisons(group: Sequence[Sourced], cpu: str | None) -> list[Comparison]:
    """One comparison of all trials, and one of the finals of each interleaved run, which share one time."""
    runs: dict[str | None, list[Sourced]] = {}
    for item in group:
        if item.record.status == "ok":
            runs.setdefault(item.record.time if item.record.stage == "final" else None, []).append(item)
    least = least_gain(group[0].record, cpu)
    return [Comparison(tuple(records), least) for records in runs.values()]

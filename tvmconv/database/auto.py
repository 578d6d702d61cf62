"""The choice of `auto`: the algorithm with the fastest tuning record, or else the one of the rule."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tvmconv.database import heuristic
from tvmconv.database.log import Logs
from tvmconv.database.log.best import fastest, least_gain
from tvmconv.database.log.lookup import nearest_cpu
from tvmconv.database.tuned import HAND, TUNED, Scheduled, scheduled
from tvmconv.schedules.unsuited import Unsuited

if TYPE_CHECKING:
    from tvmconv.compiler.builder import Request
    from tvmconv.database.log import Record
    from tvmconv.workload.shape import ConvShape

_APART = 1.05  # how far two finals of one kernel may lie apart that are made at different times


def best(asked: Request, threads: int, logs: Logs | None) -> Scheduled:
    """The first of the candidates. Raises ValueError where there is none, with the reason."""
    unsuited: Unsuited | None = None
    for _, found in candidates(asked, threads, logs):
        if isinstance(found, Scheduled):
            return found
        unsuited = unsuited or found
    raise unsuited or ValueError(f"no algorithm computes {asked.shape} in layout {asked.layout or heuristic.LAYOUT}")


def candidates(asked: Request, threads: int, logs: Logs | None) -> Iterator[tuple[str, Scheduled | Unsuited]]:
    """The candidates for a request of any algorithm, best first, each with its source: records or the rule.

    Why one of the rule's algorithms is of no use here comes in its place. Raises ValueError as tuned.scheduled does.
    """
    layout = asked.layout or heuristic.LAYOUT
    suited, able = heuristic.preferred(asked.shape, layout), heuristic.able(asked.shape, layout)
    by_rule: list[Scheduled] = []
    for name in suited:
        try:
            by_rule.append(scheduled(replace(asked, algorithm=name), threads, logs))
        except Unsuited as error:
            yield "rule", error
    recorded = _recorded(asked, able[len(suited) :], threads, logs)
    if recorded and by_rule and not by_rule[0].tuned_by and logs:
        names = ", ".join(one.request.algorithm for one in recorded)
        logs.say_refused(f"{asked.shape}: records know {names}, but not {suited[0]}, which the rule takes; see tune")
    compared = [*by_rule, *recorded]
    yield from (("records", compared[place]) for place in _by_speed([one.record for one in compared]))
    yield from (("rule", found) for found in by_rule)
    if asked.schedule == TUNED:  # though the rule would have another
        yield from (("records", found) for found in recorded)


def by_records(shape: ConvShape, layout: str, records: Mapping[str, Record]) -> str | None:
    """The algorithm that auto takes where the logs have these records of a layer, by algorithm; None if none can."""
    names = heuristic.able(shape, layout)
    suited = len(heuristic.preferred(shape, layout))
    compared = [name for place, name in enumerate(names) if place < suited or name in records]
    places = _by_speed([records.get(name) for name in compared])
    return compared[places[0] if places else 0] if compared else None


def _recorded(asked: Request, names: Sequence[str], threads: int, logs: Logs | None) -> list[Scheduled]:
    """The algorithms that have a usable tuning record."""
    found = []
    for name in () if asked.schedule == HAND or asked.tile else names:
        with contextlib.suppress(Unsuited):
            found.append(scheduled(replace(asked, algorithm=name, schedule=TUNED), threads, logs))
    return found


def _by_speed(records: Sequence[Record | None]) -> list[int]:
    """The places of the records that may be compared with the first, fastest first. None of them if there is no first,
    or no other: then there is nothing to choose by.
    """
    first = records[0] if records else None
    if first is None:
        return []
    times = {place: beside for place, one in enumerate(records) if (beside := _times_beside(first, one))}
    if len(times) < 2:
        return []
    least = least_gain(first, nearest_cpu(first.key))
    best = fastest(times, times.__getitem__, lambda place: place == 0, least)
    return [best, *sorted(times.keys() - {best}, key=lambda place: times[place]["median"])]


def _times_beside(first: Record, other: Record | None) -> Mapping[str, float] | None:
    """The times of a record where they are comparable with the first's: of the same CPU, and both of finals, or of
    trials measured alike; with an allowance if it is of another final."""
    if other is None or other.seconds is None or (other.cpu, other.stage) != (first.cpu, first.stage):
        return None
    if first.stage == "final":
        allowance = 1.0 if other.time == first.time else _APART
        return {**other.seconds, "median": other.seconds["median"] * allowance}
    return other.seconds if other.method == first.method else None

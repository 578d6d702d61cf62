"""What `auto` takes for a problem: the algorithm whose tuning record is the fastest, else the one of the rule."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from schedules.unsuited import Unsuited
from tvmconv import choose
from tvmconv.log import Logs
from tvmconv.log.best import fastest
from tvmconv.tuned import HAND, TUNED, Scheduled, scheduled

if TYPE_CHECKING:
    from tvmconv.builder import Request


def best(asked: Request, threads: int, logs: Logs | None) -> Scheduled:
    """The first of the candidates. Raises ValueError where there is none, with the reason."""
    unsuited: Unsuited | None = None
    for _, found in candidates(asked, threads, logs):
        if isinstance(found, Scheduled):
            return found
        unsuited = unsuited or found
    raise unsuited or ValueError(f"no algorithm computes {asked.shape} in layout {asked.layout or choose.LAYOUT}")


def candidates(asked: Request, threads: int, logs: Logs | None) -> Iterator[tuple[str, Scheduled | Unsuited]]:
    """What may be taken for a request of any algorithm, best first, each with who says so: records or rule.

    Why one of the rule's algorithms is of no use here comes in its place. Raises ValueError as tuned.scheduled does.
    """
    layout = asked.layout or choose.LAYOUT
    suited, able = choose.preferred(asked.shape, layout), choose.able(asked.shape, layout)
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
    yield from (("records", found) for found in _by_speed([*by_rule, *recorded]))
    yield from (("rule", found) for found in by_rule)
    if asked.schedule == TUNED:  # though the rule would have another
        yield from (("records", found) for found in recorded)


def _recorded(asked: Request, names: Sequence[str], threads: int, logs: Logs | None) -> list[Scheduled]:
    """Those of the algorithms that have a tuning record, where one may be used."""
    found = []
    for name in () if asked.schedule == HAND or asked.tile else names:
        with contextlib.suppress(Unsuited):
            found.append(scheduled(replace(asked, algorithm=name, schedule=TUNED), threads, logs))
    return found


def _by_speed(found: Sequence[Scheduled]) -> list[Scheduled]:
    """Those whose records may be compared with that of the first, fastest first: of the same CPU, and of finals if that
    is of one. None of them if it has none, or if there is no other: then there is nothing to choose by.
    """
    cpus = [one.tuned_by["cpu"] if one.tuned_by else None for one in found]
    known = [one for one, cpu in zip(found, cpus, strict=True) if cpu is not None and cpu == cpus[0]]
    known = [one for one in known if one.final or not known[0].final]
    if len(known) < 2:
        return []
    best = fastest(known, lambda one: one.seconds, lambda one: one is found[0])
    return [best, *sorted((one for one in known if one is not best), key=lambda one: one.seconds)]

"""Chooses a kernel's schedule: the tuned one if a log has a record of its key, else the default."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tvmconv.database.heuristic import AUTO
from tvmconv.database.log import Key, Logs, Record, Sourced
from tvmconv.database.rows import Row
from tvmconv.schedules.unsuited import Unsuited
from tvmconv.target.tile import Tile

if TYPE_CHECKING:
    from tvmconv.compiler.builder import Request

HAND, TUNED = "hand", "tuned"


@dataclass(frozen=True)
class Scheduled:
    """A checked request of schedule hand or tuned; hand, too, where the search found nothing better that counts here.

    tuned_by: the file, CPU and time of the record that says so; record: itself, where it has been looked up. None where
    there is no record, or none was asked for.
    """

    request: Request
    tuned_by: Row | None = None
    record: Record | None = None


def scheduled(request: Request, threads: int, logs: Logs | None) -> Scheduled:
    """The request with its schedule and its tile decided.

    Its schedule is hand, tuned, or auto: tuned where there is a record that can be used, else hand; a tile of its own
    is a tile by hand. Raises Unsuited where a tuned schedule is asked for and there is none, with the reason; else as
    Request.check does.
    """
    if request.schedule not in (AUTO, TUNED):
        return Scheduled(request.check())
    if request.tile and request.schedule == TUNED:
        raise ValueError("a tuned schedule brings the tile of its record: leave the tile out, or take schedule hand")
    by_hand = replace(request, schedule=HAND).check()  # says what is wrong with the rest, too
    if request.tile or logs is None:
        if request.schedule == TUNED:
            raise Unsuited("no tuning logs are looked at here")
        return Scheduled(by_hand)
    return _looked_up(request, by_hand, Key.of(request, threads), logs)


def _looked_up(request: Request, by_hand: Request, key: Key, logs: Logs) -> Scheduled:
    best = logs.best(key).best
    reason = logs.why_not(key) if best is None and request.schedule == TUNED else None
    if best:
        try:
            tuned = _by_record(by_hand, best)
            return Scheduled(tuned, _origin(best), best.record)
        except ValueError as error:
            reason = f"the record of {key} in {best.path} cannot be used: {error}"
            logs.say_refused(reason)
    if reason and request.schedule == TUNED:
        raise Unsuited(reason)
    return Scheduled(by_hand)


def _by_record(by_hand: Request, best: Sourced) -> Request:
    """The default's record stands for the kernel by hand, as it is by now."""
    if best.record.default:
        return by_hand
    return replace(by_hand, schedule=TUNED, tile=Tile.parse(best.record.tile)).check()


def _origin(best: Sourced) -> Row:
    return {"file": str(best.path), "cpu": best.record.cpu, "time": best.record.time}

"""Which turns of a contestant count, and for how much."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.contestants import HERE, fake, run
from tvmconv.measure.contestant import Check, Play, Ready, Right, Turn
from tvmconv.measure.interleaved import Best, Rules, chosen

pytestmark = pytest.mark.alone


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process and those of the contestants find fake_contestant.py."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{HERE.parent}")


class Told:
    """A contestant's process that has the turns which it is told."""

    def __init__(self, *turns: Turn) -> None:
        self._turns = iter(turns)

    def ask(self, message: Any, patience: float) -> Any:
        match message:
            case Play():
                return next(self._turns)
            case Check():
                return Right(0.0)
        return Ready("1", "nhwc")

    def kill(self) -> None:
        pass


PROFILED = Turn(seconds=1.0, peak=100.0, tile=100.0, whole_call=2.0)
PREEMPTED = Turn(seconds=5.0, peak=100.0, tile=100.0, share=0.5, whole_call=5.0)


@pytest.mark.parametrize(
    ("turns", "median", "whole_call"),
    [
        ([PROFILED] * 3, 1.0, 2.0),
        ([PREEMPTED] * 12, 5.0, 5.0),  # whole calls
        ([*[PREEMPTED] * 11, PROFILED], 2.5, 5.0),
    ],
)
def test_slow_turns_count_as_much_of_a_call_as_a_profiler_has_seen(
    turns: list[Turn], median: float, whole_call: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tvmconv.measure.interleaved._PAUSE", 0.0)
    rules = Rules(samples=3, max_time=20.0)
    (measurement,) = run(fake(), rules=rules, start=lambda: Told(*turns), best=Best(100.0, 100.0)).measurements
    assert measurement.seconds and measurement.seconds.median == median
    assert measurement.whole_call == whole_call
    assert measurement.offered == (1.0 if turns[0] == PROFILED else 0.5)


def turn(number: int, tile: float, share: float = 1.0) -> Turn:
    return Turn(seconds=number, peak=tile, tile=tile, share=share)


@pytest.mark.parametrize(
    ("probes", "fast", "slow"),
    [
        ((100, 100, 100), (0, 1), ()),  # enough: the first ones
        ((100, 50, 91, 100), (0, 2), ()),  # one thrown away
        ((100, 50, 60, 89.9), (0,), (3,)),  # filled up with the nearest
        ((50,), (), (0,)),
        ((), (), ()),
    ],
)
def test_the_turns_that_count(probes: tuple[float, ...], fast: tuple[int, ...], slow: tuple[int, ...]) -> None:
    turns = [turn(number, tile) for number, tile in enumerate(probes)]
    choice = chosen(turns, samples=2, best=100)
    assert tuple(taken.seconds for taken in choice.fast) == fast
    assert tuple(taken.seconds for taken in choice.slow) == slow


def test_a_turn_without_the_core_does_not_count() -> None:
    shared, alone = turn(1, 100, share=0.5), turn(2, 100, share=0.99)
    assert chosen([shared, alone], samples=1, best=100).fast == (alone,)

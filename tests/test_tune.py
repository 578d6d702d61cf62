"""The search and its runs, with made-up times: what is proposed, what a log makes of an interrupted run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake_trial_runner import FakeTrialRunner, outcome
from tests.racing import LAYERS, RACE, plan, race, request, run
from tests.tuning import record
from tvmconv.compiler.builder import Request
from tvmconv.database.log import Key, Log
from tvmconv.database.log.best import Sourced, decide
from tvmconv.target.targets import parse
from tvmconv.target.tile import Tile
from tvmconv.tune import METASCHEDULE, RANDOM, XGB
from tvmconv.tune.outcome import Outcome
from tvmconv.tune.run import Plan
from tvmconv.tune.runner import LocalTrialRunner
from tvmconv.tune.searchers import searcher
from tvmconv.tune.space import Space
from tvmconv.tune.tuner import State, Winner, tune


def test_the_same_seed_brings_the_same_trials_and_the_first_is_the_default(tmp_path: Path) -> None:
    runners = [FakeTrialRunner() for _ in range(3)]
    for runner, name, seed in zip(runners, "abc", (0, 0, 1), strict=True):
        run(tmp_path / name, runner, seed=seed)
    assert runners[0].made == runners[1].made != runners[2].made
    assert all(runner.made[0][1] == request().tile for runner in runners)


@pytest.mark.parametrize(
    ("name", "dies_at"),
    [*itertools.product([XGB, RANDOM], [0, 1, 7, 8, 19, 20, 29, 47]), (METASCHEDULE, 19), (METASCHEDULE, 29)],
)
def test_what_is_killed_and_resumed_makes_the_trials_of_an_uninterrupted_run(
    tmp_path: Path, name: str, dies_at: int
) -> None:
    """Three layers, each taught by those before it; 48 trials in all."""
    whole, first, second = FakeTrialRunner(), FakeTrialRunner(dies_at=dies_at), FakeTrialRunner()
    winners = run(tmp_path / "whole", whole, LAYERS, 16, name=name)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "log", first, LAYERS, 16, name=name)
    again = run(tmp_path / "log", second, LAYERS, 16, name=name)
    assert first.made + second.made == whole.made
    assert [winner.request.tile for winner in again] == [winner.request.tile for winner in winners]
    names = [(item.key.workload, item.tile, item.trial, item.stage) for item in Log(tmp_path / "whole").records()]
    assert names == [(item.key.workload, item.tile, item.trial, item.stage) for item in Log(tmp_path / "log").records()]


def test_a_larger_budget_goes_on_and_the_same_one_measures_nothing(tmp_path: Path) -> None:
    whole, some, more, none = FakeTrialRunner(), FakeTrialRunner(), FakeTrialRunner(), FakeTrialRunner()
    run(tmp_path / "whole", whole, trials=30)
    run(tmp_path / "log", some, trials=11)
    run(tmp_path / "log", more, trials=30)
    assert some.made + more.made == whole.made
    assert (len(whole.made), len(some.made)) == (30, 11)
    (winner,) = run(tmp_path / "log", none, trials=30)
    assert (none.made, none.finals_made) == ([], 0)
    assert (winner.state.done, winner.state.measured) == (30, 0)


def test_another_seed_knows_what_was_measured_and_measures_none_of_it_again(tmp_path: Path) -> None:
    one, other = FakeTrialRunner(), FakeTrialRunner()
    (first,) = run(tmp_path / "log", one, trials=24)
    (second,) = run(tmp_path / "log", other, trials=8, seed=1)
    assert len(other.made) == 8 and not set(one.made) & set(other.made)
    assert second.outcome.median <= first.outcome.median
    finalists = [item.tile for item in Log(tmp_path / "log").records() if item.stage == "final" and item.seed == 1]
    assert set(finalists) & {str(tile) for _, tile in one.made[1:]}


def test_no_resume_measures_all_anew(tmp_path: Path) -> None:
    one, other = FakeTrialRunner(), FakeTrialRunner()
    run(tmp_path / "log", one)
    run(tmp_path / "log", other, resume=False)
    assert other.made == one.made and other.finals_made == 1


def test_trials_of_another_day_are_counted_by_the_same_full_speed() -> None:
    """A runner that is not started yet, so that it cannot have asked the cores."""
    isa = parse("x86-64-v3").isa
    earlier = {**LocalTrialRunner(1, [0], 1, isa)._protocol(97.25)}
    runner = LocalTrialRunner(1, [0], 1, isa)
    runner.go_on([{**earlier, "samples": 99}, earlier, {}, {**earlier, "check": "none"}])
    assert runner.protocol == earlier


def test_a_layers_own_trials_say_how_to_go_on(tmp_path: Path) -> None:
    """Though another tuner has written to the file since, by another full speed."""

    class Listening(FakeTrialRunner):
        def go_on(self, protocols: Sequence[Mapping[str, object]]) -> None:
            self.heard = [*protocols]

    for layer in LAYERS[:2]:
        written = Key.of(request(layer), 1)
        Log(tmp_path / "log").append(record(key=written, protocol={"of": layer}, cpu="a CPU"))
    runner = Listening()
    run(tmp_path / "log", runner)
    assert runner.heard == [{"of": LAYERS[1]}, {"of": LAYERS[0]}]


def test_a_final_is_repeated_when_it_failed_or_others_came_between(tmp_path: Path) -> None:
    """What is remembered belongs to one interleaved run."""

    class Broken(FakeTrialRunner):
        def finals(self, requests: Sequence[Request]) -> Iterator[Outcome]:
            return iter([Outcome("error", "crashed") for _ in requests])

    log = tmp_path / "log"
    assert race(log, Broken(), 24).outcome.seconds is None
    runners = [FakeTrialRunner() for _ in range(4)]
    winner = race(log, runners[0], 24)
    assert (runners[0].made, runners[0].finals_made) == ([], 1) and winner.outcome.seconds
    other = plan(request(LAYERS[0], "im2row"))
    tune([other], 9, runners[1], Log(log), lambda state: None)
    assert race(log, runners[2], 24).request == winner.request and runners[2].finals_made == 1
    race(log, runners[3], 24)
    assert runners[3].finals_made == 0
    # One algorithm's final alone, though no trial came with it.
    by_hand = [item for item in Log(log).records() if (item.stage, item.key.algorithm) == ("final", RACE[0])]
    Log(log).append(replace(by_hand[-1], time="2100-01-01T00:00:00.000+00:00"))
    race(log, runners[3], 24)
    assert (runners[3].made, runners[3].finals_made) == ([], 1)


def test_trials_that_do_not_count_are_told(tmp_path: Path) -> None:
    class Another(FakeTrialRunner):
        @property
        def protocol(self) -> Mapping[str, object]:
            return {"fake": "in another way"}

    said: list[str] = []
    run(tmp_path / "log", FakeTrialRunner(), trials=9)
    runner = Another()
    tune([plan(request())], 5, runner, Log(tmp_path / "log", said.append), lambda state: None)
    assert len(runner.made) == 5 and len(said) == 1
    assert f"9 of 9 trials of {Key.of(request(), 1)} do not count here" in said[0]


def test_there_is_no_gain_over_a_kernel_by_hand_that_failed(tmp_path: Path) -> None:
    class Wrong(FakeTrialRunner):
        def outcome(self, asked: Request, tile: Tile) -> Outcome:
            hand = (asked.algorithm, tile) == (RACE[0], asked.tile)
            return Outcome("wrong", "1 of 720 outputs is wrong") if hand else super().outcome(asked, tile)

    winner = race(tmp_path / "log", Wrong(), 24)
    assert winner.outcome.seconds and winner.default.status == "wrong" and winner.state.gain is None


def test_what_one_algorithm_has_had_takes_nothing_from_the_others(tmp_path: Path) -> None:
    """Neither of their trials, nor, when they win, of what its own final chose."""
    alone = plan(request(LAYERS[0], "direct"))
    settled = tune([alone], 40, FakeTrialRunner(), Log(tmp_path / "log"), lambda state: None)
    runner = FakeTrialRunner()
    winner = race(tmp_path / "log", runner, 24)
    assert set(runner.algorithms) == {*RACE} - {"direct"} and winner.state.done == 24
    assert winner.request.algorithm != "direct"
    finals = [Sourced(one, tmp_path) for one in Log(tmp_path / "log").records() if one.stage == "final"]
    comparison = decide([one for one in finals if one.record.key.algorithm == "direct"], "a CPU")
    assert comparison and comparison.best.record.tile == str(settled.request.tile)


@pytest.mark.parametrize(
    "difference",
    [
        {"device": "KEY at 127.0.0.1:1"},
        {"protocol": {}},
        {"cpu": "another CPU"},
        {"versions": replace(record().versions, space=-1)},
        {"key": replace(Key.of(request(), 1), threads=2)},
        {"key": replace(Key.of(request(), 1), features=("avx",))},
    ],
)
def test_what_was_measured_otherwise_does_not_count(tmp_path: Path, difference: dict[str, object]) -> None:
    plain = FakeTrialRunner()
    run(tmp_path / "plain", plain)
    for item in Log(tmp_path / "plain").records():
        Log(tmp_path / "log").append(replace(item, **difference))
    runner = FakeTrialRunner()
    run(tmp_path / "log", runner)
    assert runner.made == plain.made


def test_other_layers_teach_the_model(tmp_path: Path) -> None:
    alone, taught = FakeTrialRunner(), FakeTrialRunner()
    run(tmp_path / "alone", alone, LAYERS[2:])
    run(tmp_path / "log", taught, [LAYERS[0], LAYERS[2]])
    assert taught.made[20:] != alone.made


def test_the_final_decides_and_the_default_keeps_its_place_unless_another_is_clearly_faster(tmp_path: Path) -> None:
    class Level(FakeTrialRunner):
        """Finals in which all are as fast, but for half a percent."""

        def finals(self, requests: Sequence[Request]) -> Iterator[Outcome]:
            first = outcome(requests[0], request().tile or Tile(1, 16))
            assert first.seconds
            for number, _ in enumerate(requests):
                yield replace(first, seconds=replace(first.seconds, median=first.median * (1 - number * 1e-3)))

    (winner,) = run(tmp_path / "log", FakeTrialRunner())
    assert winner.request.tile != request().tile and winner.outcome.median < winner.default.median
    (level,) = run(tmp_path / "level", Level())
    assert level.request.tile == request().tile
    finals = [item for item in Log(tmp_path / "log").records() if item.stage == "final"]
    assert 2 <= len(finals) <= 6 and [item.default for item in finals].count(True) == 1


def test_progress_tells_of_every_trial_and_of_what_went_wrong(tmp_path: Path) -> None:
    states: list[State] = []
    tune([plan(request())], 40, FakeTrialRunner(), Log(tmp_path / "log"), states.append)
    assert [state.done for state in states] == list(range(41))
    failures = [state.failure for state in states if state.failure]
    assert failures and all("1 of 720 outputs is wrong" in failure for failure in failures)
    assert states[-1].failed == len(failures)
    assert states[-1].gain >= 1 and states[-1].default_seconds >= states[-1].seconds


def test_a_space_that_is_exhausted_ends_the_run(tmp_path: Path) -> None:
    runner, again = FakeTrialRunner(), FakeTrialRunner()
    shape = "g8ic8ih1oc8kh1"
    (winner,) = _small(tmp_path / "log", runner, shape)
    assert 1 <= len(runner.made) < 500 and winner.state.done == len(set(runner.made))
    _small(tmp_path / "log", again, shape)
    assert not again.made


def _small(log: Path, runner: FakeTrialRunner, shape: str) -> list[Winner]:
    search = searcher(RANDOM)(Space(request(shape, "direct")), 0)
    return [tune([Plan(search, 1)], 500, runner, Log(log), lambda state: None)]

"""The search and its runs, with made-up times: what is proposed, what a log makes of an interrupted run."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake_trial_runner import FakeTrialRunner, outcome
from tests.tuning import record
from tvmconv.compiler.builder import Request, build_all
from tvmconv.database.log import Key, Log
from tvmconv.database.log.best import Sourced, decide
from tvmconv.target.dtype import FLOAT32
from tvmconv.target.targets import parse
from tvmconv.target.tile import Tile
from tvmconv.tune import METASCHEDULE, RANDOM, XGB, tuner
from tvmconv.tune.outcome import Outcome
from tvmconv.tune.run import Plan
from tvmconv.tune.runner import LocalTrialRunner
from tvmconv.tune.searchers import searcher
from tvmconv.tune.space import Space
from tvmconv.tune.tuner import State, Winner, tune
from tvmconv.verify.check import Check, verify
from tvmconv.workload.shape import ConvShape

LAYERS = ("ic64ih14oc64kh3ph1", "ic32ih28oc64kh1", "ic64ih7oc128kh3ph1")


def request(text: str = LAYERS[0], algorithm: str = "indirect", target: str = "x86-64-v4") -> Request:
    return Request(ConvShape.parse(text), algorithm, target).check()


def plan(asked: Request, seed: int = 0, known: Tile | None = None) -> Plan:
    return Plan(searcher(XGB)(Space(asked), seed), 1, known=known)


def run(
    log: Path,
    runner: FakeTrialRunner,
    layers: Sequence[str] = LAYERS[:1],
    trials: int = 20,
    seed: int = 0,
    name: str = XGB,
    resume: bool = True,
) -> list[Winner]:
    plans = [Plan(searcher(name)(Space(request(layer)), seed), 1, resume) for layer in layers]
    return [tune([plan], trials, runner, Log(log), lambda state: None) for plan in plans]


def test_the_same_seed_brings_the_same_trials_and_the_first_is_the_default(tmp_path: Path) -> None:
    labs = [FakeTrialRunner() for _ in range(3)]
    for runner, name, seed in zip(labs, "abc", (0, 0, 1), strict=True):
        run(tmp_path / name, runner, seed=seed)
    assert labs[0].made == labs[1].made != labs[2].made
    assert all(runner.made[0][1] == request().tile for runner in labs)


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


RACE = ("direct", "im2row", "indirect", "kn2col", "winograd")  # the first: by hand


def race(log: Path, runner: FakeTrialRunner, trials: int, seed: int = 0) -> Winner:
    plans = [plan(request(LAYERS[0], name), seed) for name in RACE]
    return tune(plans, trials, runner, Log(log), lambda state: None)


@pytest.mark.parametrize("trials", [1, 3, 5, 9, 40, 60])
def test_algorithms_share_a_budget_and_the_fastest_has_most_of_it(tmp_path: Path, trials: int) -> None:
    runner = FakeTrialRunner()
    winner = race(tmp_path / "log", runner, trials)
    made = Counter(runner.algorithms)
    assert made.total() == len(set(zip(runner.algorithms, runner.made, strict=True))) == winner.state.done == trials
    assert set(made) == set(RACE[:trials])
    if trials >= 40:
        assert made["kn2col"] == made["im2row"] == 1 and made["direct"] > 1
        assert made[winner.request.algorithm] > trials / 2
    finals = [item for item in Log(tmp_path / "log").records() if item.stage == "final"]
    assert {item.key.algorithm for item in finals} == {"direct", winner.request.algorithm}
    assert [item.key.algorithm for item in finals if item.default].count("direct") == 1
    assert winner.default.median == outcome(request(LAYERS[0], "direct"), request().tile or Tile(1, 16)).median
    assert winner.outcome.median <= winner.default.median


class Upset(FakeTrialRunner):
    """By hand the default is the slowest of all, and every other tile the fastest."""

    def outcome(self, asked: Request, tile: Tile) -> Outcome:
        found = super().outcome(asked, tile)
        if asked.algorithm != RACE[0] or found.seconds is None:
            return found
        return replace(found, seconds=replace(found.seconds, median=found.median * (9 if tile == asked.tile else 0.1)))


@pytest.mark.parametrize("kind", [FakeTrialRunner, Upset])
@pytest.mark.parametrize("dies_at", [0, 3, 5, 12, 25, 39])
def test_a_race_that_is_killed_goes_on_as_it_would_have(
    tmp_path: Path, dies_at: int, kind: type[FakeTrialRunner]
) -> None:
    whole, first, second, none = kind(), kind(dies_at=dies_at), kind(), kind()
    winner = race(tmp_path / "whole", whole, 40)
    with pytest.raises(KeyboardInterrupt):
        race(tmp_path / "log", first, 40)
    assert race(tmp_path / "log", second, 40).request == winner.request
    assert first.made + second.made == whole.made
    assert first.algorithms + second.algorithms == whole.algorithms
    assert race(tmp_path / "log", none, 40).request == winner.request and (none.made, none.finals_made) == ([], 0)


def test_what_all_logs_hold_to_be_the_best_is_measured_beside_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a final of few trials would take its place; but for algorithms that are far behind."""
    monkeypatch.setattr(tuner, "_NEAR", 2.0)
    known = Tile.parse("2x16_kr4_mc0_kc0_pf2_st0")
    plans = [plan(request(LAYERS[0], name), known=known) for name in RACE]
    tune(plans, 9, FakeTrialRunner(), Log(tmp_path / "log"), lambda state: None)
    finals = [item for item in Log(tmp_path / "log").records() if item.stage == "final"]
    assert [item.key.algorithm for item in finals if item.tile == str(known)] == ["direct", "winograd", "indirect"]


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
    labs = [FakeTrialRunner() for _ in range(4)]
    winner = race(log, labs[0], 24)
    assert (labs[0].made, labs[0].finals_made) == ([], 1) and winner.outcome.seconds
    other = plan(request(LAYERS[0], "im2row"))
    tune([other], 9, labs[1], Log(log), lambda state: None)
    assert race(log, labs[2], 24).request == winner.request and labs[2].finals_made == 1
    race(log, labs[3], 24)
    assert labs[3].finals_made == 0
    # One algorithm's final alone, though no trial came with it.
    by_hand = [item for item in Log(log).records() if (item.stage, item.key.algorithm) == ("final", RACE[0])]
    Log(log).append(replace(by_hand[-1], time="2100-01-01T00:00:00.000+00:00"))
    race(log, labs[3], 24)
    assert (labs[3].made, labs[3].finals_made) == ([], 1)


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


# Every algorithm in its layout; groups, depthwise, strides, channels that are no multiple of anything.
PROBLEMS = {
    "ic64ih14oc64kh3ph1": (
        "indirect",
        "im2row",
        "kn2col",
        "kn2col-as",
        "im2col",
        "kn2row",
        "kn2row-as",
        "kn2row-aa",
        "winograd",
    ),
    "ic3ih32oc24kh3sh2ph1": ("indirect", "direct", "im2col"),
    "ic96ih9oc70kh1": ("gemm", "kn2row-aa"),
    "g32ic32ih15oc32kh3ph1": ("direct",),
    "g4ic64ih15oc64kh3ph1": ("direct", "indirect"),
}
CASES = [(text, name) for text, names in PROBLEMS.items() for name in names]


def some_tiles(space: Space) -> list[Tile]:
    state = random.Random(0)
    drawn = [space.draw(state) for _ in range(60)]
    near = [space.neighbour(space.default, state) for _ in range(60)]
    return list(dict.fromkeys(tile for tile in (*drawn, *near) if tile))


@pytest.mark.parametrize("target", ["x86-64-v4", "x86-64-v3", "cortex-a76"])
def test_every_tile_of_a_space_fits_the_registers_and_the_layer(target: str) -> None:
    for text, name in CASES:
        space = Space(request(text, name, target))
        tiles = some_tiles(space)
        for tile in (space.default, *tiles):
            assert parse(target).isa.fits(tile, FLOAT32) and space.contains(tile), (text, name, tile)


def test_tiles_of_a_space_build_and_are_exact() -> None:
    """One of each case, not the default; what this machine cannot run is built."""
    requests = []
    for target in ("native", "x86-64-v3", "cortex-a76"):
        for text, name in CASES if target == "native" else CASES[-3:]:
            space = Space(request(text, name, target))
            requests.append(replace(space.request, tile=some_tiles(space)[-1]))
    files = build_all(requests, 2)
    assert all(isinstance(file, Path) for file in files.values()), files
    runnable = {one: file for one, file in files.items() if isinstance(file, Path) and not one.made_for.missing_here}
    assert len(runnable) >= len(CASES)
    verdicts = verify([Check(file, one.shape) for one, file in runnable.items()], 2)
    assert [verdict.reason for verdict in verdicts if not verdict.exact] == []

"""Algorithms of a layer share a budget of trials."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake_trial_runner import FakeTrialRunner, outcome
from tests.racing import LAYERS, RACE, plan, race, request
from tvmconv.compiler.builder import Request
from tvmconv.database.log import Log
from tvmconv.target.tile import Tile
from tvmconv.tune import tuner
from tvmconv.tune.outcome import Outcome
from tvmconv.tune.tuner import tune


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

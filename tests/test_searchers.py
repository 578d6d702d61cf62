"""What MetaSchedule makes of our kernels, and searchers compared."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake_trial_runner import FakeTrialRunner, outcome
from tvmconv import cli
from tvmconv.bench.compare_searchers import Comparison
from tvmconv.bench.plan import Setting, blank_row
from tvmconv.cli.scripts import arguments as scripts
from tvmconv.cli.scripts.searchers import searchers_table
from tvmconv.compiler.builder import Request, build_all
from tvmconv.report.tables import show
from tvmconv.rpc.errors import DeviceError
from tvmconv.target.targets import parse
from tvmconv.target.tile import Tile
from tvmconv.tune import METASCHEDULE, RANDOM, XGB
from tvmconv.tune.metaschedule import trace_search
from tvmconv.tune.metaschedule.driver import tune_by_metaschedule
from tvmconv.tune.metaschedule.sketch import module, request_of, sketched, tile_of
from tvmconv.tune.metaschedule.trace_search import TraceSearch
from tvmconv.tune.outcome import Measured, Outcome
from tvmconv.tune.runner import LocalTrialRunner, MeasureConfig
from tvmconv.tune.searchers import searcher
from tvmconv.tune.space import Space
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

CPU = min(os.sched_getaffinity(0))
SMALL = "ic8ih6oc20kh3ph1"


def request(text: str = SMALL, algorithm: str = "direct", target: str = "x86-64-v4") -> Request:
    return Request(ConvShape.parse(text), algorithm, target).check()


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request("ic64ih14oc64kh3ph1", "winograd"),
        request("g32ic32ih15oc32kh3ph1"),
        request("ic96ih9oc70kh1", "gemm", "cortex-a76"),
        Request(ConvShape.parse("ic64ih14oc64kh3ph1"), "kn2row", "x86-64-v3", layout="nchw").check(),
    ],
    ids=lambda asked: asked.prefix,
)
def test_a_trace_is_a_tile(asked: Request) -> None:
    """Each that is proposed is in the space, the default first; what stands for a tile says what it stands for."""
    assert request_of(module(asked)) == asked
    search = TraceSearch(Space(asked))
    tiles = search.batch(0)
    assert tiles[0] == asked.tile and len(set(tiles)) == len(tiles) == trace_search.BATCH
    for tile in tiles:
        assert search.space.contains(tile) and tile_of(sketched(asked, tile)) == tile


def test_a_tile_that_the_space_does_not_draw_can_be_told_of() -> None:
    """As a log may have it."""
    asked = request()
    search, odd = TraceSearch(Space(asked)), Tile.parse("3x16_kr1_mc9_kc0_pf3_st0")
    search.tell(odd, 1e-6)
    assert odd not in search.batch(0)


def test_the_search_finds_what_is_fast() -> None:
    """In times that a model can learn, far from the default."""
    asked = request("ic64ih14oc64kh3ph1", "indirect")
    search, seen = TraceSearch(Space(asked)), dict[Tile, float]()
    for number in range(6):
        for tile in search.batch(number):
            assert tile not in seen
            seen[tile] = outcome(asked, tile).median
            search.tell(tile, seen[tile])
    first, last = list(seen.values())[:8], list(seen.values())[-8:]
    assert min(seen.values()) < min(first) and sorted(last)[3] < sorted(first)[3]


def test_metaschedules_driver_builds_and_measures_by_a_lab() -> None:
    """Kernels from warm compilers, each proved right; one that cannot be built costs one trial."""
    asked, made = request(target=parse("native").name), dict[Tile, Outcome]()

    class OneFails(LocalTrialRunner):
        def build(self, requests, folder):  # type: ignore[no-untyped-def]
            for number, each in enumerate(super().build(requests, folder)):
                yield Outcome("error", "made up") if number == 0 else each

    with OneFails(1, [CPU], 1, asked.made_for.isa, MeasureConfig(2, 0.001)) as runner:
        tune_by_metaschedule(asked, 12, 0, runner, lambda tile, outcome: made.update({tile: outcome}))
    assert sorted(outcome.status for outcome in made.values()) == ["error"] * 2 + ["ok"] * 10


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device"), DeviceError("gone", "gone")]
)
@pytest.mark.parametrize("where", ["build", "measured"])
def test_what_a_lab_raises_comes_through_metaschedule_as_it_was(where: str, error: BaseException) -> None:
    """TVM would make a RuntimeError of it."""
    asked = request(target=parse("native").name)

    class Raising(FakeTrialRunner):
        def build(self, requests: Sequence[Request], folder: Path) -> Generator[Path | Outcome, None, None]:
            if where == "build":
                raise error
            yield from build_all(requests, 1).values()  # type: ignore[misc]

        def measured(self, *_: object) -> Generator[Measured, None, None]:
            yield from ()
            raise error

    with pytest.raises(type(error)) as raised:
        tune_by_metaschedule(asked, 1, 0, Raising(), lambda tile, outcome: None)
    assert raised.value is error


def test_ctrl_c_waits_for_the_end_of_a_batch_and_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []

    def contains(space: Space, tile: Tile) -> bool:
        heard.append(1)
        if len(heard) == 3:
            signal.raise_signal(signal.SIGINT)
        return True

    monkeypatch.setattr(Space, "contains", contains)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        TraceSearch(Space(request())).batch(0)
    assert len(heard) > 3 and signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("name", [XGB, METASCHEDULE])
def test_little_knowledge_does_not_make_a_search_unrepeatable(name: str) -> None:
    """Three tiles of another seed, and of another problem: less than a model needs."""
    asked, other = request("ic64ih14oc64kh3ph1"), request("ic32ih28oc64kh3ph1")

    def batches() -> list[list[Tile]]:
        search, tiles = searcher(name)(Space(asked), 0), TraceSearch(Space(asked), 1).batch(0)
        for tile in tiles[:3]:
            search.learn(replace(other, tile=None), tile, outcome(other, tile).median)
            search.tell(tile, outcome(asked, tile).median)
        first = search.batch(0)
        for tile in first:
            search.tell(tile, outcome(asked, tile).median)
        return [first, search.batch(1)]

    assert batches() == batches()


def test_what_failed_is_not_the_best_where_nothing_else_is_known() -> None:
    asked, other = request("ic64ih14oc64kh3ph1", "indirect"), request("ic32ih28oc64kh3ph1", "indirect")
    search = TraceSearch(Space(asked))
    for tile in TraceSearch(Space(other)).batch(0):
        search.learn(other, tile, math.inf)
    for tile in search.batch(0):
        search.tell(tile, math.inf)
    search.batch(1)
    assert search._model._model.data_size == 0


def test_a_space_that_is_exhausted_is_found_whole() -> None:
    search, seen, number = TraceSearch(Space(request("g8ic8ih4oc8kh3ph1"))), set[Tile](), 0
    while tiles := search.batch(number):
        assert not seen & {*tiles}
        seen |= {*tiles}
        for tile in tiles:
            search.tell(tile, outcome(search.space.request, tile).median)
        number += 1
    assert len(seen) >= 80


def test_searchers_are_compared_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    runner, asked, heard = FakeTrialRunner(), request("ic64ih14oc64kh3ph1", "indirect"), list[int]()
    comparison = Comparison((XGB, RANDOM), (0, 1), 12, runner, lambda: heard.append(1))
    row = comparison.row(blank_row(Layer("", asked.shape), Setting(asked.made_for), algorithm="indirect"), asked)
    assert (row["status"], row["tile"], runner.finals_made) == ("ok", str(asked.tile), 1)
    assert [(each["searcher"], each["seed"]) for each in row["found"]] == [(XGB, 0), (RANDOM, 0), (XGB, 1), (RANDOM, 1)]
    assert [each["trials"] for each in row["found"]] == [12] * 4 and len(heard) == comparison.total == len(runner.made)
    hand = outcome(asked, asked.tile or Tile(1, 16)).median
    for each in row["found"]:
        found = outcome(asked, Tile.parse(each["tile"])).median
        assert each["gain"] == hand / found and each["seconds"]["median"] == found
    row["found"].append({**row["found"][1], "gain": None})
    show(searchers_table([row]))
    gains = [f"{each['gain']:.3f}" for each in row["found"] if each["searcher"] == RANDOM and each["gain"]]
    assert " ".join([*gains, "failed"]) in capsys.readouterr().out


@pytest.mark.parametrize(("of_hand", "of_found"), [(None, None), ("slow", None), (None, "slow"), ("slow", "slow")])
def test_a_gain_that_was_not_measured_alike_is_in_no_mean(
    of_hand: str | None, of_found: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slow rounds of one of the two alone; a final says so in its reason."""

    class Finals(FakeTrialRunner):
        def finals(self, requests: Sequence[Request]) -> Iterator[Outcome]:
            hand, *others = super().finals(requests)
            return iter([replace(hand, reason=of_hand), *(replace(other, reason=of_found) for other in others)])

    row = blank_row(Layer(SMALL, ConvShape.parse(SMALL)), Setting(parse("x86-64-v4")))
    row = Comparison([RANDOM], [0], 40, Finals(), lambda: None).row(row, request())
    (each,) = row["found"]
    assert each["tile"] != row["tile"]
    assert each["alike"] == (of_hand == of_found)
    show(searchers_table([row]))
    out = capsys.readouterr().out
    assert f" {'' if each['alike'] else '~'}{each['gain']:.3f} " in out
    mean = f"{each['gain']:.3f}" if each["alike"] else "–"
    assert f"geometric mean of 1 layers: {RANDOM} {mean}\n" in out


def test_searchers_are_not_compared_without_xgboost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    assert cli.main([SMALL], scripts.parse_searchers) == 2
    assert "xgboost cannot be imported" in capsys.readouterr().err


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmconv.cli.scripts.searchers.LocalTrialRunner", lambda *_: nullcontext(FakeTrialRunner()))
    call = [SMALL, "--searchers", METASCHEDULE, RANDOM, "--trials", "3", "--seeds", "1", "--cpus", str(CPU), "--json"]
    assert cli.main(call, scripts.parse_searchers) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["algorithm"] == "direct" and [each["trials"] for each in row["found"]] == [3, 3]

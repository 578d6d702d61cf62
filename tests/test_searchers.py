"""What MetaSchedule makes of our kernels, and searchers compared."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext

import pytest

from tests.fake_lab import FakeLab, outcome
from tvmconv import cli
from tvmconv.builder import Request
from tvmconv.cli import scripts
from tvmconv.cli.commands.searchers import searchers_table
from tvmconv.plan import Setting, blank_row
from tvmconv.report import show
from tvmconv.searchers import Comparison
from tvmconv.shape import ConvShape
from tvmconv.target import parse
from tvmconv.tile import Tile
from tvmconv.tune import METASCHEDULE, RANDOM, XGB
from tvmconv.tune.lab import LocalLab, Outcome, Pace
from tvmconv.tune.metaschedule import trace_search
from tvmconv.tune.metaschedule.driver import tune_by_metaschedule
from tvmconv.tune.metaschedule.sketch import module, request_of, sketched, tile_of
from tvmconv.tune.metaschedule.trace_search import TraceSearch
from tvmconv.tune.space import Space
from tvmconv.workload import Layer

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

    class OneFails(LocalLab):
        def build(self, requests, folder):  # type: ignore[no-untyped-def]
            for number, each in enumerate(super().build(requests, folder)):
                yield Outcome("error", "made up") if number == 0 else each

    with OneFails(1, [CPU], 1, asked.made_for.isa, Pace(2, 0.001)) as lab:
        tune_by_metaschedule(asked, 12, 0, lab, lambda tile, outcome: made.update({tile: outcome}))
    assert [outcome.status for outcome in made.values()] == ["ok"] * 10


def test_searchers_are_compared_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    lab, asked, heard = FakeLab(), request("ic64ih14oc64kh3ph1", "indirect"), list[int]()
    comparison = Comparison((XGB, RANDOM), (0, 1), 12, lab, lambda: heard.append(1))
    row = comparison.row(blank_row(Layer("", asked.shape), Setting(asked.made_for), algorithm="indirect"), asked)
    assert (row["status"], row["tile"], lab.finals_made) == ("ok", str(asked.tile), 1)
    assert [(each["searcher"], each["seed"]) for each in row["found"]] == [(XGB, 0), (RANDOM, 0), (XGB, 1), (RANDOM, 1)]
    assert [each["trials"] for each in row["found"]] == [12] * 4 and len(heard) == comparison.total == len(lab.made)
    hand = outcome(asked, asked.tile or Tile(1, 16)).median
    for each in row["found"]:
        found = outcome(asked, Tile.parse(each["tile"])).median
        assert each["gain"] == hand / found and each["seconds"]["median"] == found
    show(searchers_table([row]))
    gains = [f"{each['gain']:.3f}" for each in row["found"] if each["searcher"] == RANDOM]
    assert " ".join(gains) in capsys.readouterr().out


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmconv.cli.commands.searchers.LocalLab", lambda *_: nullcontext(FakeLab()))
    call = [SMALL, "--searchers", METASCHEDULE, RANDOM, "--trials", "3", "--seeds", "1", "--cpus", str(CPU), "--json"]
    assert cli.main(call, scripts.parse_searchers) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["algorithm"] == "direct" and [each["trials"] for each in row["found"]] == [3, 3]

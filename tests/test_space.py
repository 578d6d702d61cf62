"""The search space: every tile of it fits, builds and is exact."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.racing import request
from tvmconv.compiler.builder import build_all
from tvmconv.target.dtype import FLOAT32
from tvmconv.target.targets import parse
from tvmconv.target.tile import Tile
from tvmconv.tune.space import Space
from tvmconv.verify.check import Check, verify

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

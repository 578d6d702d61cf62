"""Requests and searches for tests of tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.fake_trial_runner import FakeTrialRunner
from tvmconv.compiler.builder import Request
from tvmconv.database.log import Log
from tvmconv.target.tile import Tile
from tvmconv.tune import XGB
from tvmconv.tune.run import Plan
from tvmconv.tune.searchers import searcher
from tvmconv.tune.space import Space
from tvmconv.tune.tuner import Winner, tune
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


RACE = ("direct", "im2row", "indirect", "kn2col", "winograd")  # the first: by hand


def race(log: Path, runner: FakeTrialRunner, trials: int, seed: int = 0) -> Winner:
    plans = [plan(request(LAYERS[0], name), seed) for name in RACE]
    return tune(plans, trials, runner, Log(log), lambda state: None)

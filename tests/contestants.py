"""Measurements of made-up contestants."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tvmconv.measure.interleaved import Best, Conditions, Outcome, Rules, measure
from tvmconv.target.targets import native
from tvmconv.verify.reference import Case, integer_case
from tvmconv.workload.shape import ConvShape

HERE = Path(__file__).parent
SHAPE = ConvShape.parse("ic4ih5oc4kh3ph1")
CASE: Case = integer_case(SHAPE, 0)
CPUS = sorted(os.sched_getaffinity(0))
CPU = CPUS[0]
QUICK = Rules(samples=3, min_time=0.002, patience=20)


def fake(**options: Any) -> Any:
    from fake_contestant import Fake

    return Fake(**options)


def run(*entries: Any, smallest: Sequence[Any] = (), best: Best | None = None, **conditions: Any) -> Outcome:
    progress = conditions.pop("progress", lambda done, wanted: None)
    given = Conditions(**{"isa": native().isa, "cpus": CPUS[:1], "rules": QUICK, **conditions})
    return measure(entries, SHAPE, CASE, given, best=best or Best(), smallest=smallest, progress=progress)

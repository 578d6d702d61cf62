"""MetaSchedule's own cost model, for those who want to compare: its XGBModel on its PerStoreFeature.

It sees what each store of the finished TIR does, so that whatever it weighs has to be lowered first (model.Boosted's
figures take a tenth of a millisecond, this a quarter of a second). So it weighs the first tiles of a pool alone, and
learns from one problem at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvmconv.builder import Request, scheduled_module
from tvmconv.lower import tvm_target
from tvmconv.tile import Tile
from tvmconv.tune.model import LEAST
from tvmconv.tune.space import Space
from tvmconv.tvmscript import parsed_quickly

_WEIGHED = 32  # tiles of a pool
_NOT_WEIGHED = -np.inf


class MetaSchedule:
    """Its model as a tune.model.Model. Kernels that failed teach it nothing. Raises ImportError without xgboost."""

    name, guides = "metaschedule", True

    def __init__(self) -> None:
        import xgboost  # noqa: F401 - which the model would miss only when it is trained

        self._seconds: dict[Request, float] = {}
        self._candidates: dict[Request, Any] = {}  # of those measured

    def learn(self, request: Request, tile: Tile, seconds: float) -> None:
        if seconds < np.inf:
            self._seconds[replace(request, tile=tile)] = seconds

    def scores(self, request: Request, tiles: Sequence[Tile]) -> NDArray[np.float64] | None:
        from tvm.s_tir import meta_schedule as ms
        from tvm.s_tir.meta_schedule.runner import RunnerResult

        measured = [known for known in self._seconds if known.prefix == request.prefix]
        if len(measured) < LEAST:
            return None
        space = Space(request)  # of whose draws not all can be lowered
        places = list(islice((place for place, tile in enumerate(tiles) if space.contains(tile)), _WEIGHED))
        with parsed_quickly():
            self._candidates |= {each: _candidate(each) for each in measured if each not in self._candidates}
            lowered = {place: _lowered(replace(request, tile=tiles[place])) for place in places}
        known = [self._candidates[each] for each in measured]
        context = _context(known[0].sch.mod, request)
        config = ms.cost_model.xgb_model.XGBConfig(nthread=1)
        model = ms.cost_model.XGBModel(config=config, num_warmup_samples=0, adaptive_training=False)
        model.update(context, known, [RunnerResult([self._seconds[each]], None) for each in measured])
        scores = np.full(len(tiles), _NOT_WEIGHED)
        if weighed := {place: candidate for place, candidate in lowered.items() if candidate}:
            scores[[*weighed]] = model.predict(context, [*weighed.values()])
        return scores


def _candidate(request: Request) -> Any:
    """A kernel as MetaSchedule takes it."""
    from tvm.s_tir import Schedule
    from tvm.s_tir import meta_schedule as ms

    return ms.MeasureCandidate(Schedule(scheduled_module(request)), [])


def _lowered(request: Request) -> Any | None:
    """The same, or None for one that cannot be lowered: its trial will say why."""
    try:
        return _candidate(request)
    except Exception:
        return None


def _context(module: Any, request: Request) -> Any:
    """What a model's measurements have in common: one of the problem's kernels stands for it.

    Not by TuneContext's own constructor, which imports every tensor intrinsic that TVM knows: half a minute and more.
    """
    from tvm.s_tir.meta_schedule import _ffi_api

    return _ffi_api.TuneContext(module, tvm_target(request.made_for), None, None, request.prefix, 1, 1, None)

"""MetaSchedule's own cost model, for those who want to compare: its XGBModel on its PerStoreFeature.

It sees what each store of the finished TIR does, so that whatever it weighs has to be lowered first (a tenth of a
millisecond for model.Boosted's figures, a quarter of a second here). So it weighs the first tiles of a pool alone, and
learns from one problem at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvmconv.builder import Request, scheduled_module
from tvmconv.lower import tvm_target
from tvmconv.tile import Tile
from tvmconv.tune.model import LEAST

_WEIGHED = 32  # tiles of a pool
_NOT_WEIGHED = -np.inf


class MetaSchedule:
    """Its model as a tune.model.Model. Raises ImportError where xgboost is not installed."""

    name, guides = "metaschedule", True

    def __init__(self) -> None:
        import xgboost  # noqa: F401 - which the model would miss only when it is trained

        self._measured: dict[str, list[tuple[Request, float]]] = {}
        self._candidates: dict[Request, Any] = {}

    def learn(self, request: Request, tile: Tile, seconds: float) -> None:
        self._measured.setdefault(request.prefix, []).append((replace(request, tile=tile), seconds))

    def scores(self, request: Request, tiles: Sequence[Tile]) -> NDArray[np.float64] | None:
        from tvm.s_tir import meta_schedule as ms

        measured = self._measured.get(request.prefix, [])
        if len(measured) < LEAST:
            return None
        context = _context(request)
        config = ms.cost_model.xgb_model.XGBConfig(nthread=1)
        model = ms.cost_model.XGBModel(config=config, num_warmup_samples=0, adaptive_training=False)
        results = [_result(seconds) for _, seconds in measured]
        model.update(context, [self._candidate(known) for known, _ in measured], results)
        weighed = [self._candidate(replace(request, tile=tile)) for tile in tiles[:_WEIGHED]]
        scores = np.full(len(tiles), _NOT_WEIGHED)
        scores[: len(weighed)] = model.predict(context, weighed)
        return scores

    def _candidate(self, request: Request) -> Any:
        """A kernel as MetaSchedule takes it."""
        from tvm.s_tir import Schedule
        from tvm.s_tir import meta_schedule as ms

        if request not in self._candidates:
            self._candidates[request] = ms.MeasureCandidate(Schedule(scheduled_module(request)), [])
        return self._candidates[request]


def _context(request: Request) -> Any:
    """What the problem is called, by its hand-written kernel, and what for it is compiled.

    Not by TuneContext's own constructor, which imports every tensor intrinsic that TVM knows: half a minute and more.
    """
    from tvm.s_tir.meta_schedule import _ffi_api

    named = scheduled_module(replace(request, tile=None).check())
    return _ffi_api.TuneContext(named, tvm_target(request.made_for), None, None, request.prefix, 1, 1, None)


def _result(seconds: float) -> Any:
    from tvm.s_tir.meta_schedule.runner import RunnerResult

    return RunnerResult([seconds], None) if seconds < np.inf else RunnerResult(None, "it failed")

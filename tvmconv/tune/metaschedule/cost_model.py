"""MetaSchedule's cost model, XGBModel, on our features.

MetaSchedule's PerStoreFeature wants the finished TIR, which takes a quarter of a second for each kernel, and a batch of
the search weighs hundreds. Of 280 tiles that were measured it ranked those that it had not seen with a correlation of
0.44, these figures with 0.72.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost  # noqa: F401 - which XGBModel would miss only when it is trained
from numpy.typing import NDArray
from tvm.ir.utils import derived_object
from tvm.runtime import tensor
from tvm.s_tir.meta_schedule.cost_model import PyCostModel, XGBModel
from tvm.s_tir.meta_schedule.cost_model.xgb_model import FeatureGroup, XGBConfig
from tvm.s_tir.meta_schedule.feature_extractor import PyFeatureExtractor

from tvmconv.compiler.builder import Request
from tvmconv.target.tile import Tile
from tvmconv.tune.features import features
from tvmconv.tune.metaschedule.sketch import request_of, tile_of
from tvmconv.tune.model import LEAST

_FAILED = 1e10  # seconds, as XGBModel itself has it


@derived_object
class Figures(PyFeatureExtractor):
    """One row of figures for each candidate."""

    def extract_from(self, context: Any, candidates: list[Any]) -> list[Any]:
        request = request_of(context.mod)
        return [tensor(_row(request, tile_of(candidate.sch))) for candidate in candidates]


@derived_object
class CostModel(PyCostModel):
    """XGBModel, taught by other problems, too.

    Its guesses as long as it knows little are drawn from a state of their own in the place of NumPy's, so that a search
    can be repeated. What failed waits until something has succeeded: beside nothing else it would count as the best.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._state = np.random.default_rng(seed)
        config = XGBConfig(nthread=1)
        self._model = XGBModel(extractor=Figures(), config=config, num_warmup_samples=0, adaptive_training=False)
        self._waiting: list[tuple[Any, Any]] = []

    def learn(self, request: Request, outcomes: Mapping[Tile, float]) -> None:
        """Adds results of another problem, in seconds, infinite for failures but not for all. It counts from the next
        update on."""
        rows = [_row(request, tile) for tile in outcomes]
        costs = np.array([seconds if seconds < math.inf else _FAILED for seconds in outcomes.values()], "float32")
        self._model.data[request.prefix] = FeatureGroup(request.prefix, rows, costs)
        self._model.data_size += len(rows)

    def update(self, context: Any, candidates: list[Any], results: list[Any]) -> None:
        self._waiting += zip(candidates, results, strict=True)
        if any(result.run_secs for _, result in self._waiting):
            known, outcomes = zip(*self._waiting, strict=True)
            self._waiting.clear()
            self._model.update(context, list(known), list(outcomes))

    def predict(self, context: Any, candidates: list[Any]) -> NDArray[np.float64]:
        if self._model.booster is None or self._model.data_size < LEAST:
            return self._state.random(len(candidates))
        scores: NDArray[np.float64] = self._model.predict(context, candidates)
        return scores


def _row(request: Request, tile: Tile) -> NDArray[np.float32]:
    return np.array([features(request.defined_by, request.shape, request.made_for, tile)], "float32")

"""Cost models: which of the tiles that have not been measured yet are worth it.

MetaSchedule's XGBModel on its PerStoreFeature was tried in this place, on 280 measured tiles of three layers: trained
on 32 tiles of a layer it ranks the others with a correlation of 0.44, this one on features.py with 0.72 (on 16: 0.34
and 0.63; on 16 and two other layers: 0.17 and 0.72). It sees a kernel's stores, but neither its caches' sizes nor its
tails, and needs the finished TIR, 0.4 s of a core for each tile that is only weighed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Features = tuple[float, ...]

_LEAST = 8  # measurements until a model is worth asking
_ROUNDS = 100
# Small steps and shallow trees, as there are hundreds of measurements at most; on one thread, so that the same
# measurements give the same model.
_XGBOOST: Mapping[str, Any] = {
    "objective": "reg:squarederror",
    "eta": 0.1,
    "max_depth": 5,
    "min_child_weight": 1,
    "subsample": 0.8,
    "colsample_bytree": 0.7,
    "nthread": 1,
    "seed": 0,
}


class Model(Protocol):
    """Learns how fast tiles are, each beside the best of its layer, and says it of others.

    guides: whether there is any sense in looking near the best.
    """

    name: str
    guides: bool

    def learn(self, layer: str, features: Features, seconds: float) -> None:
        """One measurement; infinite seconds for a kernel that failed."""

    def scores(self, features: Sequence[Features]) -> NDArray[np.float64] | None:
        """The share of its layer's best speed that each is expected to reach; None as long as nothing is known."""


class Nothing:
    """Knows nothing: the search takes what is drawn."""

    name, guides = "random", False

    def learn(self, layer: str, features: Features, seconds: float) -> None:
        """There is nothing to learn."""

    def scores(self, features: Sequence[Features]) -> NDArray[np.float64] | None:
        return None


class Boosted:
    """Gradient-boosted trees (xgboost), trained anew on all measurements whenever it is asked. Raises ImportError."""

    name, guides = "xgb", True

    def __init__(self) -> None:
        import xgboost

        self._xgboost = xgboost
        self._layers: dict[str, list[tuple[Features, float]]] = {}

    def learn(self, layer: str, features: Features, seconds: float) -> None:
        self._layers.setdefault(layer, []).append((features, seconds))

    def scores(self, features: Sequence[Features]) -> NDArray[np.float64] | None:
        known, speeds = [], []
        for measured in self._layers.values():
            best = min(seconds for _, seconds in measured)
            known += [figures for figures, _ in measured]
            speeds += [best / seconds if seconds < float("inf") else 0.0 for _, seconds in measured]
        if len(known) < _LEAST:
            return None
        data = self._xgboost.DMatrix(np.array(known), label=np.array(speeds))
        booster = self._xgboost.train(dict(_XGBOOST), data, num_boost_round=_ROUNDS)
        scores: NDArray[np.float64] = booster.predict(self._xgboost.DMatrix(np.array(features))).astype(np.float64)
        return scores

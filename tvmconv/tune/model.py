"""Cost models: predict which unmeasured tiles are worth a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tvmconv.compiler.builder import Request
from tvmconv.target.tile import Tile
from tvmconv.tune import RANDOM, XGB
from tvmconv.tune.features import features

Figures = tuple[float, ...]

LEAST = 8  # measurements until a model is worth asking
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

    def learn(self, request: Request, tile: Tile, seconds: float) -> None:
        """One measurement, of any problem; infinite seconds for a kernel that failed. Raises ArithmeticError or
        ValueError, and learns nothing, where no kernel of the problem has such a tile."""

    def scores(self, request: Request, tiles: Sequence[Tile]) -> NDArray[np.float64] | None:
        """The share of its problem's best speed that each is expected to reach; None as long as nothing is known."""


class Nothing:
    """Knows nothing: the search takes what is drawn."""

    name, guides = RANDOM, False

    def learn(self, request: Request, tile: Tile, seconds: float) -> None:
        """There is nothing to learn."""

    def scores(self, request: Request, tiles: Sequence[Tile]) -> NDArray[np.float64] | None:
        return None


class Boosted:
    """Gradient-boosted trees (xgboost), trained anew on all measurements when there are new. Raises ImportError."""

    name, guides = XGB, True

    def __init__(self) -> None:
        import xgboost

        self._xgboost = xgboost
        self._problems: dict[str, list[tuple[Figures, float]]] = {}
        self._booster: Any = None  # of all that has been learned

    def learn(self, request: Request, tile: Tile, seconds: float) -> None:
        figures = _figures(request, tile)
        self._booster = None
        self._problems.setdefault(request.prefix, []).append((figures, seconds))

    def scores(self, request: Request, tiles: Sequence[Tile]) -> NDArray[np.float64] | None:
        if self._booster is None:
            self._booster = self._trained()
        if self._booster is None:
            return None
        asked = self._xgboost.DMatrix(np.array([_figures(request, tile) for tile in tiles]))
        scores: NDArray[np.float64] = self._booster.predict(asked).astype(np.float64)
        return scores

    def _trained(self) -> Any:
        """Trees that know all measurements; None where there are too few."""
        known, speeds = [], []
        for measured in self._problems.values():
            best = min(seconds for _, seconds in measured)
            known += [figures for figures, _ in measured]
            speeds += [best / seconds if seconds < float("inf") else 0.0 for _, seconds in measured]
        if len(known) < LEAST:
            return None
        data = self._xgboost.DMatrix(np.array(known), label=np.array(speeds))
        return self._xgboost.train(dict(_XGBOOST), data, num_boost_round=_ROUNDS)


def _figures(request: Request, tile: Tile) -> Figures:
    return features(request.defined_by, request.shape, request.made_for, tile)

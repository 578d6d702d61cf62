"""The searchers by name."""

from __future__ import annotations

from tvmconv.tune import METASCHEDULE, XGB
from tvmconv.tune.model import Boosted, Nothing
from tvmconv.tune.search import NewSearch, TileSearch


def searcher(name: str) -> NewSearch:
    """The factory of searches of that name. Raises ImportError where it needs xgboost, and there is none."""
    if name == METASCHEDULE:
        from tvmconv.tune.metaschedule.trace_search import TraceSearch

        return TraceSearch
    model = Boosted if name == XGB else Nothing
    model()
    return lambda space, seed: TileSearch(space, model(), seed)

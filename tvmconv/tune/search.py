"""The search: proposes the next tiles from known outcomes and a seed alone."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tvmconv.compiler.builder import Request
from tvmconv.target.tile import Tile
from tvmconv.tune.model import Model
from tvmconv.tune.space import Space

BATCH = 8  # trials between two questions to the model
_POOL = 256  # tiles that are weighed for a batch
_ELITE = 8  # of the best, whose neighbours make up a part of the pool
_FROM_ELITE = 0.6
_GENERATIONS = 3  # of tiles that come of the pool's most promising ones, each as large as the first
_PARENTS = 32  # of a generation
_CHANGES = (1, 1, 2, 3)  # sizes of a neighbour that differ
UNGUIDED = 0.25  # of a batch: tiles taken as they are drawn, whatever the model says of them
DRAWS = 20 * _POOL  # until it is said that there are no other tiles


class Search(Protocol):
    """Proposes tiles in batches. The first is the hand-written schedule's; none that is known comes again.

    What a batch holds is decided by its number, the seed and what has been told so far, so that a search can go on from
    a log. name: by which records have it.
    """

    @property
    def name(self) -> str: ...
    @property
    def space(self) -> Space: ...
    @property
    def seed(self) -> int: ...

    def batch(self, number: int) -> list[Tile]:
        """The tiles of this batch, the first of number 0: BATCH of them, fewer where the space has no others. All
        before it have been told."""

    def tell(self, tile: Tile, seconds: float) -> None:
        """Adds the outcome of a tile; infinite for one that failed."""

    def learn(self, request: Request, tile: Tile, seconds: float) -> None:
        """Adds the outcome of a tile of another problem, before the first batch. Raises as Model.learn does."""


NewSearch = Callable[[Space, int], Search]  # of a problem, by a seed


@dataclass
class TileSearch:
    """A Search: an evolution steered by a cost model, as in Zheng et al., "Ansor", OSDI 2020, section 5: neighbours of
    the best tiles, new ones and generations of what comes of them are weighed by the model, and the most promising are
    measured."""

    space: Space
    model: Model
    seed: int = 0
    _outcomes: dict[Tile, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.model.name

    def batch(self, number: int) -> list[Tile]:
        state = random.Random(f"{self.seed} {number}")
        pool = self._pool(state)
        unguided = state.sample(pool, k=len(pool))
        ranked = self._evolved(self._ranked(pool), state)
        chosen = {} if self.space.default in self._outcomes else {self.space.default: None}
        while len(chosen) < BATCH and (ranked or unguided):
            source = unguided if not ranked or (unguided and state.random() < UNGUIDED) else ranked
            tile = source.pop(0)
            if tile not in chosen and self.space.contains(tile):
                chosen[tile] = None
        return list(chosen)

    def tell(self, tile: Tile, seconds: float) -> None:
        self._outcomes[tile] = seconds
        self.learn(self.space.request, tile, seconds)

    def learn(self, request: Request, tile: Tile, seconds: float) -> None:
        self.model.learn(request, tile, seconds)

    def best(self, count: int) -> list[Tile]:
        """The fastest so far."""
        right = [tile for tile, seconds in self._outcomes.items() if seconds < math.inf]
        return sorted(right, key=lambda tile: self._outcomes[tile])[:count]

    def _pool(self, state: random.Random) -> list[Tile]:
        """Tiles of which nothing is known, in the order in which they were drawn."""
        elite, pool = self.best(_ELITE) if self.model.guides else [], dict[Tile, None]()
        for _ in range(DRAWS):
            tile = self._drawn(elite, state)
            if tile and tile not in self._outcomes:
                pool[tile] = None
            if len(pool) == _POOL:
                break
        return list(pool)

    def _drawn(self, elite: Sequence[Tile], state: random.Random) -> Tile | None:
        if not elite or state.random() >= _FROM_ELITE:
            return self.space.draw(state)
        tile: Tile | None = state.choice(elite)
        for _ in range(state.choice(_CHANGES)):
            tile = self.space.neighbour(tile, state) if tile else None
        return tile

    def _evolved(self, ranked: list[Tile], state: random.Random) -> list[Tile]:
        """The most promising of the pool and of what comes of it, first."""
        for _ in range(_GENERATIONS if self.model.guides and self._outcomes else 0):
            parents = ranked[:_PARENTS]
            children = (self.space.neighbour(state.choice(parents), state) for _ in range(_POOL if parents else 0))
            new = {tile: None for tile in children if tile and tile not in self._outcomes}
            ranked = self._ranked(list(dict.fromkeys([*ranked[:_POOL], *new])))
        return ranked

    def _ranked(self, pool: Sequence[Tile]) -> list[Tile]:
        """The most promising first, or as they were drawn if nothing is known of them."""
        if not pool:
            return []
        scores = self.model.scores(self.space.request, pool)
        if scores is None:
            return list(pool)
        return [tile for _, tile in sorted(zip(-scores, pool, strict=True), key=lambda pair: pair[0])]

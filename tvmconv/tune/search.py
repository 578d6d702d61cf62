"""The search: which tiles to try next, decided by what is known and a seed alone."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tvmconv.builder import Request
from tvmconv.tile import Tile
from tvmconv.tune.features import features
from tvmconv.tune.model import Model
from tvmconv.tune.space import Space

_POOL = 256  # tiles that are weighed for a batch
_ELITE = 8  # of the best, whose neighbours make up a part of the pool
_FROM_ELITE = 0.6
_CHANGES = (1, 1, 2, 3)  # sizes of a neighbour that differ
_UNGUIDED = 0.25  # of a batch: tiles taken as they are drawn, whatever the model says of them
_DRAWS = 20  # for each tile of the pool, until it is said that there are no others


@dataclass
class Search:
    """Proposes tiles in batches. The first is the hand-written schedule's; none comes twice.

    An evolution steered by a cost model, as in Zheng et al., "Ansor", OSDI 2020, section 5: neighbours of the best
    tiles and new ones are weighed by the model, and the most promising of them are measured. The same outcomes told in
    the same order bring the same proposals.
    """

    space: Space
    model: Model
    seed: int = 0
    _outcomes: dict[Tile, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._state = random.Random(self.seed)
        self._proposed: set[Tile] = set()

    def batch(self, size: int) -> list[Tile]:
        """At most so many tiles, fewer where the space has no others."""
        chosen = [] if self._proposed else [self.space.default]
        self._proposed.update(chosen)
        ranked = self._ranked(self._pool())
        unguided = self._state.sample(ranked, k=len(ranked))
        while len(chosen) < size and ranked:
            source = unguided if self._state.random() < _UNGUIDED else ranked
            tile = source.pop(0)
            if tile not in self._proposed and self.space.contains(tile):
                chosen.append(tile)
                self._proposed.add(tile)
            if not source:
                break
        return chosen

    def tell(self, tile: Tile, seconds: float) -> None:
        """What came out for a tile; infinite for one that failed."""
        self._outcomes[tile] = seconds
        self.learn(self.space.request, tile, seconds)

    def learn(self, request: Request, tile: Tile, seconds: float) -> None:
        """What is known of a tile of this problem or of another one."""
        self.model.learn(request.prefix, _features(request, tile), seconds)

    def best(self, count: int) -> list[Tile]:
        """The fastest so far."""
        right = [tile for tile, seconds in self._outcomes.items() if seconds < math.inf]
        return sorted(right, key=lambda tile: self._outcomes[tile])[:count]

    def _pool(self) -> list[Tile]:
        """Tiles that have not been proposed, in the order in which they were drawn."""
        elite, pool = self.best(_ELITE), dict[Tile, None]()
        for _ in range(_POOL * _DRAWS):
            tile = self._drawn(elite)
            if tile and tile not in self._proposed:
                pool[tile] = None
            if len(pool) == _POOL:
                break
        return list(pool)

    def _drawn(self, elite: Sequence[Tile]) -> Tile | None:
        if not elite or self._state.random() >= _FROM_ELITE:
            return self.space.draw(self._state)
        tile: Tile | None = self._state.choice(elite)
        for _ in range(self._state.choice(_CHANGES)):
            tile = self.space.neighbour(tile, self._state) if tile else None
        return tile

    def _ranked(self, pool: Sequence[Tile]) -> list[Tile]:
        """The most promising first, or as they were drawn if nothing is known of them."""
        if not pool:
            return []
        scores = self.model.scores([_features(self.space.request, tile) for tile in pool])
        if scores is None:
            return list(pool)
        return [tile for _, tile in sorted(zip(-scores, pool, strict=True), key=lambda pair: pair[0])]


def _features(request: Request, tile: Tile) -> tuple[float, ...]:
    return features(request.defined_by, request.shape, request.made_for, tile)

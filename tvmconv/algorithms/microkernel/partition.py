"""The partition of a phase's tiles into units that threads share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.microkernel.program import Phase
from tvmconv.target.tile import Tile

# Numbers of tasks for a phase whose weights do not stay in L2 from one task to the next: the first number with which
# each task has _SHORTEST tiles, else the last. With half of _SHORTEST, two threads lose 1 to 4 % on 512 channels.
_TASKS = (48, 24, 16, 8)
_SHORTEST = 16


@dataclass(frozen=True)
class Partition:
    """The tiles of all panels, in segments: the tiles of one panel on one block of rows. Panels run fastest.

    A phase counts its tiles as units, in the order of the segments. Each segment has `block` units; in a last, shorter
    block some units have no tile. In a segment the blocks of K are outermost, so that a block of weights is used for
    all tiles of the segment that a thread computes.
    """

    repeats: int  # images · groups
    panels: int  # of one group
    tiles: int  # of one image and group
    block: int  # of one block of rows, at most all
    k_blocks: int

    @property
    def blocks(self) -> int:
        return -(-self.tiles // self.block)

    @property
    def segments(self) -> int:
        return self.repeats * self.blocks * self.panels

    def phase(self, function: str) -> Phase:
        """Tasks are long where there are several blocks of K, whose weights each task reads anew into L2."""
        units = self.segments * self.block
        if self.k_blocks == 1:
            return Phase(function, units)
        return Phase(function, units, next((n for n in _TASKS if units >= n * _SHORTEST), _TASKS[-1]))

    def touched(self, first: Any, last: Any) -> Any:
        """Number of segments that overlap the units first … last−1; TIR, as all below."""
        return (last - 1) // self.block - first // self.block + 1

    def segment(self, part: Any, first: Any) -> Any:
        """The part-th of these segments. The bounds are for TVM's simplifier, which overflows without them."""
        from tvm.script import tirx as T

        return T.max(T.min(first // self.block + part, self.segments - 1), 0)

    def begin(self, segment: Any, first: Any) -> Any:
        """The first tile of the segment at or after unit `first`."""
        from tvm.script import tirx as T

        return T.max(first - segment * self.block, 0)

    def end(self, segment: Any, last: Any) -> Any:
        """The end of the segment's tiles before unit `last` and inside the image."""
        from tvm.script import tirx as T

        inside = self.tiles - segment // self.panels % self.blocks * self.block
        return T.min(T.min(last - segment * self.block, self.block), inside)


def tiles_of_block(tiles: int, tile: Tile) -> int:
    """Tiles of MR rows in one block of MC rows, at most `tiles`."""
    return min(tiles, -(-tile.mc // tile.mr)) if tile.mc > 0 else tiles

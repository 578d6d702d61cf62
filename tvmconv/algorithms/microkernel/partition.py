"""How the tiles of a phase are counted, and shared among threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.microkernel.program import Phase
from tvmconv.target.tile import Tile

# Tasks of a phase whose weights do not stay in L2 from one task to the next, largest number first: the first that gives
# each _SHORTEST tiles, else the last. Half as many tiles cost two threads 1 to 4 % on 512 channels.
_TASKS = (48, 24, 16, 8)
_SHORTEST = 16


@dataclass(frozen=True)
class Sweep:
    """The tiles of all panels. A segment is those of one panel on one block of rows, panels running fastest.

    A phase's units are the tiles in the order of the segments, `block` of them each: of a last, shorter block some are
    empty. In a segment the blocks of K are outermost, so that each block of weights serves all of the segment's tiles
    that a thread computes.
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
        """Weights of one block of K stay in L2, and tasks may be short; those of several are read anew in each task."""
        units = self.segments * self.block
        if self.k_blocks == 1:
            return Phase(function, units)
        return Phase(function, units, next((n for n in _TASKS if units >= n * _SHORTEST), _TASKS[-1]))

    def touched(self, first: Any, last: Any) -> Any:
        """Number of segments that have some of the units first … last−1; TIR, as all below."""
        return (last - 1) // self.block - first // self.block + 1

    def segment(self, part: Any, first: Any) -> Any:
        """The touched segment of that number. Its bounds are for TVM's simplifier, which overflows without any."""
        from tvm.script import tirx as T

        return T.max(T.min(first // self.block + part, self.segments - 1), 0)

    def before(self, segment: Any, first: Any) -> Any:
        """Tiles of the segment before unit `first`."""
        from tvm.script import tirx as T

        return T.max(first - segment * self.block, 0)

    def behind(self, segment: Any, last: Any) -> Any:
        """Tiles of the segment before unit `last`, and inside the image."""
        from tvm.script import tirx as T

        inside = self.tiles - segment // self.panels % self.blocks * self.block
        return T.min(T.min(last - segment * self.block, self.block), inside)


def tiles_of_block(tiles: int, tile: Tile) -> int:
    """Of so many tiles of MR rows, those that make up one block of MC rows."""
    return min(tiles, -(-tile.mc // tile.mr)) if tile.mc > 0 else tiles

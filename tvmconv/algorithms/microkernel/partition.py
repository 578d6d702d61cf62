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
    """The tiles of all panels, in blocks: the tiles of one panel in one range of rows. Panels run fastest.

    A phase counts its tiles as units, in the order of the blocks. Each block has `block_tiles` units; in the last range
    of rows, which may be shorter, some units have no tile. In a block the blocks of K are outermost, so that one block
    of weights is used for all tiles of the block that a thread computes.
    """

    repeats: int  # images · groups
    panels: int  # of one group
    tiles: int  # of one image and group
    block_tiles: int  # of one range of rows, at most all
    k_blocks: int

    @property
    def row_ranges(self) -> int:
        return -(-self.tiles // self.block_tiles)

    @property
    def blocks(self) -> int:
        return self.repeats * self.row_ranges * self.panels

    def phase(self, function: str) -> Phase:
        """Tasks are long where there are several blocks of K, whose weights each task reads anew into L2."""
        units = self.blocks * self.block_tiles
        if self.k_blocks == 1:
            return Phase(function, units)
        return Phase(function, units, next((n for n in _TASKS if units >= n * _SHORTEST), _TASKS[-1]))

    def touched(self, first: Any, last: Any) -> Any:
        """Number of blocks that overlap the units first … last−1; TIR, as all below."""
        return (last - 1) // self.block_tiles - first // self.block_tiles + 1

    def block(self, part: Any, first: Any) -> Any:
        """The part-th of these blocks. The bounds are for TVM's simplifier, which overflows without them."""
        from tvm.script import tirx as T

        return T.max(T.min(first // self.block_tiles + part, self.blocks - 1), 0)

    def begin(self, block: Any, first: Any) -> Any:
        """The first tile of the block at or after unit `first`."""
        from tvm.script import tirx as T

        return T.max(first - block * self.block_tiles, 0)

    def end(self, block: Any, last: Any) -> Any:
        """The end of the block's tiles before unit `last` and inside the image."""
        from tvm.script import tirx as T

        inside = self.tiles - block // self.panels % self.row_ranges * self.block_tiles
        return T.min(T.min(last - block * self.block_tiles, self.block_tiles), inside)


def tiles_of_block(tiles: int, tile: Tile) -> int:
    """Tiles of MR rows in one range of MC rows, at most `tiles`."""
    return min(tiles, -(-tile.mc // tile.mr)) if tile.mc > 0 else tiles

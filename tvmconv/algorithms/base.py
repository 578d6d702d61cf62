"""Algorithm: accepts or rejects a problem, and returns its TIR, phases and sizes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from tvmconv.algorithms.microkernel.gemm_nhwc import MatrixView
from tvmconv.algorithms.microkernel.pixel_vectors import PixelView
from tvmconv.algorithms.microkernel.program import Program
from tvmconv.target.dtype import FLOAT32, DType
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class Algorithm(ABC):
    """One algorithm for one layout and one choice of element types."""

    dtype: DType = FLOAT32

    name: ClassVar[str]
    layout: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def rejects(self, shape: ConvShape) -> str | None:
        """Why this algorithm cannot compute the problem, or None."""

    @abstractmethod
    def view(self, shape: ConvShape, tile: Tile) -> MatrixView | PixelView:
        """The problem as matrix products, which is what a tile is chosen for."""

    @abstractmethod
    def module(self, shape: ConvShape, tile: Tile) -> Program:
        """The problem as TIR with named blocks."""

    def work(self, shape: ConvShape, tile: Tile) -> float:
        """Number of (tile, tap) micro-kernel calls of one panel of weights, of one image and group."""
        view = self.view(shape, tile)
        return view.tiles * view.layout.taps

    def band(self, shape: ConvShape, l2: int) -> int | None:
        """MC of an algorithm that works in bands of rows, for a core with an L2 cache of so many bytes; None for one
        that does not."""
        return None

    def row_blocks(self, shape: ConvShape, tile: Tile) -> tuple[int, int]:
        """(rows, minimum MC): the rows that blocks of MC divide, and the fewest that a block can have."""
        return shape.m, tile.nr if self.layout == "nchw" else tile.mr

    def memory(self, shape: ConvShape, tile: Tile) -> dict[str, int]:
        """Bytes of each part of the workspace, in its order."""
        return {}

    def workspace(self, shape: ConvShape, tile: Tile, threads: int = 1) -> int:
        """Bytes of extra memory, all of it in the workspace argument."""
        return sum(self.memory(shape, tile).values())

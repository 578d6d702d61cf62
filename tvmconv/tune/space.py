"""The search space: the choices for each size of a layer's Tile.

A Tile decides the register tile, the packing and the loops around it, so each one is a kernel of its own. Sizes are
drawn one after the other, since what one may be depends on those before it; what does not fit the registers, or the
layer, is never drawn.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.gemm_nhwc import MatrixView
from tvmconv.algorithms.microkernel.pixel_vectors import PixelView
from tvmconv.compiler.builder import Request
from tvmconv.target.dtype import DType
from tvmconv.target.targets import Target
from tvmconv.target.tile import Tile

_MOST_VECTORS = 4  # of NR: wider tiles of fewer rows load more than they multiply
_LEAST_MULTIPLY_ADDS = 0.4  # of those that fill the registers: smaller tiles cannot hide their latency
_STEPS = (1, 2, 4, 8)  # channels unrolled
_LEAST_CHANNELS = 16  # of a block of K
_K_BLOCKS = (1, 2, 3, 4, 6, 8, 16)
_ROW_BLOCKS = (1, 2, 3, 4, 6, 8, 12, 16, 32)
_AHEAD = (0, 1, 2, 4, 8, 16)  # channels
_DEPTHWISE_PIXELS = range(1, 17)
_DEPTHWISE_PANELS = (1, 2, 3, 4, 6, 8, 64)


@dataclass(frozen=True)
class Space:
    """The tiles of one problem by one algorithm on one target. `request` is checked: its tile is the default."""

    request: Request

    @property
    def default(self) -> Tile:
        """The hand-written schedule's tile."""
        assert self.request.tile
        return self.request.tile

    def draw(self, state: random.Random) -> Tile | None:
        """A tile with all sizes drawn; None if some of them left no choice for another. It may not be `contained`."""
        return self._complete({}, state)

    def neighbour(self, tile: Tile, state: random.Random) -> Tile | None:
        """The tile with one of its sizes drawn anew, and what does not go with it."""
        sizes = {name: getattr(tile, name) for name in self.names}
        del sizes[state.choice(self.names)]
        return self._complete(sizes, state)

    def contains(self, tile: Tile) -> bool:
        """Whether a kernel can have the tile."""
        try:
            return replace(self.request, tile=tile).check().tile == tile
        except ValueError:
            return False

    @property
    def names(self) -> Sequence[str]:
        """Names of the sizes, in the order in which they are drawn."""
        if self.request.shape.depthwise:
            return ("mr", "nr", "mc", "kc")
        return ("nr", "mr", "kc", "kr", "mc", "prefetch_distance", "stream_l2")

    def _complete(self, sizes: Mapping[str, int], state: random.Random) -> Tile | None:
        """A tile with these sizes and others drawn; a given one that the others do not allow is drawn as well."""
        drawn: dict[str, int] = {}
        for name in self.names:
            choices = self.choices(name, drawn)
            if not choices:
                return None
            drawn[name] = sizes[name] if sizes.get(name) in choices else state.choice(choices)
        return replace(self.default, **drawn)

    def choices(self, name: str, drawn: Mapping[str, int]) -> Sequence[int]:
        """The values of a size beside those drawn before it, distinct and in rising order."""
        return _depthwise(name, drawn, self.request) if self.request.shape.depthwise else self._of_gemm(name, drawn)

    def _of_gemm(self, name: str, drawn: Mapping[str, int]) -> Sequence[int]:
        algorithm, target, shape = self.request.defined_by, self.request.made_for, self.request.shape
        match name:
            case "nr":
                return _widths(algorithm, self.request, target)
            case "mr":
                return _heights(target, self.request.dtype, drawn["nr"], self.default)
            case "kc":
                return _blocks_of_channels(self._channels, self.default) if self._cuts_channels else (0,)
            case "kr":
                kc = drawn["kc"] or self._channels
                if self.default.a_vector > 1:  # channels held in registers are as many as are unrolled
                    return (self.default.kr,) if kc % self.default.kr == 0 else ()
                return tuple(step for step in _with(_STEPS, self.default.kr) if kc % step == 0)
            case "mc":
                rows, unit = algorithm.row_blocks(shape, Tile(drawn["mr"], drawn["nr"]))
                return _with(_blocks_of_rows(rows, unit), *([] if self.default.mc % unit else [self.default.mc]))
            case "prefetch_distance":
                prefetches = target.isa.prefetches and algorithm.layout == "nhwc"
                return _with(_AHEAD, self.default.prefetch_distance) if prefetches else (0,)
            case _:
                return (0, 1) if algorithm.layout == "nhwc" and target.isa.prefetches else (0,)

    @functools.cached_property
    def _view(self) -> MatrixView | PixelView:
        return self.request.defined_by.view(self.request.shape, self.default)

    @property
    def _channels(self) -> int:
        """Channels of one run of K."""
        return self._view.layout.channels

    @property
    def _cuts_channels(self) -> bool:
        """Whether the algorithm can block K."""
        return not isinstance(self._view, PixelView) or self._view.in_blocks


def _widths(algorithm: Algorithm, request: Request, target: Target) -> Sequence[int]:
    lanes = target.isa.lanes(request.dtype)
    most = _MOST_VECTORS
    if algorithm.layout == "nhwc":  # no wider than the layer's channels
        most = min(most, -(-request.shape.ocg // lanes))
    return tuple(vectors * lanes for vectors in range(1, most + 1))


@functools.lru_cache(maxsize=256)
def _heights(target: Target, dtype: DType, nr: int, default: Tile) -> Sequence[int]:
    isa, vectors = target.isa, nr // target.isa.lanes(dtype)
    fitting = [mr for mr in range(1, isa.registers) if isa.fits(replace(default, mr=mr, nr=nr), dtype)]
    full = max((mr * vectors for mr in fitting), default=0)
    least = _LEAST_MULTIPLY_ADDS * min(full, isa.registers)
    return tuple(mr for mr in fitting if mr * vectors >= least)


def _blocks_of_channels(channels: int, default: Tile) -> Sequence[int]:
    lengths = {channels // blocks for blocks in _K_BLOCKS if channels % blocks == 0 and blocks > 1}
    return _with((0, *(length for length in lengths if length >= _LEAST_CHANNELS)), default.kc)


def _blocks_of_rows(rows: int, unit: int) -> Sequence[int]:
    """Row blocks of about equal size, in whole tiles. They decide the order of the loops, too: one block for all rows
    has panels outermost, blocks of one tile have rows outermost."""
    tiles = -(-rows // unit)
    return _with((0, unit, *(-(-tiles // blocks) * unit for blocks in _ROW_BLOCKS if 1 < blocks <= tiles)))


def _with(choices: Iterable[int], *more: int) -> Sequence[int]:
    """The choices and the default's, so that its neighbours differ from it in one size and not in several."""
    return tuple(sorted({*choices, *more}))


def _depthwise(name: str, drawn: Mapping[str, int], request: Request) -> Sequence[int]:
    shape, lanes = request.shape, request.made_for.isa.lanes(request.dtype)
    match name:
        case "mr":
            return tuple(mr for mr in _DEPTHWISE_PIXELS if mr <= shape.ow)
        case "nr":
            widths = [vectors * lanes for vectors in range(1, _MOST_VECTORS + 1) if vectors * lanes <= shape.oc]
            return tuple(nr for nr in widths or (shape.oc,) if _fits(request, drawn["mr"], nr))
        case "mc":
            return (0, *sorted({-(-shape.oh // blocks) * shape.ow for blocks in _ROW_BLOCKS if 1 < blocks <= shape.oh}))
        case _:
            return tuple(panels * drawn["nr"] for panels in _DEPTHWISE_PANELS)


def _fits(request: Request, mr: int, nr: int) -> bool:
    assert request.tile
    return request.made_for.isa.fits(replace(request.tile, mr=mr, nr=nr), request.dtype)

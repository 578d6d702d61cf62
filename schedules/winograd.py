"""Winograd kernels: the choice of a band, beside the register tile that they share with all others."""

from __future__ import annotations

from dataclasses import replace

from tvmconv.algorithms.ir import BYTES
from tvmconv.algorithms.winograd import PLACES, STEP
from tvmconv.shape import ConvShape
from tvmconv.target import Target
from tvmconv.tile import Tile

_L2_PART = 0.7  # of L2 for the patches and products of a band
_FEWEST = 28  # patches of a band: below, weights are read from afar faster than they can be used


def completed(tile: Tile, shape: ConvShape, target: Target) -> Tile:
    """The tile with the patches of a band, in whole rows, and the lanes of a vector of channels."""
    columns = -(-shape.ow // STEP)
    of_patch = PLACES * (shape.ic + shape.oc) * BYTES
    patches = max(_FEWEST, int(_L2_PART * target.l2) // of_patch)
    return replace(tile, mc=max(1, round(patches / columns)) * columns, vl=target.isa.lanes)

"""Winograd kernels: the choice of a band. The register tile is chosen as for all others."""

from __future__ import annotations

from tvmconv.algorithms.microkernel.program import BYTES
from tvmconv.algorithms.patches import PLACES, Patches
from tvmconv.target.targets import Target
from tvmconv.workload.shape import ConvShape

# Patches of a band: as few as amortise what a band costs, and more where its weights come from beyond L2.
_NEAR, _FAR = 56, 112


def band(shape: ConvShape, target: Target) -> int:
    """MC: the patches of a band, whole rows of them, in bands of about equal size."""
    weights = PLACES * shape.ic * shape.oc * BYTES
    return Patches.of(shape, _NEAR if 2 * weights <= target.l2 else _FAR).count

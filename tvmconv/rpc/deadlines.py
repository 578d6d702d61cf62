"""How long a step on a device may take: by what it computes and sends, at the pace of the slowest that there is."""

from __future__ import annotations

from dataclasses import dataclass

from tvmconv.rpc.address import Where
from tvmconv.workload.shape import ConvShape

_LEAST = 20.0  # seconds for a step that computes and sends nothing
_BYTES = 2e6  # a second, over a poor wireless network
# Operations a second: of a core that nobody knows; of one emulated by qemu-user, which computes a vector lane by lane.
_UNKNOWN, _EMULATED = 50e6, 2e6
# A throttled little core has this clock rate at least, and a kernel without vectors so small a share of its peak.
_SLOWEST_CLOCK, _SLOWEST_KERNEL = 300e6, 1 / 24
_RUNS = 8  # of a layer in one step, and transfers of its arrays


@dataclass(frozen=True)
class Pace:
    """What a device does in a second at the least: floating-point operations, and bytes of its link."""

    flops: float
    bytes: float = _BYTES

    def seconds(self, shape: ConvShape | None = None) -> float:
        """What a step may take: one that computes the layer a few times and sends its arrays, None for one without."""
        if shape is None:
            return _LEAST
        elements = shape.mb * (shape.ic * shape.ih * shape.iw + shape.oc * shape.oh * shape.ow) + shape.oc * shape.k
        return _LEAST + _RUNS * (shape.flops / self.flops + 4 * elements / self.bytes)


def pace(where: Where) -> Pace:
    """By the weakest core of the device's line in the table."""
    if where.emulated:
        return Pace(_EMULATED)
    row = where.row
    if row is None or row.weakest.flops_per_cycle is None:
        return Pace(_UNKNOWN)
    return Pace(row.weakest.flops_per_cycle * _SLOWEST_CLOCK * _SLOWEST_KERNEL)

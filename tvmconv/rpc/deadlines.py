"""Deadlines of steps on a device, from their operations and bytes and the slowest device of that kind."""

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
class Deadlines:
    """The least speed of a device: floating-point operations and bytes of its link in a second."""

    flops: float
    bytes: float = _BYTES

    def seconds(self, shape: ConvShape | None = None) -> float:
        """Seconds that a step may take: one that computes the layer a few times and sends its arrays, or with None one
        that does neither."""
        if shape is None:
            return _LEAST
        elements = shape.mb * (shape.ic * shape.ih * shape.iw + shape.oc * shape.oh * shape.ow) + shape.oc * shape.k
        return _LEAST + _RUNS * (shape.flops / self.flops + 4 * elements / self.bytes)


def deadlines(where: Where) -> Deadlines:
    """The deadlines of a device, by the weakest core of its line in the table."""
    if where.emulated:
        return Deadlines(_EMULATED)
    row = where.row
    if row is None or row.weakest.flops_per_cycle is None:
        return Deadlines(_UNKNOWN)
    return Deadlines(row.weakest.flops_per_cycle * _SLOWEST_CLOCK * _SLOWEST_KERNEL)

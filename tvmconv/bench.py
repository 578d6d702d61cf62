"""A bench: each layer's kernels proved exact, then timed together with other libraries, in one interleaved run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from tvmconv import probe
from tvmconv.batch import Built, verified
from tvmconv.contestant import Entry, KernelEntry, PeerEntry
from tvmconv.kernel import load
from tvmconv.measure import Measurement, Rules, measure
from tvmconv.peers import Peer
from tvmconv.plan import Setting, blank_row, finished
from tvmconv.record import Row
from tvmconv.reference import integer_case
from tvmconv.shape import ConvShape
from tvmconv.target import Isa
from tvmconv.workload import Layer

_SEED = 20190704
_PROBES = 20  # of 2 ms each: enough to meet the full clock rate once

# What a bench adds to a row; all None in a row that has no time.
_FIGURES = (
    *("seconds", "rounds", "flops", "gflops", "peak_fraction", "workspace_bytes", "indirection_bytes"),
    *("packed_weight_bytes", "verified", "peer_version", "overhead_us"),
)

Progress = Callable[[int, int], None]


def measured_peak(isa: Isa) -> float:
    """The best of some multiply-add probes on this machine, GFLOP/s of one core."""
    return max(probe.fma_peak(isa) for _ in range(_PROBES))


@dataclass
class Bench:
    """How to bench layers. `known` gives the earlier result that a row need not be measured again for, or None.

    `peak_gflops` is the best multiply-add probe so far: it grows from layer to layer.
    """

    setting: Setting
    peers: Sequence[Peer]
    rules: Rules
    jobs: int
    known: Callable[[Row], Row | None]
    peak_gflops: float

    def layer(self, layer: Layer, kernels: Sequence[Built], progress: Progress) -> list[Row]:
        """One row for each kernel and each peer, in that order. Wrong kernels have no time, known rows are not new."""
        rows = [self._blank(item.row) for item in kernels]
        rows += [self._blank(blank_row(layer, self.setting, peer=peer.name)) for peer in self.peers]
        known = [self.known(row) for row in rows]
        wanted = [item for item, earlier in zip(kernels, known, strict=False) if earlier is None]
        proved = verified(wanted, self.setting, self.jobs)
        for index, earlier in enumerate(known):
            if earlier is not None:
                rows[index] = {**earlier, **{key: rows[index][key] for key in ("source", "name", "count")}}
            elif index < len(kernels):
                rows[index] = self._judged(rows[index], next(proved))
        self._measure(layer.shape, layer.reason, kernels, rows, progress)
        return rows

    def _blank(self, row: Row) -> Row:
        return {**row, **dict.fromkeys(_FIGURES), "cold": self.rules.cold}

    def _judged(self, row: Row, verdict: Row) -> Row:
        """Still to be measured if it is exact; finished if not."""
        if verdict["status"] == "ok":
            return {**row, "verified": True}
        return finished(row, verdict["status"], verdict["reason"], verified=False if verdict["exact"] is False else None)

"""Benchmarks a layer: verifies its kernels, then times them with other libraries in one interleaved run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tvmconv.algorithms import algorithm
from tvmconv.bench.batch import Built, sizes, verified
from tvmconv.bench.plan import Setting, blank_row, finished
from tvmconv.compiler.builder import build_all
from tvmconv.database.rows import FIGURES, Row
from tvmconv.measure import probe
from tvmconv.measure.contestant import SMALLEST
from tvmconv.measure.entries import Entry, KernelEntry, PeerEntry
from tvmconv.measure.interleaved import Best, Conditions, Measurement, Rules, measure
from tvmconv.measure.peers import Peer, available
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.client.remote_measure import SessionGroup
from tvmconv.target.isa import Isa
from tvmconv.verify.reference import integer_case
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

_PROBES = 20  # of 2 ms each: enough to meet the full clock rate once


def measured_peak(isa: Isa, cpus: Sequence[int]) -> float:
    """The best of some multiply-add probes on this machine, GFLOP/s of so many cores at once."""
    cores = probe.Cores(cpus)
    return max(cores.fma_peak(isa) for _ in range(_PROBES))


@dataclass
class _Entrant:
    """A row to be filled, and what is to be timed for it; nothing if the row is finished.

    `smallest` is the same for the smallest problem, whose time is the row's overhead.
    """

    row: Row
    entry: Entry | None = None
    smallest: Entry | None = None


@dataclass
class Bench:
    """Benchmarks layers. `known` gives the earlier results of rows that need not be measured again, or None.

    `best` is what the probes have seen of the cores so far; it grows as more layers are measured. `remote`: the device
    that everything runs on, None for this machine.
    """

    setting: Setting
    peers: Sequence[Peer]
    rules: Rules
    jobs: int
    known: Callable[[Sequence[Row]], list[Row] | None]
    best: Best
    remote: Remote | None = None

    def layer(self, layer: Layer, kernels: Sequence[Built], progress: Callable[[int, int], None]) -> list[Row]:
        """One row for each of the layer's kernels, then one for each peer. A kernel that is not exact has no time.

        Unless all that can be measured is known already all of it is measured: only so it is fit to be compared.
        """
        kernels = [replace(item, row={**item.row, **self._figures}) for item in kernels]
        others = [self._peer(layer, peer) for peer in self.peers]
        rows = [*(item.row for item in kernels), *(peer.row for peer in others)]
        asked = [row for row in rows if _is_open(row)]
        if (earlier := self.known(asked)) is not None:
            settled = iter(earlier)
            return [next(settled) if _is_open(row) else row for row in rows]
        entrants = [*self._kernels(kernels), *others]
        timed: dict[Entry, list[_Entrant]] = {}  # where tuning found nothing better one kernel is in two rows
        for entrant in entrants:
            if entrant.entry is not None:
                timed.setdefault(entrant.entry, []).append(entrant)
        if timed and layer.shape is not None:
            outcome = measure(
                list(timed),
                layer.shape,
                integer_case(layer.shape),
                self._conditions(layer.shape),
                best=self.best,
                smallest=[same[0].smallest for same in timed.values()],
                progress=progress,
            )
            self.best = outcome.best
            for same, measurement in zip(timed.values(), outcome.measurements, strict=True):
                for entrant in same:
                    entrant.row = self._measured(entrant.row, layer.shape, measurement)
        return [entrant.row for entrant in entrants]

    @property
    def _figures(self) -> Row:
        return {**FIGURES, "cold": self.rules.cold, "emulated": self._is_emulated}

    @property
    def _is_emulated(self) -> bool:
        """Whether times mean nothing."""
        return self.remote is not None and self.remote.where.emulated

    def _conditions(self, shape: ConvShape) -> Conditions:
        here = Conditions(self.setting.target.isa, self.setting.cpus, self.setting.threads, self.rules)
        if self.remote is None:
            return here
        # TVM measures whole rounds, and each device sends more than times.
        seconds = 2 * self.rules.max_time
        group = SessionGroup(self.remote, self.setting.target, shape, seconds, probed=not self._is_emulated)
        return replace(here, start=group.contestant)

    def _kernels(self, kernels: Sequence[Built]) -> Iterator[_Entrant]:
        """The kernels' rows, verified; those that are exact are to be timed."""
        sized = [self._with_sizes(item) for item in kernels]
        smallest = self._smallest(item.task.algorithm for item in sized if item.kernel)
        for item, row in zip(sized, verified(sized, self.setting, self.jobs, self.remote), strict=True):
            if item.kernel is None:
                yield _Entrant(item.row)
            elif row["exact"]:
                yield _Entrant({**row, "verified": True}, KernelEntry(item.kernel), smallest.get(item.task.algorithm))
            else:
                yield _Entrant({**row, "verified": False})

    def _smallest(self, algorithms: Iterable[str]) -> dict[str, KernelEntry]:
        """For each algorithm, a kernel for the smallest problem, to measure the overhead of a call.

        Where an algorithm rejects that problem it is one of `direct`. One that cannot be built is left out.
        """
        setting = replace(self.setting, tile=None)
        taken = {name: "direct" if algorithm(name).rejects(SMALLEST) else name for name in algorithms}
        requests = {name: setting.request(SMALLEST, other) for name, other in taken.items()}
        files = build_all(requests.values(), self.jobs)
        built = {name: files[request] for name, request in requests.items()}
        return {name: KernelEntry(file) for name, file in built.items() if not isinstance(file, Exception)}

    def _with_sizes(self, item: Built) -> Built:
        """The kernel with its sizes in its row."""
        if item.kernel is None:
            return item
        return replace(item, row={**item.row, **sizes(item.kernel, self.setting.threads)})

    def _peer(self, layer: Layer, peer: Peer) -> _Entrant:
        row = {**blank_row(layer, self.setting, peer=peer.name), **self._figures}
        if layer.shape is None or layer.reason:
            return _Entrant(finished(row, "rejected", layer.reason))
        if self.remote is not None:
            return _Entrant(finished(row, "skipped", f"{peer.name} runs on this machine alone, not on a device"))
        entry = PeerEntry(peer.name)
        return _Entrant({**row, "peer_package": f"{peer.package} {available(peer)}"}, entry, entry)

    def _measured(self, row: Row, shape: ConvShape, measurement: Measurement) -> Row:
        """The row with its times, or with what kept it from having them."""
        by_peer: dict[str, Any] = {}
        if row["peer"]:
            by_peer = {
                "layout": measurement.layout,
                "peer_version": measurement.version,
                "verified": measurement.status == "ok",
                "exact": measurement.max_error == 0 if measurement.status == "ok" else None,
                "max_error": measurement.max_error,
            }
        row = finished(row, measurement.status, measurement.reason, **by_peer)
        if measurement.seconds is None:
            return row
        gflops = shape.flops / measurement.seconds.median / 1e9
        rounds = {
            **{"n": measurement.seconds.n, "repeated": measurement.repeated, "slow": measurement.slow},
            "offered": measurement.offered,
        }
        return {
            **row,
            "seconds": asdict(measurement.seconds),
            "whole_call_seconds": measurement.whole_call,
            "overhead_us": None if measurement.overhead is None else measurement.overhead * 1e6,
            "rounds": rounds,
            "flops": shape.flops,
            "gflops": gflops,
            "peak_fraction": gflops / self.best.peak_gflops if self.best.peak_gflops else None,
            "sensors": measurement.sensors,
        }


def _is_open(row: Row) -> bool:
    """Whether a row is to be measured: not one that is skipped for a reason."""
    return row["status"] == "skipped" and row["reason"] is None

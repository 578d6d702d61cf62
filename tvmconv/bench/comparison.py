"""Named contestants that are measured together for one row; used by claims and scaling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from tvmconv.bench.plan import Setting, finished
from tvmconv.database.rows import Row
from tvmconv.measure.comparable import Timed
from tvmconv.measure.entries import Entry
from tvmconv.measure.interleaved import Best, Conditions, Measurement, Rules, measure
from tvmconv.verify.reference import integer_case
from tvmconv.workload.shape import ConvShape


@dataclass
class Contest:
    """Measures named contestants. `best` is what the probes have seen of the cores; it grows with each layer."""

    setting: Setting
    rules: Rules
    best: Best

    def measured(
        self,
        row: Row,
        shape: ConvShape,
        entries: Mapping[str, Entry],
        figures: Callable[[Mapping[str, Timed]], Row],
        progress: Callable[[int, int], None],
    ) -> Row:
        """The row with the entries' times by name, or with what kept the first of them from having one.

        `figures` gives what else the row says by the time of each.
        """
        outcome = measure(
            list(entries.values()),
            shape,
            integer_case(shape),
            Conditions(self.setting.target.isa, self.setting.cpus, self.setting.threads, self.rules),
            best=self.best,
            progress=progress,
        )
        self.best = outcome.best
        found = dict(zip(entries, outcome.measurements, strict=True))
        for name, measurement in found.items():
            if measurement.status != "ok":
                return finished(row, measurement.status, f"{name}: {measurement.reason}")
        seconds = {name: measurement.seconds for name, measurement in found.items() if measurement.seconds}
        return finished(
            row,
            "ok",
            seconds={name: asdict(counted) for name, counted in seconds.items()},
            rounds={
                "n": sum(counted.n for counted in seconds.values()),
                "repeated": sum(measurement.repeated for measurement in found.values()),
                "slow": sum(measurement.slow for measurement in found.values()),
                "offered": {name: measurement.offered for name, measurement in found.items()},
            },
            flops=shape.flops,
            peak_gflops=self.best.peak_gflops,
            **figures({name: _timed(measurement) for name, measurement in found.items()}),
        )


def _timed(measurement: Measurement) -> Timed:
    assert measurement.seconds
    offered = 1.0 if measurement.offered is None else measurement.offered
    return Timed(measurement.seconds.median, offered, measurement.slow > 0)

"""Imported times as rows of peers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles

from tvmconv.bench.importers.matching import Match, match
from tvmconv.bench.importers.profile import Profile, Times
from tvmconv.bench.plan import Setting, blank_row, finished
from tvmconv.database.rows import FIGURES, Row
from tvmconv.target import targets
from tvmconv.workload.resolve import Layer

# What an imported row has beside those of bench's: whose file it came from, by what its layer was found.
_IMPORTED: Row = {**FIGURES, "imported_from": None, "matched_by": None}


@dataclass(frozen=True)
class Origin:
    """The source of imported times: the file, the device, and its threads if the file does not say."""

    file: str
    device: str
    threads: int | None = None


def rows(profiles: Sequence[Profile], layers: Sequence[Layer], origin: Origin) -> Iterator[Row]:
    """A row for each layer and network that has a time, and for each layer and operator that was not matched."""
    for profile in profiles:
        blank = partial(_blank, profile, origin)
        if profile.whole:
            row = blank(Layer(profile.network or origin.file, None))
            yield finished(row, "ok", "the whole network", seconds=_seconds(profile.whole))
        for found in match(profile, _layers_of(profile, layers, only=len(profiles) == 1)):
            layer = found.layer or Layer(profile.network or origin.file, None, found.ops[0].name)
            yield _filled(blank(layer), found)


def _layers_of(profile: Profile, layers: Sequence[Layer], only: bool) -> list[Layer]:
    """The layers of the workload that is called like the profile's network; of all if the file has one profile."""
    same = [layer for layer in layers if layer.source.partition("/")[0] == profile.network]
    return same or (list(layers) if only else [])


def _blank(profile: Profile, origin: Origin, layer: Layer) -> Row:
    row = blank_row(layer, Setting(targets.parse("aarch64"), device=origin.device), peer=profile.peer)
    # Nobody knows what code the tool had, nor in which layout it kept its tensors.
    unknown = {"target": None, "layout": None, "threads": profile.threads or origin.threads}
    return {**row, **_IMPORTED, **unknown, "imported_from": origin.file}


def _filled(row: Row, found: Match) -> Row:
    """The row of a layer with its time; an operator without a layer becomes a skipped row."""
    if not found.ops:
        return finished(row, "skipped", found.how)
    if foreign := next((op.foreign for op in found.ops if op.foreign), None):
        return finished(row, "skipped", foreign)
    seconds = _seconds(Times.averaged([op.times for op in found.ops]))
    if found.layer is None or found.layer.shape is None:
        return finished(row, "skipped", found.how, seconds=seconds)
    flops = found.layer.shape.flops
    gflops = flops / seconds["median"] / 1e9
    return finished(row, "ok", seconds=seconds, flops=flops, gflops=gflops, verified=False, matched_by=found.how)


def _seconds(times: Times) -> Row:
    """Times as bench has them; where a tool reports averages alone, the average, and `statistic` says so."""
    if not times.runs:
        return {"median": times.average, "p20": None, "p80": None, "n": times.n, "statistic": "mean"}
    p20, *_, p80 = quantiles(times.runs, n=5, method="inclusive") if len(times.runs) > 1 else times.runs * 2
    return {"median": median(times.runs), "p20": p20, "p80": p80, "n": len(times.runs), "statistic": "median"}

"""A plot of tuning logs: the best speed so far, trial by trial."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from tvmconv.database.log import Record
from tvmconv.report.figure import drawing, literal

_WIDTH, _HEIGHT, _LINE = 9.0, 5.0, 0.17  # inches; the last of a line of the legend
_DASHES = ("-", "--", ":", "-.")
_COLOURS = 10  # of matplotlib's cycle


def draw_convergence(records: Sequence[Record], path: Path) -> None:
    """Draws a line for each search of each key, by the number of the trial; PNG or SVG by the file's name.

    Of the records, which have a trial at least, only trials are drawn. Raises OSError where the file cannot be written.
    """
    searches = _searches([record for record in records if record.stage == "trial"])
    with drawing(path, _WIDTH, _HEIGHT + _LINE * len(searches)) as figure:
        axes = figure.add_subplot()
        for index, (title, own) in enumerate(searches.items()):
            own.sort(key=lambda record: record.trial)
            numbers = [record.trial + 1 for record in own]
            best = [*accumulate((record.gflops or 0.0 for record in own), max)]
            (line,) = axes.plot(numbers, best, label=literal(title), drawstyle="steps-post")
            line.set(color=f"C{index % _COLOURS}", linestyle=_DASHES[index // _COLOURS % len(_DASHES)])
        axes.set_xlabel("trials")
        axes.set_ylabel("best GFLOP/s so far")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", frameon=False, fontsize=7.5)


def _searches(trials: Sequence[Record]) -> dict[str, list[Record]]:
    """The trials of each search, by what the legend says of it. Of one that was measured in several ways, each is a
    search of its own, and the legend says when the first of its trials was."""
    ways: dict[str, dict[str, list[Record]]] = {}
    for trial in trials:
        title = f"{trial.key}, {trial.searcher}, seed {trial.seed}, {trial.cpu}"
        ways.setdefault(title, {}).setdefault(trial.method, []).append(trial)
    return {
        title if len(own) == 1 else f"{title}, from {min(trial.time for trial in found)}": found
        for title, own in ways.items()
        for found in own.values()
    }

"""A drawing of tuning logs: the best speed so far, trial by trial."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from tvmconv.figure import drawing, literal
from tvmconv.log import Record

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
        for index, ((title, _), own) in enumerate(searches.items()):
            own.sort(key=lambda record: record.trial)
            numbers = [record.trial + 1 for record in own]
            best = [*accumulate((record.gflops or 0.0 for record in own), max)]
            (line,) = axes.plot(numbers, best, label=literal(title), drawstyle="steps-post")
            line.set(color=f"C{index % _COLOURS}", linestyle=_DASHES[index // _COLOURS % len(_DASHES)])
        axes.set_xlabel("trials")
        axes.set_ylabel("best GFLOP/s so far")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", frameon=False, fontsize=7.5)


def _searches(trials: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """The trials of each search, by its title and the way in which they were measured. What nobody searched for, the
    default, belongs to all of its key."""
    searchers: dict[tuple[str, str], set[str]] = {}
    for trial in trials:
        searchers.setdefault(_run(trial), set()).add(trial.searcher)
    found: dict[tuple[str, str], list[Record]] = {}
    for trial in trials:
        others = sorted(searchers[_run(trial)] - {"default"}) or ["default"]
        for searcher in others if trial.searcher == "default" else [trial.searcher]:
            found.setdefault((f"{trial.key}, {searcher}, seed {trial.seed}, {trial.cpu}", trial.method), []).append(
                trial
            )
    return found


def _run(trial: Record) -> tuple[str, str]:
    return f"{trial.key}, seed {trial.seed}, {trial.cpu}", trial.method

"""Figures as PNG or SVG files: their common style, and writing them whole."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tvmconv.support.filesystem.files import write_whole
from tvmconv.support.install import install_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")

# Whatever the user's own settings are; an svg keeps its text as text, and is the same each time.
_LOOK = {
    "font.size": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tvmconv",
    "axes.titlesize": 10,
    "savefig.dpi": 150,
}


def check(path: Path, option: str) -> None:
    """Raises ValueError, with one sentence that names the option, where a drawing could not be made or put."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{option} {path}: name a file that ends in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"{option} {path}: there is no folder {path.parent}; make it first")
    if path.exists() and not path.is_file():
        raise ValueError(f"{option} {path} is a folder or a special file: name a plain file")
    if find_spec("matplotlib") is None:
        raise ValueError(f"{option} needs matplotlib, which is not installed: {install_line('plot')}")


@contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches to draw on, which is written at the end, whole or not at all.

    PNG or SVG by the file's name. Raises OSError where it cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_LOOK)
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        content = io.BytesIO()
        kind = path.suffix[1:]
        figure.savefig(content, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": "tvmconv"})
    write_whole(path, content.getvalue())


def literal(text: str) -> str:
    """The text as it is, to matplotlib, which would take what stands between dollars for a formula."""
    return text.replace("$", r"\$")

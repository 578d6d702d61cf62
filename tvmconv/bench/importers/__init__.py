"""Results of other tools' own benchmarks: TFLite's benchmark_model and ncnn's benchncnn, as rows beside ours.

One file a format, with read(text) → profiles; `matching` finds the layers that a profile's operators are, `rows` makes
the rows.
"""

from __future__ import annotations

from pathlib import Path

from tvmconv.bench.importers import ncnn, tflite
from tvmconv.bench.importers.profile import Profile


def read(path: Path) -> list[Profile]:
    """The profiles in a file that one of the tools has printed or written.

    Raises ValueError, with one sentence, for a file that cannot be read, and for one that is of neither.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    if found := tflite.read(text) or ncnn.read(text):
        return found
    raise ValueError(
        f"{path} has no figures: it must be what TFLite's benchmark_model --enable_op_profiling=true has printed or "
        "written as CSV, or what benchncnn has printed"
    )

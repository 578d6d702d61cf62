"""Reads the operator profile of TFLite's benchmark_model, printed or as CSV.

`benchmark_model --graph=… --enable_op_profiling=true` prints, and with `--profiling_output_csv_file=FILE` (by now
`--op_profiling_output_mode=csv --op_profiling_output_file=FILE`) writes, for the initialisation and then for the runs,
a line `============================== Run Order ==============================`, one of column titles, and one for each
operator (tensorflow/core/util/stats_calculator.cc, later tsl/util and xla/tsl/util; the titles of
tensorflow/lite/profiling/profile_summary_formatter.cc's sections). Printed:

    [node type] ([start]) [first] [avg ms] [%] [cdf%] [mem KB] [times called] [Name]
    CONV_2D  0.066  87.754  60.957  2.066%  2.066%  0.000  1  [MobilenetV1/MobilenetV1/Conv2d_0/Relu6]:0

and in CSV the same behind `node type, (start,) first, avg_ms, %, cdf%, mem KB, times called, name`. Newer ones
leave `start` out. Times are milliseconds of one call, averaged over all runs: neither a median nor a spread is known.
With the XNNPACK delegate the operators have its names, `Convolution (NHWC, F32) IGEMM`, in the same table or in one
of their own behind `Delegate internal:`. Shapes are not told. `Timings (microseconds): count=50 …` ends each part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tvmconv.bench.importers.profile import Op, Profile, Times

_RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs"
_RUN_ORDER = "= Run Order ="
_NUMBER = r"[-+]?(?:[\d.]+(?:e[-+]?\d+)?|nan|inf)%?"
_THREADS = re.compile(r"#threads used for CPU inference: \[(\d+)\]|Num threads: \[(\d+)\]")
_WHOLE = re.compile(r"Inference timings in us: .*Inference \(avg\): (\S+)")
_COUNT = re.compile(r"Timings \(microseconds\): count=(\d+)")
_XNNPACK = re.compile(r"Convolution \((?:NHWC|NCHW), (\w+)\)(?: (\w+))?")


def read(text: str) -> list[Profile]:
    """The one profile that the text holds; none if it is not benchmark_model's."""
    if _RUN_ORDER not in text:
        return []
    _, found, regular = text.rpartition(_RUNS)
    runs = regular if found else text
    count = _COUNT.search(runs)
    times = int(count[1]) if count else None
    threads = _THREADS.search(text)
    whole = _WHOLE.search(text)
    return [
        Profile(
            "tflite",
            None,
            tuple(_convolutions(runs, times)),
            int(threads[1] or threads[2]) if threads else None,
            Times(average=float(whole[1]) / 1e6, n=times) if whole else None,
        )
    ]


def _convolutions(text: str, runs: int | None) -> Iterator[Op]:
    """The convolutions of all tables in run order: of the graph, then of its delegate's insides."""
    for table in text.split(_RUN_ORDER)[1:]:
        _, title, *lines = table.splitlines()
        for line in lines:
            if not line.strip():
                break
            if op := _operator(line, title, runs):
                yield op


def _operator(line: str, title: str, runs: int | None) -> Op | None:
    """The convolution of a table's line, None for another operator."""
    printed = "[node type]" in title
    columns = re.findall(r"\[([^\]]+)\]", title) if printed else [name.strip() for name in title.split(",")]
    between = r"\s+" if printed else r"\s*,\s*"
    numbers = between.join(f"({_NUMBER})" for _ in columns[1:-1])
    # Names have blanks and commas in them, so the columns of numbers are what is looked for.
    cells = re.fullmatch(rf"\s*(.+?){between}{numbers}{between}(.*)", line)
    if cells is None:
        return None
    cell = dict(zip([column.replace(" ", "_") for column in columns], cells.groups(), strict=True))
    known = _kind(cell["node_type"])
    if known is None:
        return None
    depthwise, foreign = known
    # A delegate may call an operator in parts.
    seconds = float(cell["avg_ms"]) * int(cell["times_called"]) / 1e3
    return Op(cells.groups()[-1], Times(average=seconds, n=runs), depthwise, foreign=foreign)


def _kind(node_type: str) -> tuple[bool | None, str | None] | None:
    """Whether it is depthwise, and why it is not one of f32; None for what is no convolution."""
    if node_type in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return node_type.startswith("DEPTHWISE"), None
    if found := _XNNPACK.match(node_type):
        kernel = found[2]
        foreign = None if found[1] == "F32" else f"it computed in {found[1]}, not in f32"
        return (kernel == "DWConv" if kernel else None), foreign
    return None

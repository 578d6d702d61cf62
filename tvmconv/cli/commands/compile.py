"""tvmconv compile: kernels as files, each with its C header."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path

from tvmconv import report
from tvmconv.batch import Built
from tvmconv.cli import arguments
from tvmconv.cli.build import build
from tvmconv.cli.output import Output, exit_code
from tvmconv.entries import C_FUNCTIONS
from tvmconv.files import write_whole
from tvmconv.kernel import Kernel, read
from tvmconv.plan import AUTO, finished, plan
from tvmconv.record import Row
from tvmconv.workload import resolve


def run(options: argparse.Namespace, output: Output) -> int:
    setting = arguments.setting(options, runs_here=False)
    algorithms = options.algorithm or arguments.Algorithms((AUTO,), named=False)
    tasks = list(plan(resolve(options.workloads, output.warn), algorithms.names, setting))
    folder, file = _destination(options.output, sum(task.reason is None for task in tasks))
    output.table_at_end(report.compile_table)

    started = time.monotonic()
    built = build(tasks, setting, options.jobs, output)
    folder.mkdir(exist_ok=True)
    stems = iter(_stems([item for item in built if item.kernel]))
    for item in built:
        if item.kernel is None:
            output.row(item.row)
            continue
        kernel, path = read(item.kernel), folder / (file or f"{next(stems)}.so")
        kernel.save(path)
        header = path.with_suffix(".h")
        write_whole(header, kernel.header().encode())
        chosen_by = "rule" if AUTO in algorithms.names else "user"
        output.row(_row(item, kernel, path, header, time.monotonic() - started, chosen_by))
    return exit_code(output.rows, algorithms.required)


def _row(item: Built, kernel: Kernel, path: Path, header: Path, seconds: float, chosen_by: str) -> Row:
    """`seconds` is the time from the start of the first build until this file was there."""
    return finished(
        item.row,
        "ok",
        path=str(path),
        header=str(header),
        symbols=[f"{kernel.description['prefix']}_{name}" for name in C_FUNCTIONS],
        seconds=round(seconds, 3),
        chosen_by=chosen_by,
        workspace_bytes=kernel.workspace_bytes(),
        packed_weight_bytes=kernel.packed_bytes,
    )


def _destination(text: str, kernels: int) -> tuple[Path, str | None]:
    """The folder that -o names, and the file in it if it names one. Raises ValueError where nothing can be put."""
    if not text:
        raise ValueError("-o is empty: name a file, or a folder with a / behind")
    path = Path(text)
    is_folder = text.endswith("/") or path.is_dir()
    if not path.parent.is_dir():
        raise ValueError(f"-o {text}: there is no folder {path.parent}; make it first")
    if is_folder and path.exists() and not path.is_dir():
        raise ValueError(f"-o {text}: {path} is a file; name a folder, or leave the / out")
    if not is_folder and path.exists() and not path.is_file():
        raise ValueError(f"-o {text}: {path} is a device or another special file; name a plain file, or a folder")
    if not is_folder and kernels > 1:
        raise ValueError(f"-o {text} is one file, but there are {kernels} kernels: name a folder, -o DIR/")
    if not is_folder and path.suffix == ".h":
        raise ValueError(f"-o {text} is where the header would go: name the library, -o {path.with_suffix('.so')}")
    return (path, None) if is_folder else (path.parent, path.name)


def _stems(built: Sequence[Built]) -> list[str]:
    """A file name for each kernel: the layers' names if they tell the kernels apart, else names that do."""
    algorithms = [item.task.algorithm for item in built]
    workloads = [str(item.task.layer.shape) for item in built]
    names = [re.sub(r"[^\w.+-]", "_", item.task.layer.name or str(item.task.layer.shape)) for item in built]
    for parts in ((names,), (names, algorithms), (names, workloads, algorithms)):
        stems = ["-".join(stem) for stem in zip(*parts, strict=True)]
        if len(set(stems)) == len(stems):
            break
    return stems  # two that are the same even now are the same kernel

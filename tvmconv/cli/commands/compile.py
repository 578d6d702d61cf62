"""tvmconv compile: kernels as libraries with C headers, a file each or all in one, or as a program."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tvmconv.bench.batch import Built, sizes
from tvmconv.bench.plan import Setting, Task, finished, plan
from tvmconv.cli import values
from tvmconv.cli.build import build
from tvmconv.cli.output import Output, exit_code
from tvmconv.cli.setting import setting_of
from tvmconv.compiler import standalone
from tvmconv.compiler.builder import Request
from tvmconv.compiler.ffi_entries import C_FUNCTIONS
from tvmconv.compiler.library import header_of, is_library, write_library
from tvmconv.database import results
from tvmconv.database.heuristic import AUTO, LAYOUT
from tvmconv.database.rows import FIGURES, Row
from tvmconv.report import tables
from tvmconv.runtime.kernel import read
from tvmconv.workload.resolve import Layer, resolve

# Names of files that are no program for Linux.
_OTHERS = re.compile(r"\.(so(\.\d+)*|a|o|h|c|dll|dylib|lib|exe)$", re.IGNORECASE)
# What compile adds to a row, None where nothing was written.
_FIGURES: Row = dict.fromkeys(("path", "header", "symbols", "seconds", "workspace_bytes", "packed_weight_bytes"))

_LONGEST_NAME = 100  # bytes of a layer's name in the name of a file


def run(options: argparse.Namespace, output: Output) -> int:
    setting = setting_of(options, output, runs_here=False)
    algorithms = options.algorithm or values.Algorithms((AUTO,), named=False)
    if len(setting.schedules) > 1:
        raise ValueError("compile writes each kernel once: name one --schedule")
    folder, file = _destination(options.output)
    if options.standalone:
        _check_standalone(options, file)
    elif file is not None:
        _check_library(options.output, folder / file)
    measured = _results(options, algorithms, setting)
    tasks = list(plan(resolve(options.workloads, output.warn), algorithms.names, setting, measured))
    _check_distinct(tasks)
    if measured:
        _warn_of_the_unmeasured(tasks, measured, output)
        _warn_of_doubts(tasks, measured, setting.max_workspace, output)
    output.table_at_end(partial(tables.compile_table, unnamed=algorithms.unnamed(options.verbose)))

    started = time.monotonic()
    built = build(tasks, setting, options.jobs, output)
    if any(item.kernel for item in built):
        folder.mkdir(exist_ok=True)
    groups = [(built, file)] if file else zip(([item] for item in built), _files(built), strict=True)
    for items, name in groups:
        header = (_program if options.standalone else _library)(items, folder / name, setting, output)
        for row in _written(items, folder / name, header, setting, started):
            output.row(row)
    return exit_code(output.rows, algorithms.required)


def _results(options: argparse.Namespace, algorithms: values.Algorithms, setting: Setting) -> results.Results | None:
    """The results that --results names. Raises ValueError where it makes no sense beside the other options."""
    if options.results is None:
        return None
    if AUTO not in algorithms.names:
        raise ValueError("--results is what auto chooses by: leave -a out, or say -a auto")
    if setting.tile:
        raise ValueError("--results brings the tile that was fastest: leave --tile out")
    wanted = {"target": setting.target.name, "layout": setting.layout or LAYOUT, "device": setting.device}
    return results.read(options.results, {**wanted, "threads": setting.threads})


def _check_distinct(tasks: Sequence[Task]) -> None:
    """Raises ValueError for two kernels of one name, which -a auto,direct gives where results bring another tile."""
    requests: dict[str, Request] = {}
    for task in tasks:
        if task.request and requests.setdefault(task.request.prefix, task.request) != task.request:
            raise ValueError(
                f"-a asks for {task.request.prefix} twice, with tiles {requests[task.request.prefix].tile} and "
                f"{task.request.tile}: compile them one by one"
            )


def _warn_of_the_unmeasured(tasks: Sequence[Task], measured: results.Results, output: Output) -> None:
    by_rule = [task for task in tasks if task.chosen_by == "rule"]
    unmeasured = [task.layer for task in by_rule if not task.unknown]
    if unmeasured:
        output.warn(f"{measured.path} has nothing to choose by for {_some(unmeasured, tasks)}: the rule chooses there")
    unknown = [task for task in by_rule if task.unknown]
    if unknown:
        layers = _some([task.layer for task in unknown], tasks)
        output.warn(
            f"{measured.path} has only what cannot be built here for {layers}: {unknown[0].unknown}; "
            "the rule chooses there"
        )


def _warn_of_doubts(
    tasks: Sequence[Task], measured: results.Results, max_workspace: int | None, output: Output
) -> None:
    by_results = [task for task in tasks if task.chosen_by == "results"]
    shapes = ((task.layer, task.layer.shape) for task in by_results)
    doubtful = [layer for layer, shape in shapes if shape and measured.is_doubtful(shape, max_workspace)]
    if doubtful:
        output.warn(
            f"{measured.path} does not tell which is the fastest for {_some(doubtful, tasks)}: some were measured in "
            "slower rounds, and what would be the fastest at full speed is taken; a new bench on quiet cores would tell"
        )


def _some(layers: Sequence[Layer], tasks: Sequence[Task]) -> str:
    return f"{len(layers)} of {len(tasks)} layers, {layers[0].name or layers[0].shape} first"


def _check_standalone(options: argparse.Namespace, file: str | None) -> None:
    """Raises ValueError where no program can be made."""
    standalone.zig_triple(options.target)
    if file is None:
        raise ValueError(f"--standalone makes one program of all layers: name a file, not the folder {options.output}")
    if _OTHERS.search(file):
        raise ValueError(f"-o {options.output}: --standalone makes a program for Linux; leave the suffix out")


def _check_library(text: str, path: Path) -> None:
    """Raises ValueError where the name is none of a library that is written here, or its header has no place."""
    if not is_library(path.name):
        name = path.with_suffix("")
        raise ValueError(
            f"-o {text}: name {name}.so for a shared object, {name}.a for a static library, or {name}/ for a folder of "
            "a shared object for each layer"
        )
    if header_of(path).is_dir():
        raise ValueError(f"-o {text}: the header would be {header_of(path)}, which is a folder; name another file")


def _library(items: Sequence[Built], path: Path, setting: Setting, output: Output) -> Path | None:
    """Writes the kernels of all items into one library, each once; its header, None where there is no kernel."""
    kernels = list(dict.fromkeys(item.kernel for item in items if item.kernel))
    return write_library(kernels, _names(items), path) if kernels else None


def _program(items: Sequence[Built], path: Path, setting: Setting, output: Output) -> None:
    """Writes a program of all items."""
    parts = [
        standalone.Part(item.kernel, {**item.row, **_measurable(item.kernel, setting)}) for item in items if item.kernel
    ]
    if parts:
        standalone.write_program(parts, setting.target, output.context(), path, output.warn)


def _measurable(path: Path, setting: Setting) -> Row:
    """The fields of a program's row that bench's rows have before measuring."""
    return {**FIGURES, "flops": read(path).shape.flops, **sizes(path, setting.threads)}


def _written(
    items: Sequence[Built], path: Path, header: Path | None, setting: Setting, started: float
) -> Iterator[Row]:
    """The rows of items whose kernels are in the file now.

    A row's seconds are the time from the start of the first build until its file was there.
    """
    seconds = round(time.monotonic() - started, 3)
    for item in items:
        row = {**item.row, **_FIGURES}
        if item.kernel is None:
            yield row
            continue
        kernel = read(item.kernel)
        yield finished(
            row,
            "ok",
            path=str(path),
            header=str(header) if header else None,
            symbols=[f"{kernel.description['prefix']}_{name}" for name in C_FUNCTIONS],
            seconds=seconds,
            workspace_bytes=kernel.workspace_bytes(setting.threads),
            packed_weight_bytes=kernel.packed_bytes,
        )


def _names(items: Iterable[Built]) -> dict[str, list[str]]:
    """The names of the layers that each kernel is for, by its prefix."""
    names: dict[str, list[str]] = {}
    for item in items:
        if item.task.request and item.task.layer.name:
            own = names.setdefault(item.task.request.prefix, [])
            own += [item.task.layer.name] if item.task.layer.name not in own else []
    return names


def _destination(text: str) -> tuple[Path, str | None]:
    """The folder that -o names, and the file in it if it names one. Raises ValueError where nothing can be put."""
    if not text:
        raise ValueError("-o is empty: name a file, or a folder with a / behind")
    if text == "-":
        raise ValueError("-o -: nothing is written to stdout; name a file, or a folder with a / behind")
    path = Path(text)
    is_folder = text.endswith("/") or path.is_dir()
    if not path.parent.is_dir():
        raise ValueError(f"-o {text}: there is no folder {path.parent}; make it first")
    if is_folder and path.exists() and not path.is_dir():
        raise ValueError(f"-o {text}: {path} is a file; name a folder, or leave the / out")
    if not is_folder and path.exists() and not path.is_file():
        raise ValueError(f"-o {text}: {path} is a device or another special file; name a plain file, or a folder")
    if not os.access(path if path.is_dir() else path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"-o {text}: no file can be written there")
    return (path, None) if is_folder else (path.parent, path.name)


def _files(built: Sequence[Built]) -> list[str]:
    """A file name for each kernel: the layers' names if they tell the kernels apart, else names that do."""
    made = [item for item in built if item.kernel]
    algorithms = [item.task.algorithm for item in made]
    workloads = [str(item.task.layer.shape) for item in made]
    names = [_file_name(item.task.layer.name or str(item.task.layer.shape)) for item in made]
    for parts in ((names,), (names, algorithms), (names, workloads, algorithms)):
        stems = ["-".join(stem) for stem in zip(*parts, strict=True)]
        if len(set(stems)) == len(stems):
            break
    remaining = iter(stems)  # two that are the same even now are the same kernel
    return [f"{next(remaining)}.so" if item.kernel else "" for item in built]


def _file_name(name: str) -> str:
    """A layer's name as a part of a file's: a file name has room for 255 bytes, in which more has to go."""
    return re.sub(r"[^\w.+-]", "_", name).encode()[:_LONGEST_NAME].decode(errors="ignore")

"""build: compiles one problem or takes it from the cache, with its tuned schedule if there is one."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from tvmconv.compiler.builder import Request, build_path
from tvmconv.database import auto
from tvmconv.database.heuristic import AUTO
from tvmconv.database.log import Logs, folders
from tvmconv.database.tuned import HAND, TUNED, scheduled
from tvmconv.runtime.kernel import Kernel, read
from tvmconv.runtime.thread_pool import check_number
from tvmconv.support.text import unknown
from tvmconv.target.tile import Tile
from tvmconv.workload.resolve import Layer, resolve
from tvmconv.workload.shape import AXES, ConvShape

_SCHEDULES = (AUTO, HAND, TUNED)
_MOST_CHOICES = 20  # layers that an error names


def build(
    workload: str | ConvShape,
    algorithm: str = AUTO,
    target: str = "native",
    schedule: str = AUTO,
    tile: Tile | str | None = None,
    threads: int = 1,
    layout: str | None = None,
    log_dir: str | os.PathLike[str] | None = None,
) -> Kernel:
    """Compiles one problem, or takes it from the cache.

    workload is what the command takes, if that is one layer: a benchdnn descriptor, a layer of a network or of an ONNX
    model ("resnet18/conv1", "model.onnx/NAME"); or a ConvShape. algorithm "auto" is the fastest by the tuning logs,
    where they know the one that the rule gives and another, else that one. schedule "auto" is the tuned one where the
    logs of `log_dir` (the user's own if it is None) or the shipped ones have a record of exactly this kernel and number
    of threads, else the one by hand; the kernel's description says which. threads is what prepare uses unless it is
    told otherwise, and the kernel serves any number. The target may be another machine: such a kernel can be saved, and
    refuses to prepare. What is assumed of a model is a warning.

    Raises ValueError for a workload, name, tile or number of threads that is wrong, where the algorithm rejects the
    problem, or where a tuned schedule is asked for and there is none; TypeError for arguments of another type;
    zig.LinkError where the linker fails.
    """
    check_number(threads)
    _check_types(algorithm=algorithm, target=target, schedule=schedule, layout=layout, tile=tile, log_dir=log_dir)
    if layout is not None and layout not in AXES:
        raise ValueError(unknown("layout", layout, tuple(AXES)))
    if schedule not in _SCHEDULES:
        raise ValueError(unknown("schedule", schedule, _SCHEDULES))
    shape = _shape(workload)
    tile = Tile.parse(tile) if isinstance(tile, str) else tile
    logs = Logs(folders(None if log_dir is None else Path(log_dir)), warn=warnings.warn)
    asked = Request(shape, algorithm, target, schedule, tile, layout)
    found = auto.best(asked, threads, logs) if algorithm == AUTO else scheduled(asked, threads, logs)
    kernel = read(build_path(found.request))
    kernel.threads = threads
    return kernel


def _shape(workload: str | ConvShape) -> ConvShape:
    """The one problem that a workload is. Raises TypeError or ValueError."""
    if isinstance(workload, ConvShape):
        return workload
    if not isinstance(workload, str):
        raise TypeError(f"workload is a {type(workload).__name__}; pass a benchdnn descriptor or a ConvShape")
    layers = resolve([workload], warnings.warn)
    if len(layers) > 1:
        choices = [_name(workload, layer) for layer in layers[:_MOST_CHOICES]]
        more = [f"and {len(layers) - _MOST_CHOICES} more"] if len(layers) > _MOST_CHOICES else []
        raise ValueError(f"{workload} has {len(layers)} layers; build one of them: {', '.join([*choices, *more])}")
    (layer,) = layers
    if layer.reason or layer.shape is None:
        raise ValueError(layer.reason)
    return layer.shape


def _name(workload: str, layer: Layer) -> str:
    """The workload that is that layer alone."""
    return layer.source if workload.startswith("@") else f"{workload}/{layer.name}"


def _check_types(**arguments: Any) -> None:
    """Raises TypeError."""
    wanted: dict[str, tuple[Any, str]] = {
        "tile": (str | Tile | None, 'a Tile or text such as "6x64"'),
        "log_dir": (str | os.PathLike | None, "the path of a folder"),
        "layout": (str | None, "text"),
    }
    for name, value in arguments.items():
        kinds, what = wanted.get(name, (str, "text"))
        if not isinstance(value, kinds):
            raise TypeError(f"{name} is a {type(value).__name__}; pass {what}")

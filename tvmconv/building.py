"""build: one problem compiled, or taken from the cache, by its tuned schedule where there is one."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from tvmconv import auto
from tvmconv.builder import Request, build_path
from tvmconv.choose import AUTO
from tvmconv.kernel import Kernel, read
from tvmconv.log import Logs, folders
from tvmconv.names import unknown
from tvmconv.shape import AXES, ConvShape
from tvmconv.tile import Tile
from tvmconv.tuned import scheduled


def build(
    workload: str | ConvShape,
    algorithm: str = "indirect",
    target: str = "native",
    schedule: str = AUTO,
    tile: Tile | str | None = None,
    threads: int = 1,
    layout: str | None = None,
    log_dir: str | os.PathLike[str] | None = None,
) -> Kernel:
    """Compiles one problem, or takes it from the cache.

    workload is a benchdnn descriptor or a ConvShape. algorithm "auto" is the fastest by the tuning logs, where they
    know the one that the rule gives and another, else that one. schedule "auto" is the tuned one where the logs of
    `log_dir` (the user's own if it is None) or the shipped ones have a record of exactly this kernel and number of
    threads, else the one by hand; the kernel's description says which. threads is what prepare uses unless it is told
    otherwise, and the kernel serves any number. The target may be another machine: such a kernel can be saved, and
    refuses to prepare. Raises ValueError for a descriptor, name, tile or number of threads that is wrong, where the
    algorithm rejects the problem, or where a tuned schedule is asked for and there is none; zig.LinkError where
    the linker fails.
    """
    if threads < 1:
        raise ValueError(f"threads={threads}: at least one thread has to compute")
    if not isinstance(workload, str | ConvShape):
        raise TypeError(f"workload is a {type(workload).__name__}; pass a benchdnn descriptor or a ConvShape")
    if not isinstance(tile, str | Tile | None):
        raise TypeError(f'tile is a {type(tile).__name__}; pass a Tile or text such as "6x64"')
    if layout is not None and layout not in AXES:
        raise ValueError(unknown("layout", layout, tuple(AXES)))
    shape = workload if isinstance(workload, ConvShape) else ConvShape.parse(workload)
    tile = Tile.parse(tile) if isinstance(tile, str) else tile
    logs = Logs(folders(None if log_dir is None else Path(log_dir)), warn=warnings.warn)
    asked = Request(shape, algorithm, target, schedule, tile, layout)
    found = auto.best(asked, threads, logs) if algorithm == AUTO else scheduled(asked, threads, logs)
    kernel = read(build_path(found.request))
    kernel.threads = threads
    return kernel

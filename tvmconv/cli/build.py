"""Builds the kernels of verify, bench and compile, with progress."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tvmconv.bench.batch import Built, build_tasks, llvm_version
from tvmconv.bench.plan import Setting, Task
from tvmconv.cli.output import Output


def build(
    tasks: Sequence[Task], setting: Setting, jobs: int, output: Output, peak_gflops: float | None = None
) -> list[Built]:
    """Build the kernels of all tasks, then print the context, which only a kernel can complete."""
    started = time.monotonic()
    with output.progress("build") as progress:
        built = build_tasks(tasks, setting, jobs, progress)
    kernels = [item.kernel for item in built if item.kernel is not None]
    output.note(f"{len(kernels)} kernels built, or found in the cache, in {time.monotonic() - started:.1f} s")
    output.context(llvm_version(kernels), peak_gflops)
    return built

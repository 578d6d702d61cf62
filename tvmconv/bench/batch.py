"""Builds and verifies the kernels of many tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvmconv.bench.plan import Setting, Task, blank_row, finished
from tvmconv.compiler.builder import build_all
from tvmconv.database.rows import Row
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.client.verify import verify as verify_on_device
from tvmconv.runtime.kernel import read
from tvmconv.runtime.kernel_file.description import descriptions
from tvmconv.verify.check import Check, verify


@dataclass(frozen=True)
class Built:
    """A task, its kernel's file and its row; where there is no kernel the row says why, and is finished."""

    task: Task
    row: Row
    kernel: Path | None = None


def build_tasks(
    tasks: Sequence[Task], setting: Setting, jobs: int, progress: Callable[[int, int], None]
) -> list[Built]:
    """The kernels of all tasks, in order, `jobs` compiled at a time."""
    kernels = build_all([task.request for task in tasks if task.request], jobs, progress)
    built = []
    for task in tasks:
        row = blank_row(task.layer, setting, algorithm=task.algorithm, schedule=task.schedule)
        if task.request is None:
            built.append(Built(task, finished(row, "rejected", task.reason)))
            continue
        row |= task.kernel
        kernel = kernels[task.request]
        if isinstance(kernel, Exception):
            built.append(Built(task, finished(row, "error", f"the build failed: {kernel}")))
        else:
            built.append(Built(task, {**row, "kernel": kernel.stem}, kernel))
    return built


def verified(built: Sequence[Built], setting: Setting, jobs: int, remote: Remote | None = None) -> Iterator[Row]:
    """The row of each task with what verify found, in order, each as soon as it is known; `remote`: on which device."""
    checks = [
        Check(item.kernel, item.task.layer.shape, setting.threads, setting.device)
        for item in built
        if item.kernel is not None and item.task.layer.shape is not None
    ]
    verdicts = verify_on_device(checks, remote) if remote else verify(checks, jobs)
    for item in built:
        if item.kernel is None:
            yield {**item.row, "exact": item.row.get("exact"), "max_error": item.row.get("max_error")}
        else:
            verdict = next(verdicts)
            yield finished(item.row, verdict.status, verdict.reason, exact=verdict.exact, max_error=verdict.max_error)


def sizes(kernel: Path, threads: int) -> Row:
    """A kernel's memory on so many threads, in bytes, as rows have it."""
    described = read(kernel)
    return {
        "workspace_bytes": described.workspace_bytes(threads),
        "indirection_bytes": described.indirection_bytes,
        "packed_weight_bytes": described.packed_bytes,
    }


def llvm_version(kernels: Iterable[Path]) -> str | None:
    """The LLVM that made the kernels, as the first of them tells, so that TVM need not be imported to ask it."""
    for kernel in kernels:
        (description,) = descriptions(kernel).values()
        return str(description["versions"]["llvm"])
    return None

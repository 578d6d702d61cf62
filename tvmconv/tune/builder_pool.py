"""Builds candidate kernels in warm worker processes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

from tvmconv.compiler import builder
from tvmconv.compiler.builder import Order, Request
from tvmconv.support.filesystem.files import check_room
from tvmconv.support.filesystem.temporary import temporary_folder
from tvmconv.support.filesystem.user_folders import naming
from tvmconv.support.worker import WorkerLost
from tvmconv.support.worker_pool import WorkerPool
from tvmconv.tune.outcome import Outcome

_BUILD_PATIENCE = 60.0  # seconds of a compiler: one or two, and those that it takes to start on a busy machine


class Compilers:
    """Processes that build candidates, kept warm from one batch to the next. To be used in a `with` statement."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._compilers = WorkerPool(builder.COMPILER, jobs)

    def __enter__(self) -> Compilers:
        self._compilers.start(self._jobs)
        return self

    def __exit__(self, *error: object) -> None:
        self._compilers.close()

    def build(self, requests: Sequence[Request], folder: Path) -> Generator[Path | Outcome, None, None]:
        """As TrialRunner.build."""
        orders = [Order(each, folder / f"{number}.so", folder) for number, each in enumerate(requests)]
        with closing(self._compilers.ask_each(orders, lambda order: _BUILD_PATIENCE)) as answers:
            for order, answer in zip(orders, answers, strict=True):
                yield order.path if answer is None else _unbuilt(answer, folder)


def _unbuilt(answer: WorkerLost | Exception, folder: Path) -> Outcome:
    """Why there is no kernel. Raises OSError where that is the disk's fault, and no candidate's."""
    with naming("TMPDIR"):
        check_room(folder)
    return Outcome(
        "error", f"the compiler {answer}" if isinstance(answer, WorkerLost) else f"the build failed: {answer}"
    )


def trial_folder() -> AbstractContextManager[Path]:
    """A temporary folder for a batch of kernels."""
    return temporary_folder("tvmconv-tune-")

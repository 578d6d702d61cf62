"""Verifies that a kernel is exact: integer data, compared for equality, between guard pages.

Kernels run in processes of their own, kept alive from one to the next: a crash or a hang costs one verdict.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tvmconv.runtime.arrays import as_layout
from tvmconv.runtime.conv import Conv
from tvmconv.runtime.emulator import Fault
from tvmconv.runtime.kernel import Kernel
from tvmconv.runtime.session import load_on
from tvmconv.support.worker import WorkerLost, answer_all, patience
from tvmconv.support.worker_pool import ask_each
from tvmconv.target.devices import EMULATOR, LOCAL
from tvmconv.verify.guard_pages import Place, forbid_writing, guarded
from tvmconv.verify.reference import Case, integer_case
from tvmconv.workload.shape import ConvShape

_PATIENCE = 60.0  # seconds that a check may take, on top of those that its problem's size is worth
_EMULATED = 60  # times as many of those in the emulator


@dataclass(frozen=True)
class Check:
    """A kernel's file, the problem it was built for, the threads to run it with, where."""

    kernel: Path
    shape: ConvShape
    threads: int = 1
    device: str = LOCAL


@dataclass(frozen=True)
class Verdict:
    """The result of a check. `max_error` is the largest difference, None where nothing could be compared."""

    status: Literal["ok", "mismatch", "error"]
    reason: str | None = None
    max_error: float | None = None

    @property
    def exact(self) -> bool:
        return self.status == "ok"


def verify(checks: Sequence[Check], jobs: int = 1) -> Iterator[Verdict]:
    """One verdict for each check, in order, as soon as it is known; `jobs` run at a time."""
    for answer in ask_each("tvmconv.verify.check", checks, jobs, _patience):
        yield Verdict("error", f"the kernel {answer}") if isinstance(answer, WorkerLost) else answer


def _patience(check: Check) -> float:
    """The seconds that a check may take."""
    return patience(_PATIENCE, check.shape.flops * (_EMULATED if check.device == EMULATOR else 1))


def check_kernel(
    check: Check,
    other: Problem | None = None,
    load: Callable[[str, Path], Kernel] = load_on,
    places: Sequence[Place] = get_args(Place),
) -> tuple[Verdict, Problem]:
    """Run one kernel in every way that must make no difference; also returns the problem it solved.

    Without and with bias and clamp; x, packed weights, y and workspace flush with either end of their pages and 4 bytes
    off, the first two in pages that cannot be written to, the others full of NaN; at last in a workspace that `other`
    has used since. `load` opens the kernel where it is to run.
    """
    kernel, case = load(check.device, check.kernel), cached_case(check.shape)
    plain = kernel.prepare(case.w, weights="OIHW", threads=check.threads)
    fused = kernel.prepare(case.w, case.bias, clamp=case.clamp, weights="OIHW", threads=check.threads)
    for conv, expected, what in ((plain, case.plain, "plain"), (fused, case.fused, "with bias and clamp")):
        x = np.ascontiguousarray(as_layout(case.x, "nhwc", kernel.layout))
        problem = Problem(conv, x, expected)
        for place in places:
            verdict = problem.solve(place, _workspace((conv,), place), f"{what}, arrays at the {place} of their pages")
            if not verdict.exact:
                return verdict, problem
    return (problem.solve_after(other) if other else verdict), problem


@functools.lru_cache(maxsize=1)
def cached_case(shape: ConvShape) -> Case:
    """integer_case, kept from one kernel of a problem to the next."""
    return integer_case(shape)


@dataclass(frozen=True)
class Problem:
    """A kernel that has its weights, an input in its layout, the output that it must give as NHWC."""

    conv: Conv
    x: NDArray[np.float32]
    expected: NDArray[np.float32]

    def solve(self, place: Place, workspace: NDArray[np.uint8], what: str) -> Verdict:
        """Prepare `workspace` and run, everything else at that place of its pages."""
        kernel = self.conv.kernel
        y = guarded(kernel.y_shape, place)
        y.fill(np.nan)
        conv = Conv(kernel, _read_only(self.conv.packed, place), self.conv.pool)
        conv(_read_only(self.x, place), out=y, workspace=conv.new_workspace(workspace))
        return _compare(as_layout(y, kernel.layout, "nhwc"), self.expected, what)

    def solve_after(self, other: Problem) -> Verdict:
        """Solve this problem, the other one and this one again, all in one workspace."""
        workspace = _workspace((self.conv, other.conv), "last byte")
        for problem in (self, other, self):
            verdict = problem.solve("last byte", workspace, "in a workspace that another kernel has used")
            if not verdict.exact:
                break
        return verdict


def _read_only(array: NDArray[np.float32], place: Place) -> NDArray[np.float32]:
    copy = guarded(array.shape, place)
    copy[...] = array
    forbid_writing(copy)
    return copy


def _workspace(convs: Iterable[Conv], place: Place) -> NDArray[np.uint8]:
    """Memory for any of `convs`, every float in it NaN."""
    workspace = guarded((max(conv.workspace_bytes for conv in convs),), place, np.uint8)
    workspace.fill(0xFF)
    return workspace


def _compare(y: NDArray[np.float32], expected: NDArray[np.float32], what: str) -> Verdict:
    if np.array_equal(y, expected):
        return Verdict("ok", max_error=0.0)
    wrong = np.argwhere(y != expected)
    n, h, w, c = first = tuple(wrong[0])
    reason = (
        f"{what}: {len(wrong)} of {y.size} outputs are wrong, the first at n{n} h{h} w{w} c{c}:"
        f" {y[first]:g} in the place of {expected[first]:g}"
    )
    error = float(np.max(np.abs(y - expected)))
    return Verdict("mismatch", reason, error if np.isfinite(error) else None)


def serve(descriptor: int) -> None:
    """A worker's whole life: answer each Check with a Verdict."""
    solved: list[Problem] = []

    def answer(check: Check) -> Verdict:
        verdict, problem = check_kernel(check, solved[-1] if solved else None)
        if verdict.exact and problem.conv.workspace_bytes:
            solved[:] = [problem]
        return verdict

    answer_all(descriptor, answer, _failure)


def _failure(error: Exception) -> Verdict:
    if isinstance(error, Fault):
        return Verdict("error", f"the kernel {error}")
    return Verdict("error", f"{type(error).__name__}: {error}")

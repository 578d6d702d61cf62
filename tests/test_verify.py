"""verify against kernels in C with one fault each: it must find every one, and live on."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import faulty_kernel
from tests.faulty_kernel import SHAPE
from tvmconv.runtime.kernel import load
from tvmconv.target import targets
from tvmconv.verify import check as verify
from tvmconv.verify import guard_pages
from tvmconv.verify.check import Check, Verdict
from tvmconv.verify.reference import integer_case

CRASH = r"the kernel crashed \(SIG(SEGV|BUS)\)"

Make = Callable[[str], Check]


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Builds the kernel with a fault."""
    folder = tmp_path_factory.mktemp("faulty")
    return lambda fault: Check(faulty_kernel.build(fault, targets.native(), folder), SHAPE)


def verdict(*checks: Check) -> list[Verdict]:
    return list(verify.verify(checks))


def test_a_right_kernel_is_exact(kernel: Make) -> None:
    assert verdict(kernel("NONE"), kernel("NONE")) == [Verdict("ok", None, 0.0)] * 2


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the fault is written for x86-64")
def test_a_kernel_that_ends_the_process(kernel: Make) -> None:
    assert verdict(kernel("ENDS")) == [Verdict("error", "the kernel ended with exit code 7")]


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("READS_BEFORE_X", "error", CRASH),
        ("READS_BEHIND_X", "error", CRASH),
        ("WRITES_BEFORE_Y", "error", CRASH),
        ("WRITES_BEHIND_Y", "error", CRASH),
        ("READS_BEHIND_PACKED", "error", CRASH),
        ("WRITES_BEHIND_WORKSPACE", "error", CRASH),
        ("WRITES_X", "error", CRASH),
        ("WRITES_PACKED", "error", CRASH),
        ("WANTS_ALIGNMENT", "error", r"the kernel crashed \(SIG(ILL|TRAP)\)"),
        ("TRUSTS_WORKSPACE", "mismatch", r"plain, .*: 120 of 120 outputs are wrong, .*: nan in the place of"),
        ("SKIPS_LAST", "mismatch", r"plain, .*: 1 of 120 outputs are wrong, the first at n0 h4 w5 c3: nan"),
        ("OFF_BY_ONE", "mismatch", r"plain, .*: 1 of 120 outputs are wrong, the first at n0 h1 w2 c3: "),
        ("NO_BIAS", "mismatch", r"with bias and clamp, .* outputs are wrong"),
        ("NO_CLAMP", "mismatch", r"with bias and clamp, .* outputs are wrong"),
    ],
)
def test_a_fault_is_found(kernel: Make, fault: str, status: str, reason: str) -> None:
    (found,) = verdict(kernel(fault))
    assert found.status == status
    assert not found.exact
    assert re.match(reason, found.reason or "")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU")
def test_threads_are_used(kernel: Make) -> None:
    check = kernel("NEEDS_ALL_UNITS")
    alone, together = verdict(check, replace(check, threads=2))
    assert (alone.status, together.status) == ("ok", "mismatch")
    assert verdict(replace(kernel("NONE"), threads=2)) == [Verdict("ok", None, 0.0)]


def test_max_error_is_the_largest_difference(kernel: Make) -> None:
    (found,) = verdict(kernel("OFF_BY_ONE"))
    assert found.max_error == 1.0
    (unwritten,) = verdict(kernel("SKIPS_LAST"))
    assert unwritten.max_error is None  # NaN has no size, and no place in JSON


@pytest.mark.parametrize(("fault", "status"), [("NONE", "ok"), ("TRUSTS_NUMBERS", "mismatch")])
def test_a_workspace_that_another_kernel_has_used(kernel: Make, fault: str, status: str) -> None:
    case = integer_case(SHAPE, seed=1)

    def problem(check: Check) -> verify.Problem:
        conv = load(check.kernel).prepare(case.w, case.bias, clamp=case.clamp)
        return verify.Problem(conv, case.x, case.fused)

    assert problem(kernel(fault)).solve_after(problem(kernel("USES_WORKSPACE"))).status == status


def test_every_check_but_a_workers_first_reuses_a_workspace(kernel: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[verify.Problem] = []
    monkeypatch.setattr(verify.Problem, "solve_after", lambda self, other: others.append(other) or Verdict("ok"))
    _, first = verify.check_kernel(kernel("NONE"))
    assert not others
    verify.check_kernel(kernel("USES_WORKSPACE"), first)
    assert others == [first]


def test_the_others_are_checked_when_one_crashes(kernel: Make) -> None:
    checks = [kernel(fault) for fault in ("NONE", "READS_BEHIND_X", "NONE", "OFF_BY_ONE", "WRITES_X", "NONE")]
    expected = ["ok", "error", "ok", "mismatch", "error", "ok"]
    for jobs in (1, 3):
        assert [found.status for found in verify.verify(checks, jobs)] == expected


def test_a_kernel_that_hangs(kernel: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_PATIENCE", 1.0)
    hanging, next_one = verdict(kernel("HANGS"), kernel("NONE"))
    assert (hanging.status, next_one.status) == ("error", "ok")
    assert "did not answer within 1 s" in (hanging.reason or "")


def test_a_file_that_is_no_kernel(tmp_path: Path) -> None:
    path = tmp_path / "text.so"
    path.write_text("not a kernel")
    (found,) = verdict(Check(path, SHAPE))
    assert found.status == "error"
    assert "text.so is not a kernel file" in (found.reason or "")


@pytest.mark.parametrize(("place", "offset"), [("first byte", 0), ("fifth byte", 4), ("last byte", 4096 - 24)])
def test_guarded_arrays_lie_where_they_should(place: guard_pages.Place, offset: int) -> None:
    array = guard_pages.guarded((2, 3), place)
    assert array.shape == (2, 3)
    assert array.dtype == np.float32
    assert array.ctypes.data % 4096 == offset
    assert not array.any()
    array[...] = 1
    guard_pages.forbid_writing(array)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 2

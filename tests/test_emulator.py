"""The emulator: it runs what an aarch64 runs, finds every fault of a kernel, and counts its instructions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import faulty_kernel
from tests.faulty_kernel import SHAPE
from tvmconv.algorithms import ALGORITHMS
from tvmconv.compiler import builder
from tvmconv.compiler.builder import Request
from tvmconv.runtime import session
from tvmconv.target import targets
from tvmconv.target.devices import EMULATOR
from tvmconv.target.dtype import FLOAT32
from tvmconv.verify import check as verify
from tvmconv.verify.check import Check, Verdict
from tvmconv.workload.shape import ConvShape

AARCH64 = targets.parse("aarch64")
# Two images, channels and outputs that fill no vector, padding; and one of what gemm takes.
SMALL, POINTWISE = (ConvShape.parse(text) for text in ("mb2ic6ih6iw5oc10oh6ow5kh3kw3ph1pw1", "mb2ic6ih6iw5oc10kh1kw1"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faulty")


def check(fault: str, folder: Path, threads: int = 1) -> Check:
    return Check(faulty_kernel.build(fault, AARCH64, folder), SHAPE, threads, EMULATOR)


def test_every_algorithm_is_exact() -> None:
    """Each on one thread, then by a pool, which runs the tasks backwards."""
    shapes = [POINTWISE if "gemm" in known.name else SMALL for known in ALGORITHMS]
    requests = [Request(shape, known.name, AARCH64.name) for known, shape in zip(ALGORITHMS, shapes, strict=True)]
    built = builder.build_all(requests, 1)
    assert not [path for path in built.values() if isinstance(path, Exception)]
    ways = [(request, threads) for request in requests for threads in (1, 3)]
    verdicts = verify.verify([Check(built[request], request.shape, threads, EMULATOR) for request, threads in ways])
    found = zip(ways, verdicts, strict=True)
    assert [(request.algorithm, threads, it) for (request, threads), it in found if not it.exact] == []


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("READS_BEFORE_X", "error", "the kernel reads 4 bytes at byte -4 of x, which has 360 bytes"),
        ("READS_BEHIND_X", "error", "the kernel reads 4 bytes at byte 360 of x, which has 360 bytes"),
        ("WRITES_BEFORE_Y", "error", "the kernel writes 4 bytes at byte -4 of y, which has 480 bytes"),
        ("WRITES_BEHIND_Y", "error", "the kernel writes 4 bytes at byte 480 of y, which has 480 bytes"),
        ("READS_BEHIND_PACKED", "error", "the kernel reads 4 bytes at byte 456 of packed, which has 456 bytes"),
        ("WRITES_BEHIND_WORKSPACE", "error", "the kernel writes 4 bytes at byte 4 of workspace, which has 4 bytes"),
        ("WRITES_X", "error", "the kernel writes 4 bytes at byte 0 of x, which is read-only"),
        ("WRITES_PACKED", "error", "the kernel writes 4 bytes at byte 0 of packed, which is read-only"),
        ("WANTS_ALIGNMENT", "error", "the kernel executes what Unicorn's CPU A72 cannot"),
        ("TRUSTS_WORKSPACE", "mismatch", "plain, .*: 120 of 120 outputs are wrong, .*: nan in the place of"),
        ("OFF_BY_ONE", "mismatch", "plain, .*: 1 of 120 outputs are wrong, the first at n0 h1 w2 c3: "),
        ("NO_CLAMP", "mismatch", "with bias and clamp, .* outputs are wrong"),
    ],
)
def test_a_fault_is_found(folder: Path, fault: str, status: str, reason: str) -> None:
    (found,) = verify.verify([check(fault, folder)])
    assert found.status == status
    assert re.match(reason, found.reason or "")


def test_threads_are_used(folder: Path) -> None:
    alone, together = verify.verify([check("NEEDS_ALL_UNITS", folder), check("NEEDS_ALL_UNITS", folder, threads=2)])
    assert (alone.status, together.status) == ("ok", "mismatch")


def test_a_kernel_that_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_PATIENCE", 3.0)
    hanging, next_one = verify.verify([check("HANGS", folder), check("NONE", folder)])
    assert "did not answer within 3 s" in (hanging.reason or "")
    assert next_one == Verdict("ok", None, 0.0)
    with pytest.raises(TimeoutError, match="_run did not end within 1 s"):
        session.instructions(check("HANGS", folder).kernel, seconds=1)


def test_instructions_are_counted() -> None:
    """Of a layer with twice the rows there are nearly twice as many, and never less than one for a vector of FMAs."""
    counts = []
    for rows in (8, 16):
        shape = ConvShape.parse(f"ic32ih{rows}iw8oc32oh{rows}ow8kh1kw1")
        counts.append(session.instructions(builder.build_path(Request(shape, "gemm", AARCH64.name)), seconds=60))
        assert counts[-1] > shape.flops / (2 * AARCH64.isa.lanes(FLOAT32))
    assert 1.8 < counts[1] / counts[0] <= 2

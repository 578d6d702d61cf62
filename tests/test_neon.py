"""NEON's register tile and the estimates of it, without a device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tvmconv.compiler.builder import Request, assembly
from tvmconv.measure import mca as estimate
from tvmconv.measure.mca import HotLoop, hot_loop
from tvmconv.target.targets import parse
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

# Each way of scheduling there is: in order, out of order with 1, 2 and 4 multiply-adds a cycle, no core in particular.
CORES = ("cortex-a55", "cortex-a57", "cortex-a76", "cortex-x1", "aarch64")
LAYERS = {
    "indirect": "ic64ih28oc64kh3ph1",
    "gemm": "ic64ih28oc128kh1ph0",
    "direct": "ic64ih28oc64kh3ph1",
    "im2row": "ic256ih14oc256kh3ph1",
}

ASSEMBLY = """
run:
	ldr	q9, [sp, #16]
.LBB0_1:                                // a loop around two others
	mov	x8, xzr
.LBB0_2:
	ldr	q0, [x1], #16
	fmla	v2.4s, v0.4s, v1.s[0]           // short
	subs	x8, x8, #1
	b.ne	.LBB0_2
.LBB0_3:
.Ltmp4:
	.loc	1 2 3
	ldr	q0, [x1, x8]
	fmla	v2.4s, v0.4s, v1.s[0]
	fmla	v3.4s, v0.4s, v1.s[1]
	str	q3, [sp, #32]
	cbnz	x8, .LBB0_3
	fmla	v3.4s, v0.4s, v1.s[1]
	fmla	v3.4s, v0.4s, v1.s[1]
	fmla	v3.4s, v0.4s, v1.s[1]
	b	.LBB0_1
"""


def loop(target: str, algorithm: str) -> HotLoop:
    found = hot_loop(assembly(Request(ConvShape.parse(LAYERS[algorithm]), algorithm, target)))
    assert found
    return found


@pytest.mark.parametrize("algorithm", LAYERS)
@pytest.mark.parametrize("target", CORES)
def test_the_hot_loop_stays_in_registers(target: str, algorithm: str) -> None:
    """Multiply-adds by element on rows held as vectors: few other instructions, and none that touches the stack."""
    found = loop(target, algorithm)
    multiply_adds = [text for text in found.instructions if ".s[" in text]
    assert 8 * len(multiply_adds) == found.flops
    assert found.stack_accesses == 0
    assert len(found.instructions) <= 1.35 * len(multiply_adds)


def test_tiles_are_argued_from_registers() -> None:
    shape, check = ConvShape.parse("ic64ih28oc64kh3ph1"), Request
    held = check(shape, "indirect", "cortex-a76", tile=Tile(9, 8)).check().tile
    read = check(shape, "indirect", "cortex-a76", tile=Tile(6, 16)).check().tile
    assert held and (held.a_vector, held.kr) == (4, 4)
    assert read and read.a_vector == 1, "6x16 leaves no room for rows"
    with pytest.raises(ValueError, match="needs 35 vector registers"):
        check(shape, "indirect", "cortex-a76", tile=Tile.parse("6x16_gc4")).check()
    with pytest.raises(ValueError, match="GC must be 1, or KR"):
        check(shape, "indirect", "cortex-a76", tile=Tile.parse("4x16_kr2_gc4")).check()


def test_the_hot_loop_is_found() -> None:
    found = hot_loop(ASSEMBLY)
    assert found
    assert (len(found.instructions), found.flops, found.stack_accesses) == (5, 16, 1)
    assert hot_loop("run:\n\tret\n") is None


@pytest.fixture
def mca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for llvm-mca that says what the file beside it holds."""
    program = tmp_path / "llvm-mca-22"
    program.write_text(
        '#!/bin/sh\ncase "$1" in --version) echo "Debian LLVM version 22.1.8";; *) cat "$0.json";; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    estimate.find_mca.cache_clear()
    yield program
    estimate.find_mca.cache_clear()


@pytest.mark.parametrize(
    ("cycles", "micro_operations", "fraction", "bottleneck"),
    [
        (200, 500, 0.5, "execution units (V)"),
        (200, 600, 0.5, "3 micro-operations a cycle"),
        (400, 500, 0.25, "waiting for results"),
    ],
)
def test_a_rating(mca: Path, cycles: int, micro_operations: int, fraction: float, bottleneck: str) -> None:
    summary = {"TotalCycles": cycles, "TotaluOps": micro_operations, "DispatchWidth": 3, "BlockRThroughput": 2}
    uses = [(0, 0, 1), (1, 1, 1), (2, 1, 1), (5, 0, 9)]  # the last one is the sum
    names = ("InstructionIndex", "ResourceIndex", "ResourceUsage")
    usage = {"ResourcePressureInfo": [dict(zip(names, use, strict=True)) for use in uses]}
    region = {"Instructions": [{}] * 5, "SummaryView": summary, "ResourcePressureView": usage}
    report = {"CodeRegions": [region], "TargetInfo": {"Resources": ["L", "V.\0"]}}
    Path(f"{mca}.json").write_text(json.dumps(report))
    found = hot_loop(ASSEMBLY)
    assert found
    rating = estimate.rate(found, parse("cortex-a76"))
    assert (rating.model, rating.fraction, rating.bottleneck) == ("neoverse-n1", fraction, bottleneck)


def test_no_llvm_mca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "find_mca", lambda: None)
    found = hot_loop(ASSEMBLY)
    assert found
    with pytest.raises(ValueError, match="apt install llvm-22"):
        estimate.rate(found, parse("cortex-a76"))

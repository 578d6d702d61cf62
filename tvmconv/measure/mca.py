"""Estimates for aarch64 without a device: the hot loop rated by LLVM's model of a core, and instruction counts.

llvm-mca simulates the loop's instructions in the order of the assembly, with all loads from L1. It must be of the LLVM
that TVM brings: older ones model A76, X1 and N1 as an A57.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvmconv.target.cores import BY_NAME
from tvmconv.target.targets import Target

LLVM = 22
_MISSING = f"there is no llvm-mca of LLVM {LLVM} in PATH: apt install llvm-{LLVM} (Debian forky, or apt.llvm.org)"
_PLACES = (f"llvm-mca-{LLVM}", "llvm-mca", f"/usr/lib/llvm-{LLVM}/bin/llvm-mca")
_PATIENCE = 30  # seconds for one loop, which takes a few hundredths
_ITERATIONS = 100

# Cores that LLVM gives the model of an A57, with half of their multiply-adds a cycle. The N1 is the A76's twin.
_LIKE_N1 = ("cortex-a75", "cortex-a76", "cortex-a76ae", "cortex-a77", "cortex-a78", "cortex-a78ae", "cortex-a78c")
_MODELS = {**dict.fromkeys(_LIKE_N1, "neoverse-n1"), "generic": "neoverse-n1"}

_LABEL = re.compile(r"(\.LBB\w+):")
_BRANCH = re.compile(r"\s+(?:b\.\w+|b|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s*(\.LBB\w+)")
_INSTRUCTION = re.compile(r"\s+[a-z]")
_MULTIPLY_ADD = re.compile(r"\s+fml[as]\s+v\d+\.4s")
_STACK = re.compile(r"\[(?:sp|x29)\b")
_FLOPS = 8  # of one multiply-add of four lanes


@dataclass(frozen=True)
class HotLoop:
    """The innermost loop that does most multiply-adds: its instructions, the branch back last."""

    instructions: tuple[str, ...]

    @property
    def flops(self) -> int:
        """f32 operations of one pass; a multiply-add counts 2 for each lane."""
        return _FLOPS * sum(bool(_MULTIPLY_ADD.match(text)) for text in self.instructions)

    @property
    def stack_accesses(self) -> int:
        """Instructions that address the stack: something was spilled."""
        return sum(bool(_STACK.search(text)) for text in self.instructions)


@dataclass(frozen=True)
class Rating:
    """A model's rating of a loop.

    fraction: of the core's f32 peak. The model may start more multiply-adds a cycle than the core does, as of the A55:
    then it may be more than 1. bottleneck: what keeps the loop from being faster.
    """

    model: str
    fraction: float
    bottleneck: str


def hot_loop(assembly: str) -> HotLoop | None:
    """The loop of one basic block with most multiply-adds of four lanes in LLVM's assembly; None without any."""
    lines = [line.split("//")[0].rstrip() for line in assembly.splitlines()]
    lines = [line for line in lines if _LABEL.match(line) or _INSTRUCTION.match(line)]
    labels: dict[str, int] = {}
    loops = []
    newest = -1  # the last label's line: a loop back to an older one has several blocks
    for number, line in enumerate(lines):
        if label := _LABEL.match(line):
            labels[label[1]] = newest = number
        elif (branch := _BRANCH.fullmatch(line)) and labels.get(branch[1]) == newest != -1:
            loops.append(HotLoop(tuple(lines[newest + 1 : number + 1])))
    best = max(loops, key=lambda loop: loop.flops, default=None)
    return best if best and best.flops else None


@functools.cache
def find_mca() -> str | None:
    """The llvm-mca of the right LLVM, if it is installed."""
    for place in _PLACES:
        path = shutil.which(place)
        version = re.search(r"LLVM version (\d+)", _output([path, "--version"])) if path else None
        if version and int(version[1]) == LLVM:
            return path
    return None


def rate(loop: HotLoop, target: Target) -> Rating:
    """The loop on a target's core. Raises ValueError where llvm-mca is not installed or has no model of the core."""
    mca = find_mca()
    if mca is None:
        raise ValueError(_MISSING)
    model = _MODELS.get(target.mcpu, target.mcpu)
    report = _simulate(mca, loop.instructions[:-1], target, model)
    cores = (BY_NAME.get(target.mcpu), BY_NAME.get(model))
    peak = next((core.flops for core in cores if core and core.flops), None) or _peak_of_model(mca, target, model)
    cycles = report["SummaryView"]["TotalCycles"] / _ITERATIONS
    return Rating(model, loop.flops / cycles / peak, _bottleneck(report))


def _peak_of_model(mca: str, target: Target, model: str) -> int:
    """f32 operations a cycle of nothing but multiply-adds that do not wait for each other."""
    independent = [f"fmla v{register}.4s, v30.4s, v31.s[0]" for register in range(24)]
    cycles: int = _simulate(mca, independent, target, model)["SummaryView"]["TotalCycles"]
    return round(len(independent) * _FLOPS * _ITERATIONS / cycles)


def _simulate(mca: str, instructions: Sequence[str], target: Target, model: str) -> Mapping[str, Any]:
    """llvm-mca's report of so many passes through the instructions."""
    order = [mca, f"-mtriple={target.triple}", f"-mcpu={model}", f"-iterations={_ITERATIONS}", "-json"]
    text = _output(order, "\n".join(instructions) + "\n")
    if not text:
        raise ValueError(f"llvm-mca cannot rate code for {model}; try a core it has a model of, such as cortex-a76")
    report = json.loads(text)
    return {**report["CodeRegions"][0], "Resources": report["TargetInfo"]["Resources"]}


def _bottleneck(report: Mapping[str, Any]) -> str:
    """The limit of the loop: instructions issued, one unit, or else latency."""
    summary, passes = report["SummaryView"], _ITERATIONS
    cycles, bound = summary["TotalCycles"] / passes, summary["BlockRThroughput"]
    started = summary["TotaluOps"] / passes / summary["DispatchWidth"]
    if cycles > 1.05 * max(bound, started):
        return "waiting for results"
    if started > 0.95 * cycles:
        return f"{summary['DispatchWidth']} micro-operations a cycle"
    return f"execution units ({_busiest(report)})"


def _busiest(report: Mapping[str, Any]) -> str:
    """The name of the execution unit with most to do."""
    work: Counter[int] = Counter()
    for use in report["ResourcePressureView"]["ResourcePressureInfo"]:
        if use["InstructionIndex"] < len(report["Instructions"]):  # behind them comes the sum
            work[use["ResourceIndex"]] += use["ResourceUsage"]
    ((unit, _),) = work.most_common(1)
    return str(report["Resources"][unit]).partition(".")[0]  # of several that are alike, each has a number behind


def _output(command: Sequence[str], text: str = "") -> str:
    """The output of a command; empty if it fails or takes too long."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""

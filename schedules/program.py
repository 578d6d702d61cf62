"""Schedules all functions of a program: each move applies where its block exists."""

from __future__ import annotations

from typing import Any

from tvmconv.algorithms.microkernel.program import Program
from tvmconv.schedules import depthwise, gemm
from tvmconv.target.targets import Target


def schedule(program: Program, target: Target) -> dict[str, Any]:
    """The program's functions, scheduled: a register tile where there is one, else as LLVM vectorises the loops."""
    lanes = target.isa.lanes(program.dtype)
    return {name: _schedule(name, function, lanes) for name, function in program.functions.items()}


def _schedule(name: str, function: Any, lanes: int) -> Any:
    import tvm
    from tvm.s_tir import Schedule

    sch = Schedule(tvm.IRModule({name: function}))
    sch.work_on(name)
    gemm.register_tiles(sch, lanes)
    if gemm.present(sch, "product_masked"):
        gemm.pixel_tile(sch, lanes)
    if depthwise.present(sch):
        depthwise.register_tile(sch, lanes)
    return sch.mod[name]

"""The FFI entries of a kernel: TVM functions that check their arguments and call the plain C interface.

With them any TVM runtime, a stock RPC server's included, can load a kernel and run it.
"""

from __future__ import annotations

from typing import Any

from tvmconv.algorithms.microkernel.program import Program
from tvmconv.workload.shape import ConvShape

C_FUNCTIONS = ("describe", "packed_bytes", "workspace_bytes", "pack", "clamp", "prepare", "run", "run_phase")
FFI_FUNCTIONS = ("pack", "clamp", "prepare", "run", "run_on")


def exports(prefix: str) -> list[str]:
    """The symbols of a kernel's file that others may see, as a linker's version script takes them."""
    functions = [f"{prefix}_{name}" for name in C_FUNCTIONS]
    return [*functions, *(f"__tvm_ffi_{prefix}_{name}" for name in FFI_FUNCTIONS), "__TVMFFI*"]


def ffi_entries(prefix: str, shape: ConvShape, layout: str, program: Program) -> dict[str, Any]:
    """pack(w OIHW, bias, packed), clamp(lower, upper, packed), prepare(workspace), run(x, packed, y, workspace), and
    run_on(x, packed, y, workspace, pool), where pool is the address of a tvmconv_pool, 0 for the calling thread alone.

    packed and workspace are arrays of the stored type, of as many elements as their bytes make (a workspace of one
    element where none is needed).
    Arrays need their element's alignment alone, and may be views that begin anywhere in an allocation.
    """
    from tvm.script import tirx as T

    D = program.dtype
    SUM = getattr(T, D.accumulator)
    packed_elements, workspace_elements = program.packed_bytes // D.bytes, max(1, program.workspace_bytes // D.bytes)

    @T.inline
    def call(name, *arguments):
        status: T.let[T.int32] = T.call_extern("int32", f"{prefix}_{name}", *arguments)
        assert status == 0, ("ValueError", [f"{prefix}_{name} returned a status; tvmconv.h says which means what"])

    @T.inline
    def call_run(x, packed, y, workspace, pool):
        call("run", x.access_ptr("r"), packed.access_ptr("r"), y.access_ptr("w"), workspace.access_ptr("rw"), pool)

    @T.prim_func(s_tir=True)
    def pack(
        w: T.Buffer(shape.w_shape, D.storage, align=D.bytes, offset_factor=1),
        bias: T.Buffer((shape.oc,), D.accumulator, align=D.accumulator_bytes, offset_factor=1),
        packed: T.Buffer((packed_elements,), D.storage, align=D.bytes, offset_factor=1),
    ):
        call("pack", w.access_ptr("r"), bias.access_ptr("r"), packed.access_ptr("w"))

    @T.prim_func(s_tir=True)
    def clamp(
        lower: SUM,
        upper: SUM,
        packed: T.Buffer((packed_elements,), D.storage, align=D.bytes, offset_factor=1),
    ):
        call("clamp", lower, upper, packed.access_ptr("w"))

    @T.prim_func(s_tir=True)
    def prepare(workspace: T.Buffer((workspace_elements,), D.storage, align=D.bytes, offset_factor=1)):
        call("prepare", workspace.access_ptr("w"))

    @T.prim_func(s_tir=True)
    def run(
        x: T.Buffer(shape.x_in(layout), D.storage, align=D.bytes, offset_factor=1),
        packed: T.Buffer((packed_elements,), D.storage, align=D.bytes, offset_factor=1),
        y: T.Buffer(shape.y_in(layout), D.storage, align=D.bytes, offset_factor=1),
        workspace: T.Buffer((workspace_elements,), D.storage, align=D.bytes, offset_factor=1),
    ):
        call_run(x, packed, y, workspace, T.reinterpret("handle", T.int64(0)))

    @T.prim_func(s_tir=True)
    def run_on(
        x: T.Buffer(shape.x_in(layout), D.storage, align=D.bytes, offset_factor=1),
        packed: T.Buffer((packed_elements,), D.storage, align=D.bytes, offset_factor=1),
        y: T.Buffer(shape.y_in(layout), D.storage, align=D.bytes, offset_factor=1),
        workspace: T.Buffer((workspace_elements,), D.storage, align=D.bytes, offset_factor=1),
        pool: T.int64,
    ):
        call_run(x, packed, y, workspace, T.reinterpret("handle", pool))

    functions = zip(FFI_FUNCTIONS, (pack, clamp, prepare, run, run_on), strict=True)
    return {f"{prefix}_{name}": function for name, function in functions}

"""Lowers scheduled TIR to an object file: TVM's passes, then LLVM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tvmconv.native.toolchain import assemble
from tvmconv.target.targets import Target


def tvm_target(target: Target) -> Any:
    """The target as TVM writes it down, host included."""
    import tvm

    features = [*target.mattr, *target.isa.avoided]
    made = tvm.target.Target({"kind": "llvm", "mtriple": target.triple, "mcpu": target.mcpu, "mattr": features})
    return made.with_host(made)


def generate(module: Any, target: Target) -> Any:
    """LLVM code for an IRModule of plain C functions and FFI entries; returns a TVM runtime module.

    Storage rewrite is left out of the default pipeline: it would drop the annotation that keeps register tiles on the
    stack, and make calls of TVM's allocator of them.
    """
    import tvm
    from tvm import tirx
    from tvm.s_tir.pipeline import default_s_tir_pipeline

    made = tvm_target(target)
    with tvm.transform.PassContext(config={"tirx.disable_storage_rewrite": True}):
        pipeline, finalize_host, _ = default_s_tir_pipeline()
        module = finalize_host()(pipeline(tirx.transform.BindTarget(made)(module)))
    if target.isa.frame_pointer:
        module = tirx.transform.prim_func_pass(lambda function, *_: _with_frame_pointer(function), opt_level=0)(module)
    return tvm.get_global_func("target.build.llvm")(module, made)


def _with_frame_pointer(function: Any) -> Any:
    """The function with x29 as its frame pointer, by which profilers walk the stack (AAPCS64, section 6.4.6).

    LLVM would make a general register of it. Asking for the frame's address keeps it from that, and prefetching what
    lies there, which is in L1 already, keeps the question from being dropped.
    """
    from tvm import tirx

    frame = tirx.call_llvm_intrin("handle", "llvm.frameaddress.p0", tirx.const(0, "int32"))
    options = (tirx.const(option, "int32") for option in (0, 3, 1))  # to read, into all levels, data
    keep = tirx.Evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch.p0", frame, *options))
    return function.with_body(tirx.SeqStmt([keep, function.body]))


def write_object(module: Any, target: Target, path: Path) -> None:
    """Compiles an IRModule into a relocatable object file.

    x86's is assembled from the text, as an assembler refuses instructions that have no encoding, which LLVM's object
    writer does not: of a register number that is too large it keeps the low bits. It takes as long. Raises LinkError.
    """
    code = generate(module, target)
    if target.isa.assembled:
        assemble(str(code.inspect_source("asm")), target.triple, target.mcpu, path)
    else:
        code.write_to_file(str(path), "o")


def assembly(module: Any, target: Target) -> str:
    """The target's assembly of an IRModule."""
    return str(generate(module, target).inspect_source("asm"))


def llvm_ir(module: Any, target: Target) -> str:
    """The optimised LLVM IR of an IRModule."""
    return str(generate(module, target).inspect_source("ll"))

"""Links object files to a self-contained shared object, with zig."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmconv.native.toolchain import NATIVE, page_size, zig
from tvmconv.runtime.kernel_file.soname import RESERVED, named
from tvmconv.target.dtype import ELEMENTS
from tvmconv.target.targets import Target

if TYPE_CHECKING:
    from tvmconv.algorithms.microkernel.program import Program


def shim_source(prefix: str, program: Program, description: Mapping[str, Any]) -> str:
    """The C file that puts the plain C interface around one program's functions."""
    phases = " ".join(f"X({phase.function}, {phase.units}, {phase.tasks})" for phase in program.phases)
    defines = {
        "PREFIX": prefix,
        "STORED": ELEMENTS[program.dtype.storage].in_c,
        "SUMMED": ELEMENTS[program.dtype.accumulator].in_c,
        "PACKED_BYTES": program.packed_bytes,
        "WORKSPACE_BYTES": program.workspace_bytes,
        "IMAGES": program.images,
        "DESCRIPTION": json.dumps(json.dumps(description)),
        "PHASES(X)": phases,
    }
    return "".join(f"#define {name} {value}\n" for name, value in defines.items()) + '#include "shim.c"\n'


def link(parts: Sequence[Path], symbols: Sequence[str], target: Target, output: Path) -> None:
    """Links object files with their shims, C files. Exports the given symbols only, and depends on no library."""
    exports = output.with_suffix(".map")
    exports.write_text("{ global: " + " ".join(f"{symbol};" for symbol in symbols) + " local: *; };\n")
    zig(
        *("-shared", "-nostdlib", *_flags(target)),
        "-fno-builtin",  # or the shim's memcpy would become a call of itself
        *("-Wl,-S", "-Wl,-z,defs", f"-Wl,-soname,{RESERVED}", f"-Wl,--version-script={exports}"),
        *page_size(target.triple),
        *("-o", output),
        *parts,
    )
    output.write_bytes(named(output.read_bytes(), output.name))


def compile_hosted(shim: Path, target: Target, output: Path) -> None:
    """Makes an object file of a shim for programs that have a C library, without functions that replace its own."""
    zig("-c", "-g0", "-DHOSTED", *_flags(target), "-o", output, shim)


def _flags(target: Target) -> tuple[str, ...]:
    triple = target.triple.replace("-unknown-", "-")
    return (
        *("-target", triple, "-O2", "-fPIC", "-fno-sanitize=all", "-fno-stack-protector"),
        *("-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"),
    )

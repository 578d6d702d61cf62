"""Kernels from faulty_kernel.c, with one fault each, built for a target through the project's own shim and linker."""

from __future__ import annotations

from pathlib import Path

from tvmconv.algorithms.microkernel.program import Phase, Program
from tvmconv.compiler import link, lower
from tvmconv.compiler.ffi_entries import C_FUNCTIONS, exports, ffi_entries
from tvmconv.runtime.kernel_file.description import SCHEMA
from tvmconv.target.dtype import FLOAT32
from tvmconv.target.targets import Target
from tvmconv.workload.shape import ConvShape

SHAPE = ConvShape.parse("ic3ih5iw6oc4oh5ow6kh3kw3ph1pw1")
PREFIX = f"{SHAPE}_direct"
_SOURCE = Path(__file__).with_name("faulty_kernel.c")


def build(fault: str, target: Target, folder: Path, ffi: bool = False) -> Path:
    """The kernel with that fault, made in `folder` unless it is there. `ffi`: with entries for a device."""
    path, shim, code = (folder / f"{fault}{end}" for end in (".so", ".c", "-code.c"))
    if not path.exists():
        program = Program(FLOAT32, {}, (Phase("run", 2),), 1, packed_bytes=4 * (2 + 4 * 27 + 4), memory={"zero": 4})
        description = {
            "schema": SCHEMA,
            "prefix": PREFIX,
            "workload": str(SHAPE),
            "algorithm": "direct",
            "schedule": "hand",
            "tile": "1x1",
            "layout": "nhwc",
            "dtype": "float32",
            "x_shape": SHAPE.x_shape,
            "w_shape": SHAPE.w_shape,
            "y_shape": SHAPE.y_shape,
            "packed_bytes": program.packed_bytes,
            "workspace": dict(program.memory),
            "phases": [phase.function for phase in program.phases],
            "target": target.name,
            "triple": target.triple,
            "mcpu": target.mcpu,
            "features": [],
            "versions": {"tvmconv": "0"},
        }
        shim.write_text(link.shim_source(PREFIX, program, description))
        code.write_text(f'#define PREFIX {PREFIX}\n#define FAULT {fault}\n#include "{_SOURCE}"\n')
        parts, symbols = [shim, code], [f"{PREFIX}_{name}" for name in C_FUNCTIONS]
        if ffi:
            parts, symbols = [*parts, _entries(program, target, folder)], exports(PREFIX)
        link.link(parts, symbols, target, path)
    return path


def _entries(program: Program, target: Target, folder: Path) -> Path:
    """The object file of the FFI entries, which all faults share."""
    path = folder / "entries.o"
    if not path.exists():
        import tvm

        functions = ffi_entries(PREFIX, SHAPE, "nhwc", program)
        module = tvm.IRModule({name: each.with_attr("global_symbol", name) for name, each in functions.items()})
        lower.write_object(module, target, path)
    return path

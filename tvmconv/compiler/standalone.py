"""A program of its own for layers: static, with random data, an exact check and a timing loop, for any Linux kernel.

The first client of the C interface. native/standalone.c is the program, native/proof.c its definition of a convolution.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmconv.native.toolchain import NATIVE, libc_is_built, page_size, zig_program
from tvmconv.runtime.kernel import Kernel, read
from tvmconv.runtime.kernel_file import c_text
from tvmconv.runtime.kernel_file.header import header
from tvmconv.support.filesystem.files import write_whole
from tvmconv.support.filesystem.temporary import temporary_folder
from tvmconv.target.targets import Target

_SOURCES = ("standalone.c", "proof.c", "cpu_list.c", "pool.c")
_SIZES = ("mb", "g", "ic", "ih", "iw", "oc", "oh", "ow", "kh", "kw", "sh", "sw", "dh", "dw", "ph", "pw")
_FUNCTIONS = ("packed_bytes", "workspace_bytes", "pack", "clamp", "prepare", "run")
# What the program says itself, when it runs.
_SAID_THERE = ("threads", "cpus", "status", "reason", "verified", "exact", "max_error", "seconds", "gflops", "rounds")
_SAID_THERE_OF_ALL = ("argv", "cpu", "features", "time")


@dataclass(frozen=True)
class Part:
    """A layer of a program: its kernel, a file of the builder's cache, and what its row says before it runs."""

    kernel: Path
    row: Mapping[str, Any]


def zig_triple(target: Target) -> str:
    """Zig's triple for a target's programs: Linux with musl, which runs on Android too.

    Raises ValueError for a target of another system.
    """
    architecture, _, system = target.triple.partition("-")
    if "linux" not in system:
        raise ValueError(f"--standalone makes programs for Linux and Android, not for {target.name} ({target.triple})")
    return f"{architecture}-linux-musl"


def write_program(
    parts: Sequence[Part], target: Target, context: Mapping[str, Any], path: Path, say: Callable[[str], None]
) -> None:
    """Writes the program to `path`, executable; `context` is the first row of what it prints as JSON.

    `say` gets a sentence if zig has to build its C library first. Symbols and unwind tables stay, for perf and
    simpleperf. Raises zig.LinkError where the linker fails, OSError where the file cannot be written.
    """
    triple = zig_triple(target)
    if not libc_is_built(triple):
        say(f"zig builds the C library for {triple}, which takes a minute, this once")
    kernels = dict.fromkeys(part.kernel for part in parts)
    objects = [kernel.with_suffix(end) for kernel in kernels for end in (".c", ".o")]
    with temporary_folder("tvmconv-link-") as folder:
        table, output = folder / "layers.c", folder / "program"
        table.write_text(_table([(read(part.kernel), part.row) for part in parts], target, context))
        zig_program(
            triple,
            *("-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}", *page_size(triple)),
            *("-fno-sanitize=all", "-fno-stack-protector", "-fasynchronous-unwind-tables"),
            "-fno-builtin",  # or the shims' memcpy would become a call of itself
            *("-o", output, table),
            *(NATIVE / source for source in _SOURCES),
            *objects,
        )
        write_whole(path, output.read_bytes(), mode=0o755)


def _table(layers: Sequence[tuple[Kernel, Mapping[str, Any]]], target: Target, context: Mapping[str, Any]) -> str:
    """The C file that standalone.h declares."""
    described = {kernel.description["prefix"]: kernel.description for kernel, _ in layers}
    required = sorted({feature for kernel in described.values() for feature in kernel["features"]})
    entries = "".join(_entry(kernel, row) for kernel, row in layers)
    return (
        f"{header([*described.values()])}\n"
        '#include "standalone.h"\n'
        f"const layer layers[] = {{\n{entries}}};\n"
        "const int32_t layer_count = sizeof layers / sizeof *layers;\n"
        f"const char context[] = {_members(context, without=_SAID_THERE_OF_ALL)};\n"
        f"const char target[] = {c_text.string(target.name)};\n"
        f"const char *const features[] = {{{''.join(f'{c_text.string(name)}, ' for name in required)}NULL}};\n"
    )


def _entry(kernel: Kernel, row: Mapping[str, Any]) -> str:
    title = " ".join(filter(None, (row["name"], str(kernel.shape), kernel.algorithm)))
    fields = {
        "title": c_text.string(title),
        "row": _members(row, without=_SAID_THERE),
        **{name: getattr(kernel.shape, name) for name in _SIZES},
        "nchw": int(kernel.layout == "nchw"),
        **{name: f"{kernel.description['prefix']}_{name}" for name in _FUNCTIONS},
    }
    return "{" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "},\n"


def _members(row: Mapping[str, Any], without: Sequence[str]) -> str:
    """A row's JSON without its braces, as a C string."""
    return c_text.string(json.dumps({key: value for key, value in row.items() if key not in without})[1:-1])

"""From object files to a self-contained shared object, by zig alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmconv.target import Target

if TYPE_CHECKING:
    from tvmconv.algorithms.ir import Program

NATIVE = Path(__file__).with_name("native")
_SECONDS = 120  # a link takes 0.1 s, and a few seconds the first time


class LinkError(RuntimeError):
    """The linker failed; the message holds its last lines."""


def shim_source(prefix: str, program: Program, description: Mapping[str, Any]) -> str:
    """The C file that puts the plain C interface around one program's functions."""
    phases = " ".join(f"X({phase.function}, {phase.units})" for phase in program.phases)
    defines = {
        "PREFIX": prefix,
        "PACKED_BYTES": program.packed_bytes,
        "WORKSPACE_BYTES": program.workspace_bytes,
        "IMAGES": program.images,
        "DESCRIPTION": json.dumps(json.dumps(description)),
        "PHASES(X)": phases,
    }
    return "".join(f"#define {name} {value}\n" for name, value in defines.items()) + '#include "shim.c"\n'


def zig(*arguments: str | Path) -> None:
    """Runs `zig cc`. Raises LinkError with what it said."""
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(cache() / "zig"))}
    command = [sys.executable, "-m", "ziglang", "cc", *map(str, arguments)]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise LinkError(f"zig did not end within {_SECONDS} s") from None
    if done.returncode:
        raise LinkError("zig failed: " + " / ".join(done.stderr.strip().splitlines()[-3:]))


def link(parts: Sequence[Path], symbols: Sequence[str], target: Target, output: Path) -> None:
    """Links object files with their shims, C files. Exports the given symbols only, and depends on no library."""
    zig_triple = target.triple.replace("-unknown-", "-")
    exports = output.with_suffix(".map")
    exports.write_text("{ global: " + " ".join(f"{symbol};" for symbol in symbols) + " local: *; };\n")
    zig(
        *("-target", zig_triple, "-shared", "-nostdlib", "-O2", "-fPIC", "-fno-sanitize=all", "-fno-stack-protector"),
        "-fno-builtin",  # or the shim's memcpy would become a call of itself
        *("-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"),
        *("-Wl,-S", "-Wl,-z,defs", f"-Wl,--version-script={exports}"),
        *("-o", str(output), *map(str, parts)),
    )


def cache() -> Path:
    """The folder of built kernels and of zig's own cache."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise ValueError("there is no home folder to cache kernels in; set XDG_CACHE_HOME to a folder") from None
    return Path(home) / "tvmconv"

"""zig, which compiles C and links, and the folder of what has been built."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

NATIVE = Path(__file__).with_name("native")
_SECONDS = 120  # a link takes 0.1 s, and a few seconds the first time
_LIBC_SECONDS = 900  # musl takes a minute of one free core
_LIBRARY = (
    *("-O2", "-ffp-contract=fast", "-fno-slp-vectorize", "-std=gnu11", "-Wall", "-Wextra", "-Werror"),
    *("-shared", "-fPIC", "-nostdlib", "-fno-sanitize=all", "-fno-stack-protector"),
)

# The largest page of the systems that run a file, to which its segments are aligned: Linux has pages of 16 KB on the
# Raspberry Pi 5 and on Apple's chips, of 64 KB on some servers; Android asks for 16 KB.
_AARCH64_PAGES = {"linux": 65536, "android": 16384}
# What clang says of an instruction, and the line behind it.
_REFUSED = re.compile(r"error: (?P<reason>.*)\n(?P<code>.*)")


class LinkError(RuntimeError):
    """The linker failed; the message holds its last lines."""


def zig(*arguments: str | Path, seconds: float = _SECONDS) -> None:
    """Runs `zig cc`. Raises LinkError with what it said."""
    done = _run("cc", *arguments, seconds=seconds)
    if done.returncode:
        raise LinkError("zig failed: " + " / ".join(done.stderr.strip().splitlines()[-3:]))


def assemble(text: str, triple: str, cpu: str, output: Path) -> None:
    """Assembles x86 code; triple and cpu, which decides the padding between functions alone, are LLVM's.

    Raises LinkError with the first instruction that has no encoding. `zig clang` keeps no copy of what it makes.
    """
    options = ("-target", triple, f"-march={cpu}", "-c", "-x", "assembler", "-o", output, "-")
    done = _run("clang", *options, seconds=_SECONDS, text=text)
    if done.returncode:
        refused = _REFUSED.search(done.stderr)
        said = f"{' '.join(refused['code'].split())!r} ({refused['reason']})" if refused else done.stderr.strip()[-200:]
        raise LinkError(f"the assembler refuses {said}, a fault of the compiler; use another tile or algorithm")


def _run(tool: str, *arguments: str | Path, seconds: float, text: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a tool of zig's on some input. Raises LinkError where it takes longer."""
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(_zig_cache())}
    command = [sys.executable, "-m", "ziglang", tool, *map(str, arguments)]
    try:
        return subprocess.run(command, env=environment, input=text, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise LinkError(f"zig did not end within {seconds:.0f} s") from None


def zig_program(triple: str, *arguments: str | Path, static: bool = True) -> None:
    """Runs `zig cc` for a program, the first time for a triple with zig's building its C library, or its stand-in.

    Raises LinkError with what it said.
    """
    seconds = _SECONDS if libc_is_built(triple) else _LIBC_SECONDS
    zig("-target", triple, *(("-static",) if static else ()), *arguments, seconds=seconds)
    _libc_mark(triple).touch()


def libc_is_built(triple: str) -> bool:
    """Whether zig_program has made a program for that triple before; only zig knows what else its cache has."""
    return _libc_mark(triple).exists()


def _libc_mark(triple: str) -> Path:
    return _zig_cache() / f"tvmconv-{triple}"


def _zig_cache() -> Path:
    return Path(os.environ.get("ZIG_GLOBAL_CACHE_DIR") or cache() / "zig")


def page_size(triple: str) -> tuple[str, ...]:
    """The linker's flags for the page size of a target, by zig's or LLVM's triple; none for x86: all have 4 KB."""
    if not triple.startswith("aarch64-"):
        return ()
    return (f"-Wl,-z,max-page-size={_AARCH64_PAGES['android' if 'android' in triple else 'linux']}",)


def library(source: str, variant: str, *flags: str, triple: str | None = None) -> Path:
    """A C file of ours as a shared object, compiled now unless the cache has it.

    `source` is a file in NATIVE that needs no headers but its own, `variant` tells objects of other flags apart,
    `triple` is zig's, by default this machine's. Raises LinkError.
    """
    triple = triple or f"{platform.machine()}-linux-gnu"
    flags = ("-target", triple, *page_size(triple), *flags)
    path = NATIVE / source
    headers = [header.read_bytes() for header in sorted(NATIVE.glob("*.h"))]
    digest = hashlib.sha256(b"".join([path.read_bytes(), *headers, repr((_LIBRARY, flags)).encode()]))
    output = cache() / f"{path.stem}-{variant}-{digest.hexdigest()[:16]}.so"
    if not output.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{path.stem}-") as folder:
            made = Path(folder) / output.name
            zig(*_LIBRARY, *flags, "-o", made, path)
            os.replace(made, output)  # at once: two processes may do this at the same time
    return output


def cache() -> Path:
    """The folder of built kernels and of zig's own cache."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise ValueError("there is no home folder to cache kernels in; set XDG_CACHE_HOME to a folder") from None
    return Path(home) / "tvmconv"

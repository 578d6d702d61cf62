"""Compiles this project's C files with zig, into the cache."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tvmconv.native.zig import LinkError, OutOfTime, run_tool, run_zig, zig_cache
from tvmconv.support.filesystem.files import check_room
from tvmconv.support.filesystem.store import is_whole, publish
from tvmconv.support.filesystem.temporary import temporary_folder
from tvmconv.support.filesystem.user_folders import CACHE, naming

NATIVE = Path(__file__).parent
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


def zig(*arguments: str | Path, seconds: float = _SECONDS, afresh: float = _SECONDS) -> None:
    """Runs `zig cc`. Raises LinkError with what it said.

    `afresh`: the seconds that it may take where zig's cache is damaged, and has to be filled again.
    """
    run_zig(["cc", *arguments], seconds, afresh)


def archive(objects: Sequence[Path], output: Path) -> None:
    """Puts object files into a static library, the same bytes each time. Raises LinkError."""
    run_zig(["ar", "rcsD", output, *objects], _SECONDS, _SECONDS)


def assemble(text: str, triple: str, cpu: str, output: Path) -> None:
    """Assembles x86 code; triple and cpu, which decides the padding between functions alone, are LLVM's.

    Raises LinkError with the first instruction that has no encoding. `zig clang` keeps no copy of what it makes.
    """
    options = ("-target", triple, f"-march={cpu}", "-c", "-x", "assembler", "-o", output, "-")
    done = run_tool(["clang", *options], zig_cache(), _SECONDS, text)
    if done.returncode:
        refused = _REFUSED.search(done.stderr)
        said = f"{' '.join(refused['code'].split())!r} ({refused['reason']})" if refused else done.stderr.strip()[-200:]
        raise LinkError(f"the assembler refuses {said}, a fault of the compiler; use another tile or algorithm")


def zig_program(triple: str, *arguments: str | Path, static: bool = True) -> None:
    """Runs `zig cc` for a program, the first time for a triple with zig's building its C library, or its stand-in.

    Raises LinkError with what it said.
    """
    command = ("-target", triple, *(("-static",) if static else ()), *arguments)
    try:
        zig(*command, seconds=_SECONDS if libc_is_built(triple) else _LIBC_SECONDS, afresh=_LIBC_SECONDS)
    except OutOfTime:
        if not libc_is_built(triple):
            raise
        zig(*command, seconds=_LIBC_SECONDS)  # zig's cache has lost it
    _libc_mark(triple).touch()


def libc_is_built(triple: str) -> bool:
    """Whether zig_program has made a program for that triple before; only zig knows what else its cache has."""
    return _libc_mark(triple).exists()


def _libc_mark(triple: str) -> Path:
    return zig_cache() / f"tvmconv-{triple}"


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
    return built(output, lambda made: zig(*_LIBRARY, *flags, "-o", made, path))


def built(path: Path, make: Callable[[Path], None]) -> Path:
    """A file of the cache's folder, which `make` writes where it is told unless it is there and whole."""
    if not is_whole(path):
        with workplace(f".{path.stem}-") as folder:
            make(folder / path.name)
            publish([folder / path.name], path.parent)
    return path


def workplace(prefix: str, *names: str) -> AbstractContextManager[Path]:
    """A temporary folder in the cache, or in the folder of the cache that `names` lead to.

    Raises OSError, with one sentence that names the cache's variable, where it cannot be made or its disk is full.
    """
    parent = CACHE.made(*names)
    with naming(CACHE.variable):
        check_room(parent)  # before LLVM fails to write, and ends the process
    return temporary_folder(prefix, parent, CACHE.variable)


def cache() -> Path:
    """The folder of built kernels and of zig's own cache, which need not exist yet.

    Raises ValueError where there is no home folder, PermissionError where others could put files into it.
    """
    CACHE.check_private()
    return CACHE.path

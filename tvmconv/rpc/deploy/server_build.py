"""tvmconv-server compiled by zig, for this machine or for a device."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from tvmconv.native.toolchain import NATIVE, built, cache, page_size, zig_program
from tvmconv.version import __version__

SERVER = "tvmconv-server"
ARCHITECTURES = ("aarch64", "x86_64")
SOURCES = Path(__file__).parents[1] / "server"
GLIBC = "2.28"  # the oldest on which TVM's wheels run, by their name manylinux_2_28

_FLAGS = (
    *("-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fno-sanitize=all"),
    *("-fPIE", "-pie", "-Wl,-S", "-lpthread", "-ldl", "-lm"),
)


def server(architecture: str) -> Path:
    """The program for Linux with glibc, compiled now unless the cache has it. Raises toolchain.LinkError."""
    triple = f"{architecture}-linux-gnu.{GLIBC}"
    sources = [*sorted(SOURCES.rglob("*.c")), NATIVE / "cpu_list.c", NATIVE / "pool.c"]
    headers = [*SOURCES.glob("*.h"), *NATIVE.glob("*.h"), *tvm_headers().rglob("c_api.h")]
    flags = (*_FLAGS, f'-DVERSION="{__version__}"', *page_size(triple))
    digest = hashlib.sha256(repr((triple, flags)).encode())
    for path in [*sources, *sorted(headers)]:
        digest.update(path.read_bytes())
    output = cache() / f"{SERVER}-{architecture}-{digest.hexdigest()[:16]}"
    includes = (f"-I{tvm_headers()}", f"-I{NATIVE}")
    return built(output, lambda made: zig_program(triple, *flags, *includes, "-o", made, *sources, static=False))


def tvm_headers() -> Path:
    """The folder of tvm/ffi/c_api.h of the installed TVM."""
    return _package("tvm_ffi") / "include"


def local_libraries() -> tuple[Path, Path]:
    """libtvm_ffi.so and libtvm_runtime.so of the TVM that is installed here, found without importing it."""
    return _package("tvm_ffi") / "lib" / "libtvm_ffi.so", _package("tvm") / "lib" / "libtvm_runtime.so"


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.origin:
        raise ValueError(f"{name} is not installed beside tvmconv; install tvmconv again")
    return Path(found.origin).parent

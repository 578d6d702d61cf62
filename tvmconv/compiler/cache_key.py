"""The cache's key: a hash of a request and of everything that turns it into a kernel."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from tvmconv.runtime.kernel_file.description import SCHEMA
from tvmconv.version import __version__

# Packages, or folders of packages, whose change changes kernels.
_DECISIVE = ("algorithms", "compiler", "native", "runtime/kernel_file", "schedules", "target")


def key(asked: Iterable[object]) -> str:
    """The key of a request, given by the texts of its parts, for the sources and tools as they are here."""
    return hashlib.sha256("\n".join(map(str, (*asked, tools()))).encode()).hexdigest()[:16]


@functools.cache
def tools() -> str:
    """A hash of what builds kernels: this project's version and sources, the versions of TVM and of the linker."""
    digest = hashlib.sha256(f"{__version__} {SCHEMA}".encode())
    for name in ("apache-tvm", "apache-tvm-ffi", "ziglang"):
        digest.update(importlib.metadata.version(name).encode())
    for file in sources():
        digest.update(file.read_bytes())
    return digest.hexdigest()


def sources() -> list[Path]:
    """The files of this project that decide a kernel's code, those in subfolders of the packages included."""
    package = Path(__file__).parents[1]
    files = {file for room in _DECISIVE for file in (package / room).rglob("*") if file.suffix in (".py", ".c", ".h")}
    return sorted({*files, *(package / "workload" / name for name in ("descriptor.py", "shape.py"))})

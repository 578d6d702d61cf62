"""Links several kernels into one shared object or static library, from the object files in the cache."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tvmconv.compiler import link
from tvmconv.compiler.ffi_entries import exports
from tvmconv.native.toolchain import archive
from tvmconv.runtime.kernel_file.description import descriptions
from tvmconv.runtime.kernel_file.header import header
from tvmconv.runtime.kernel_file.soname import named
from tvmconv.support.filesystem.files import write_together
from tvmconv.support.filesystem.temporary import temporary_folder
from tvmconv.target import targets

_NAME = re.compile(r"(.+)\.(a|so(\.\d+)*)")  # layer.a, layer.so, layer.so.1.2


def is_library(name: str) -> bool:
    """Whether a file of that name is to be a static library or a shared object."""
    return _NAME.fullmatch(name) is not None


def header_of(path: Path) -> Path:
    """The path of a library's C header: layer.h beside layer.so or layer.a."""
    name = _NAME.fullmatch(path.name)
    assert name
    return path.with_name(f"{name[1]}.h")


def write_library(kernels: Sequence[Path], names: Mapping[str, Sequence[str]], path: Path) -> Path:
    """Writes a library of all `kernels` to `path`, and its C header, whose path is returned, beside it; both or none.

    It is static if `path` ends in .a, else a shared object. kernels are files of the builder's cache, for one target,
    each with a prefix of its own; names has their layers, by prefix. Raises zig.LinkError where the linker fails,
    OSError where a file cannot be written.
    """
    described = [kernel for file in kernels for kernel in descriptions(file).values()]
    made_for = targets.parse(described[0]["target"])
    if path.suffix == ".a":
        content = _archived(kernels, made_for)
    elif len(kernels) == 1:
        content = named(kernels[0].read_bytes(), path.name)
    else:
        content = _linked(kernels, (kernel["prefix"] for kernel in described), made_for, path.name)
    write_together({path: content, header_of(path): header(described, names).encode()})
    return header_of(path)


def _linked(kernels: Sequence[Path], prefixes: Iterable[str], made_for: targets.Target, name: str) -> bytes:
    parts = [kernel.with_suffix(end) for kernel in kernels for end in (".c", ".o")]
    symbols = dict.fromkeys(symbol for prefix in prefixes for symbol in exports(prefix))
    with temporary_folder("tvmconv-link-") as folder:
        link.link(parts, [*symbols], made_for, folder / name)
        return (folder / name).read_bytes()


def _archived(kernels: Sequence[Path], made_for: targets.Target) -> bytes:
    """A static library: of each kernel its code and its shim."""
    with temporary_folder("tvmconv-link-") as folder:
        objects = []
        for kernel in kernels:
            shim = folder / f"{kernel.stem}-shim.o"
            link.compile_hosted(kernel.with_suffix(".c"), made_for, shim)
            objects += [shim, kernel.with_suffix(".o")]
        archive(objects, folder / "library.a")
        return (folder / "library.a").read_bytes()

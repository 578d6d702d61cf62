"""Several kernels in one shared object, linked again from the parts that the cache keeps beside each of them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tvmconv import link, target
from tvmconv.description import descriptions
from tvmconv.entries import exports
from tvmconv.files import write_whole
from tvmconv.header import header


def write_library(kernels: Sequence[Path], names: Mapping[str, Sequence[str]], path: Path) -> Path:
    """Writes a shared object with all `kernels` to `path`, and its C header, whose path is returned, beside it.

    kernels are files of the builder's cache, for one target, each with a prefix of its own; names has their layers, by
    prefix. Raises toolchain.LinkError where the linker fails, OSError where a file cannot be written.
    """
    described = [kernel for file in kernels for kernel in descriptions(file).values()]
    write_whole(path, kernels[0].read_bytes() if len(kernels) == 1 else _linked(kernels, described))
    declared = path.with_suffix(".h")
    write_whole(declared, header(described, names).encode())
    return declared


def _linked(kernels: Sequence[Path], described: Sequence[Mapping[str, str]]) -> bytes:
    parts = [kernel.with_suffix(end) for kernel in kernels for end in (".c", ".o")]
    symbols = dict.fromkeys(symbol for kernel in described for symbol in exports(kernel["prefix"]))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "library.so"
        link.link(parts, [*symbols], target.parse(described[0]["target"]), output)
        return output.read_bytes()

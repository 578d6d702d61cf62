"""The bundle for a device: the server, TVM's runtime, a C library, run.sh, checksums."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from tvmconv.rpc.deploy.runtime_files import LOADER, NONE, PINNED, Say, c_runtime, cached_folder, tvm_libraries
from tvmconv.rpc.deploy.server_build import ARCHITECTURES, SERVER, server
from tvmconv.support.filesystem.files import sync
from tvmconv.support.filesystem.temporary import temporary_folder
from tvmconv.target.targets import Target

RUN, SUMS = "run.sh", "SHA256SUMS"

_RUN_SH = """\
#!/bin/sh
# Starts tvmconv-server, which serves this device to TVM's clients; its options are passed on (--help names them).
here=$(cd "$(dirname "$0")" && pwd) || exit 1
unset LD_PRELOAD LD_LIBRARY_PATH
exec {command} --work "$here" "$@"
"""


def make(target: Target, folder: Path, libc: str = PINNED, say: Say = lambda sentence: None) -> None:
    """Writes the bundle for a target to `folder`, which is made, or was a bundle before.

    The same versions give the same files, byte for byte. `libc`: `pinned` and `newest` bring Debian's C library, `none`
    has the device use its own; `say` gets a sentence before a download. Raises ValueError for a target without a server
    and for a folder of other things; zig.LinkError, apt.AptError or another RuntimeError where a part cannot be
    had.
    """
    folder = folder.resolve()
    _check_free(folder)
    _write(folder, _files(target, libc, say))


def cached(target: Target, libc: str = PINNED, say: Say = lambda sentence: None) -> Path:
    """The same bundle in the cache. Raises as make does."""
    files = _files(target, libc, say)
    digest = hashlib.sha256(files[SUMS]).hexdigest()[:16]
    return cached_folder(f"bundle-{_architecture(target)}-{digest}", lambda: files)


def _files(target: Target, libc: str, say: Say) -> dict[str, bytes]:
    architecture = _architecture(target)
    if libc == NONE and "android" in target.triple:
        raise ValueError(f"{target.name} runs Android, which has no glibc: use --libc pinned, or newest")
    files = {
        SERVER: server(architecture).read_bytes(),
        **tvm_libraries(architecture, say),
        **c_runtime(architecture, libc, say),
    }
    files[RUN] = _RUN_SH.format(command=" ".join(f'"{word}"' for word in command("$here", architecture, libc))).encode()
    files[SUMS] = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()
    return files


def command(folder: str, architecture: str, libc: str) -> list[str]:
    """The command of run.sh, without the caller's options."""
    loader = [] if libc == NONE else [f"{folder}/{LOADER[architecture]}", "--library-path", folder]
    return [*loader, f"{folder}/{SERVER}", "--lib", folder]


def _architecture(target: Target) -> str:
    architecture = target.triple.partition("-")[0]
    if architecture not in ARCHITECTURES or "linux" not in target.triple:
        raise ValueError(f"the server is for Linux and Android on aarch64 or x86_64, not for {target.name}")
    return architecture


def _check_free(folder: Path) -> None:
    if not folder.parent.is_dir():
        raise ValueError(f"-o {folder}: there is no folder {folder.parent}; make it first")
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (folder / SUMS).exists())):
        raise ValueError(f"-o {folder} holds other things than a bundle: name a new folder")


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Writes them beside and renames, so that a folder is never half a bundle; what was there before goes."""
    with temporary_folder(f".{folder.name}-", folder.parent, "-o") as temporary:
        made = temporary / "new"
        made.mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content)
            (made / name).chmod(0o644 if name == SUMS else 0o755)
            sync(made / name)
        sync(made)
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, temporary / "old")
        os.rename(made, folder)
        sync(folder.parent)

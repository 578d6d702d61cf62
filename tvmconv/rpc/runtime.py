"""What a device needs beside the server: TVM's runtime libraries, and a C library where its own is none or too old."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tvmconv.last_words import last_words
from tvmconv.rpc import apt
from tvmconv.rpc.server_build import GLIBC, local_libraries
from tvmconv.store import is_whole, publish
from tvmconv.temporary import temporary_folder
from tvmconv.toolchain import cache, workplace

Say = Callable[[str], None]

PINNED, NEWEST, NONE = "pinned", "newest", "none"  # whose C library a bundle has

_WHEELS = {"apache-tvm-ffi": "tvm_ffi/lib/libtvm_ffi.so", "apache-tvm": "tvm/lib/libtvm_runtime.so"}
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux2014", "manylinux_2_17")
_DOWNLOAD_SECONDS = 900  # 95 MB

_DEBIAN = {"aarch64": "arm64", "x86_64": "amd64"}
LOADER = {"aarch64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}

# Debian 12's, the newest when this was tested: version and SHA-256 of the .deb for arm64. Security updates replace
# them, and apt no longer offers the old ones; then these lines have to be renewed, or --libc newest used.
_PINS = {
    "libc6": ("2.36-9+deb12u14", "01f4330719fd4f65580e16ea5a0527f372fca750e8f588d26deaf09f2d3b1cf4"),
    "libgcc-s1": ("12.2.0-14+deb12u1", "576926b283613db80168ddf76380a3bd877602778cf0d226caa7bfbfa71eacf3"),
    "libstdc++6": ("12.2.0-14+deb12u1", "26e138c677a985775331373828a6c286c551ff397cb735d00e2383cb273d1cb2"),
}
# What TVM's libraries and the server link to.
_LIBC = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0")


def tvm_libraries(architecture: str, say: Say) -> Mapping[str, bytes]:
    """libtvm_ffi.so and libtvm_runtime.so, of the versions that are installed here.

    For another architecture pip downloads their wheels, once. Raises RuntimeError where it cannot.
    """
    if architecture == platform.machine():
        return {path.name: path.read_bytes() for path in local_libraries()}
    versions = {package: importlib.metadata.version(package) for package in _WHEELS}
    name = "-".join(["libtvm", architecture, *versions.values()])
    return _cached(name, lambda: _from_wheels(architecture, versions, say))


def c_runtime(architecture: str, choice: str, say: Say) -> Mapping[str, bytes]:
    """The C library with its loader, and C++'s, from Debian's packages; nothing for `none`.

    Raises ValueError for `pinned` where nothing is, apt.AptError for what apt does not offer.
    """
    if choice == NONE:
        return {}
    if choice == NEWEST:
        return _from_packages(architecture, dict.fromkeys(_PINS), say)
    if architecture != "aarch64":
        raise ValueError(
            f"no C library is pinned for {architecture}: use --libc none (glibc {GLIBC} or newer), or newest"
        )
    digest = hashlib.sha256(repr(_PINS).encode()).hexdigest()[:16]
    return _cached(f"libc-{architecture}-{digest}", lambda: _from_packages(architecture, _PINS, say))


def qemu(say: Say) -> str:
    """qemu-user for aarch64: the one on the PATH, else Debian's, in the cache. Raises apt.AptError."""
    names = ("qemu-aarch64-static", "qemu-aarch64")
    installed = next(filter(None, map(shutil.which, names)), None)
    return installed or str(cached_folder(names[0], lambda: _debians_qemu(names[0], say)) / names[0])


def _from_wheels(architecture: str, versions: Mapping[str, str], say: Say) -> dict[str, bytes]:
    say(f"downloading TVM's runtime for {architecture}, 98 MB, this once")
    found = {}
    with temporary_folder("tvmconv-wheels-") as folder:
        platforms = (f"--platform={name}_{architecture}" for name in _PLATFORMS)
        wanted = (f"{package}=={version}" for package, version in versions.items())
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input")
        _run([*pip, "--no-deps", "--only-binary=:all:", *platforms, "--dest", str(folder), *wanted])
        for package, path in _WHEELS.items():
            wheel = next(folder.glob(f"{package.replace('-', '_')}-{versions[package]}-*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                found[Path(path).name] = archive.read(path)
    return found


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"pip did not download TVM's wheels within {_DOWNLOAD_SECONDS} s") from None
    if done.returncode:
        said = last_words(done.stderr) or "it did not say why"
        raise RuntimeError(f"pip could not download TVM's wheels: {said}")


def _from_packages(architecture: str, pins: Mapping[str, tuple[str, str] | None], say: Say) -> dict[str, bytes]:
    debian = _DEBIAN[architecture]
    say(f"downloading Debian's C library for {debian}, 3 MB")
    triplet, loader = f"{architecture}-linux-gnu", LOADER[architecture]
    contents = {
        "libc6": {**{name: f"lib/{triplet}/{name}" for name in _LIBC}, loader: f"lib/{triplet}/{loader}"},
        "libgcc-s1": {"libgcc_s.so.1": f"lib/{triplet}/libgcc_s.so.1"},
        "libstdc++6": {"libstdc++.so.6": f"usr/lib/{triplet}/libstdc++.so.6"},
    }
    names = [f"{package}={pin[0]}" if pin else package for package, pin in pins.items()]
    found: dict[str, bytes] = {}
    try:
        with apt.downloaded(names, debian) as files:
            for (package, pin), file in zip(pins.items(), files, strict=True):
                if pin:
                    apt.check(file, pin[1])
                found.update(apt.unpacked(file, contents[package]))
    except apt.AptError as error:
        hint = f"; --libc newest takes what apt offers, --libc none the device's own (glibc {GLIBC} or newer)"
        raise apt.AptError(f"{error}{hint if any(pins.values()) else ''}") from None
    return found


def _debians_qemu(name: str, say: Say) -> dict[str, bytes]:
    say("downloading Debian's qemu-user-static, 50 MB, this once")
    with apt.downloaded(["qemu-user-static"], _DEBIAN.get(platform.machine(), platform.machine())) as (package,):
        return apt.unpacked(package, {name: f"usr/bin/{name}"})


def _cached(name: str, make: Callable[[], Mapping[str, bytes]]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(cached_folder(name, make).iterdir())}


def cached_folder(name: str, make: Callable[[], Mapping[str, bytes]]) -> Path:
    """The folder of that name in the cache, with these files, which `make` supplies the first time."""
    folder = cache() / "device" / name
    if not is_whole(folder):
        files = make()
        with workplace(f".{name}-", "device") as temporary:
            made = temporary / name
            made.mkdir()
            for file, content in files.items():
                (made / file).write_bytes(content)
                (made / file).chmod(0o755)
            publish([made], folder.parent)
    return folder

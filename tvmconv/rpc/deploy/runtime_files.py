"""The libraries that a device needs beside the server: TVM's runtime, and a C library if its own is too old.

What is downloaded is trusted as follows. TVM's wheels, and the packages of the pinned C library, have their SHA-256
here. All Debian packages, also those of the newest C library and of qemu, have theirs in lists that apt accepts only
with the signature of a key that this machine trusts.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tvmconv.native.toolchain import cache, workplace
from tvmconv.rpc.deploy import apt
from tvmconv.rpc.deploy.server_build import GLIBC, local_libraries
from tvmconv.support.filesystem.store import is_whole, publish
from tvmconv.support.filesystem.temporary import temporary_folder
from tvmconv.support.text import last_line

Say = Callable[[str], None]

PINNED, NEWEST, NONE = "pinned", "newest", "none"  # whose C library a bundle has


@dataclass(frozen=True)
class _Wheel:
    """One version of a package: the path of its library in the wheel, and the wheel's SHA-256 by architecture."""

    version: str
    library: str
    sha256: Mapping[str, str]


# The versions of pyproject.toml. apache-tvm-ffi has a wheel for each Python: the one for 3.11 is taken everywhere.
_WHEELS = {
    "apache-tvm-ffi": _Wheel(
        "0.1.14.post1",
        "tvm_ffi/lib/libtvm_ffi.so",
        {
            "aarch64": "c7a759781d4fbf2b99fa12f2741f250b882b06acc2747bb02831d491d1ac7d3c",
            "x86_64": "4b01a5a3fa07ed3315d5ef1e05d3542dae57a119ef7e77c54bc062414e242f65",
        },
    ),
    "apache-tvm": _Wheel(
        "0.27.0.post1",
        "tvm/lib/libtvm_runtime.so",
        {
            "aarch64": "4acfdb7653e4e1ba7a707bdf2833db72eb8fda7d04d99141f2a4e1da43171fb7",
            "x86_64": "f503fc903b6e16fda5daacac6698ecb8bc38937f57da7aa29f6c7ab169d08657",
        },
    ),
}
_PYTHON = ("--python-version=3.11", "--implementation=cp")
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


class ChecksumError(RuntimeError):
    """A downloaded file is not the one that was tested; the message is one sentence."""


def tvm_libraries(architecture: str, say: Say) -> Mapping[str, bytes]:
    """libtvm_ffi.so and libtvm_runtime.so, of the versions that are installed here.

    For another architecture pip downloads their wheels, once. Raises RuntimeError where it cannot, ChecksumError for
    other wheels than those that were tested.
    """
    if architecture == platform.machine():
        return {path.name: path.read_bytes() for path in local_libraries()}
    for package, wheel in _WHEELS.items():
        if (installed := importlib.metadata.version(package)) != wheel.version:
            raise RuntimeError(
                f"{package} {installed} is installed here, and {wheel.version} is the one whose wheel for "
                f"{architecture} was tested: install tvmconv again"
            )
    name = f"libtvm-{architecture}-{_digest(_WHEELS)}"
    return _cached(name, lambda: _from_wheels(architecture, say))


def c_runtime(architecture: str, choice: str, say: Say) -> Mapping[str, bytes]:
    """The C library with its loader, and C++'s, from Debian's packages; nothing for `none`.

    Raises ValueError for `pinned` where nothing is, apt.AptError for what apt does not offer, ChecksumError for other
    packages than the pinned ones.
    """
    if choice == NONE:
        return {}
    if choice == NEWEST:
        return _from_packages(architecture, dict.fromkeys(_PINS), say)
    if architecture != "aarch64":
        raise ValueError(
            f"no C library is pinned for {architecture}: use --libc none (glibc {GLIBC} or newer), or newest"
        )
    return _cached(f"libc-{architecture}-{_digest(_PINS)}", lambda: _from_packages(architecture, _PINS, say))


def qemu(say: Say) -> str:
    """qemu-user for aarch64: the one on the PATH, else Debian's, in the cache. Raises apt.AptError."""
    names = ("qemu-aarch64-static", "qemu-aarch64")
    installed = next(filter(None, map(shutil.which, names)), None)
    return installed or str(cached_folder(names[0], lambda: _debians_qemu(names[0], say)) / names[0])


def check(file: Path, sha256: str) -> None:
    """Raises ChecksumError for a downloaded file that has another checksum."""
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != sha256:
        raise ChecksumError(
            f"{file.name} has the checksum {found}, and {sha256} is the one that was tested: it is not used"
        )


def _from_wheels(architecture: str, say: Say) -> dict[str, bytes]:
    say(f"downloading TVM's runtime for {architecture}, 98 MB, this once")
    found = {}
    with temporary_folder("tvmconv-wheels-") as folder:
        platforms = (f"--platform={name}_{architecture}" for name in _PLATFORMS)
        wanted = (f"{package}=={wheel.version}" for package, wheel in _WHEELS.items())
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input")
        _run([*pip, "--no-deps", "--only-binary=:all:", *_PYTHON, *platforms, "--dest", str(folder), *wanted])
        for package, wheel in _WHEELS.items():
            file = next(folder.glob(f"{package.replace('-', '_')}-{wheel.version}-*.whl"))
            check(file, wheel.sha256[architecture])
            with zipfile.ZipFile(file) as archive:
                found[Path(wheel.library).name] = archive.read(wheel.library)
    return found


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"pip did not download TVM's wheels within {_DOWNLOAD_SECONDS} s") from None
    if done.returncode:
        said = last_line(done.stderr) or "it did not say why"
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
                    check(file, pin[1])
                found.update(apt.unpacked(file, contents[package]))
    except apt.AptError as error:
        hint = f"; --libc newest takes what apt offers, --libc none the device's own (glibc {GLIBC} or newer)"
        raise apt.AptError(f"{error}{hint if any(pins.values()) else ''}") from None
    return found


def _debians_qemu(name: str, say: Say) -> dict[str, bytes]:
    say("downloading Debian's qemu-user-static, 50 MB, this once")
    with apt.downloaded(["qemu-user-static"], _DEBIAN.get(platform.machine(), platform.machine())) as (package,):
        return apt.unpacked(package, {name: f"usr/bin/{name}"})


def _digest(pins: object) -> str:
    """Tells folders of other pins apart."""
    return hashlib.sha256(repr(pins).encode()).hexdigest()[:16]


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

"""Debian packages of any architecture through this machine's own apt, unpacked and not installed: no root is needed."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tvmconv.support.filesystem.temporary import temporary_folder

_SECONDS = 300  # lists and a few packages take 10 s
_OPTIONS = {
    "Acquire::Languages": "none",
    "Acquire::Retries": "2",
    "Acquire::http::Timeout": "30",
    "Acquire::https::Timeout": "30",
    "APT::Sandbox::User": "root",  # of no meaning but for root, whom apt warns that another user cannot write here
    "Debug::NoLocking": "1",
    # No list without a signature of a key that this machine trusts, whatever its configuration allows.
    "APT::Get::AllowUnauthenticated": "false",
    "Acquire::AllowInsecureRepositories": "false",
    "Acquire::AllowWeakRepositories": "false",
    "Acquire::AllowDowngradeToInsecureRepositories": "false",
}


class AptError(RuntimeError):
    """A package cannot be had here; the message is one sentence that says why."""


@contextmanager
def downloaded(packages: Sequence[str], architecture: str) -> Iterator[list[Path]]:
    """The .deb files of packages, NAME or NAME=VERSION, in their order, while the `with` lasts.

    apt checks them against its signed lists, which are fetched afresh. Raises AptError.
    """
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            raise AptError(f"this machine has no {program}: Debian's packages can be had on Debian and its relatives")
    with temporary_folder("tvmconv-apt-") as folder:
        command = _apt_get(folder, architecture)
        _run(command, ["update"], folder)
        files = []
        for index, package in enumerate(packages):
            place = folder / f"{index}"
            place.mkdir()
            _run(command, ["download", package], place)
            files += list(place.glob("*.deb"))
        yield files


def _apt_get(folder: Path, architecture: str) -> list[str]:
    """apt-get as if on a machine of that architecture where nothing is installed, with its state in `folder`."""
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    options = {
        **_OPTIONS,
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "Dir::State": str(folder),
        "Dir::State::status": str(folder / "status"),
        "Dir::State::lists": str(folder / "lists"),
        "Dir::Cache": str(folder / "cache"),
    }
    return ["apt-get", "-qq", *(word for item in options.items() for word in ("-o", "=".join(item)))]


def _run(command: Sequence[str], action: Sequence[str], folder: Path) -> None:
    what = f"apt-get {' '.join(action)}"
    try:
        done = subprocess.run(
            [*command, *action], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise AptError(f"{what} did not end within {_SECONDS} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("E: ")] or ["it did not say why"]
        raise AptError(f"{what} failed: {said[0].removeprefix('E: ')}")


def unpacked(package: Path, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """The contents of some files: name → path in the package, as in usr/bin/qemu; links are followed.

    Raises AptError for a package without one of them.
    """
    try:
        done = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", package], capture_output=True, timeout=_SECONDS, check=True
        )
    except (subprocess.SubprocessError, OSError):
        raise AptError(f"dpkg-deb cannot unpack {package.name}") from None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        names = {member.name.removeprefix("./"): member for member in archive}
        found = {}
        for name, path in wanted.items():
            content = archive.extractfile(names[path]) if path in names else None
            if content is None:
                raise AptError(f"{package.name} has no {path}")
            found[name] = content.read()
        return found

"""What a device is given: complete, the same every time, and an aarch64 under qemu-user that runs with nothing else.

TVM's aarch64 wheel, Debian's packages and qemu come from this machine's pip and apt, once; without them the tests that
need them are skipped with the reason.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import tvmconv
from tests.processes import in_group
from tests.serving import KEY, Client, faulty_module
from tests.waiting import PATIENCE, until
from tvmconv import cli
from tvmconv.rpc.deploy import apt, bundle, local_device, runtime_files
from tvmconv.rpc.deploy.server_build import ARCHITECTURES
from tvmconv.rpc.process import Listening
from tvmconv.target import targets

WORKLOAD = "mb2ic8ih6oc20kh3ph1"
NATIVE = targets.parse("aarch64" if platform.machine() == "aarch64" else "x86-64-v2")


@contextmanager
def skipping() -> Iterator[None]:
    """Skips where a part cannot be had; another part than the pinned one is a failure."""
    try:
        yield
    except runtime_files.ChecksumError:
        raise
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def device_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "pixel6"
    with skipping():
        bundle.make(targets.parse("pixel6"), folder)
    return folder


@pytest.fixture(scope="module")
def emulated() -> Iterator[local_device.EmulatedDevice]:
    with skipping():
        device = local_device.EmulatedDevice().__enter__()
    yield device
    device.__exit__()
    assert not in_group(device._server.pid) and not in_group(device._tracker.pid)


def elves(folder: Path) -> Iterator[tuple[str, ELFFile]]:
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            if file.read(4) == b"\x7fELF":
                yield path.name, ELFFile(file)


def test_three_files_where_there_is_a_c_library(tmp_path: Path, client: Client) -> None:
    """run.sh starts them, from wherever it is called, and the sessions' folders are in the bundle's."""
    folder = tmp_path / "a device's"
    bundle.make(NATIVE, folder, runtime_files.NONE)
    assert sorted(os.listdir(folder)) == [
        "SHA256SUMS",
        "libtvm_ffi.so",
        "libtvm_runtime.so",
        "run.sh",
        "tvmconv-server",
    ]
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout.count(": OK")) == (0, 4)
    command = ["/bin/sh", str(folder / "run.sh"), "--port", "0", "--key", KEY, "--stop-at-eof"]
    with Listening(command, PATIENCE, {"PATH": os.environ["PATH"], "LD_PRELOAD": "/nowhere.so"}) as running:
        path = client.ask("call", running.address, KEY, "tvm.rpc.server.workpath", "x")
        assert re.fullmatch(rf"{re.escape(str(folder))}/tvmconv-session-\d+-\w+/x", path)
    assert len(os.listdir(folder)) == 5


def test_the_same_again(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    bundle.make(NATIVE, folder, runtime_files.NONE)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "old").write_text("of another version")
    bundle.make(NATIVE, folder, runtime_files.NONE)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert os.listdir(tmp_path) == ["bundle"]


@pytest.mark.parametrize(
    ("target", "folder", "options", "code", "sentence"),
    [
        ("pixel6", "new", ["--libc", "none"], 2, "pixel6 runs Android, which has no glibc"),
        ("x86-64-v3", "new", [], 2, "no C library is pinned for x86_64: use --libc none"),
        ("pixel6", "nowhere/new", [], 2, "make it first"),
        ("pixel6", ".", [], 2, "holds other things than a bundle"),
        ("pixel6", "file", [], 2, "holds other things than a bundle"),
        ("raspberrypi5", "new", ["--libc", "newest"], 1, "this machine has no apt-get"),
    ],
)
def test_what_cannot_be_bundled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    target: str,
    folder: str,
    options: list[str],
    code: int,
    sentence: str,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("shutil.which", lambda program: None)
    monkeypatch.setattr(bundle, "tvm_libraries", lambda architecture, say: {})
    argv = ["rpc", "bundle", "-t", target, "-o", str(tmp_path / folder), *options, "-q"]
    assert cli.main(argv) == code
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1
    assert os.listdir(tmp_path) == ["file"]


def test_another_package_than_the_pinned_one(tmp_path: Path) -> None:
    package = tmp_path / "libc6_2.99_arm64.deb"
    package.write_bytes(b"something else")
    with pytest.raises(
        runtime_files.ChecksumError, match=r"has the checksum [0-9a-f]{64}, and 0123 is the one that was tested"
    ):
        runtime_files.check(package, "0123")
    with pytest.raises(apt.AptError, match="dpkg-deb cannot unpack libc6"):
        apt.unpacked(package, {"libc.so.6": "lib/libc.so.6"})


def fake_wheel(folder: Path, package: str, version: str, python: str) -> None:
    """A wheel for aarch64 as pip takes it, with other code than the real one."""
    name = package.replace("-", "_")
    tag = f"{python}-manylinux_2_28_aarch64"
    metadata = {
        "METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        "WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as wheel:
        for file, content in metadata.items():
            wheel.writestr(f"{name}-{version}.dist-info/{file}", content)
        for library in ("tvm_ffi/lib/libtvm_ffi.so", "tvm/lib/libtvm_runtime.so"):
            wheel.writestr(library, b"other code")


@pytest.mark.skipif(platform.machine() == "aarch64", reason="no wheel for this machine is downloaded")
def test_another_wheel_than_the_pinned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pip finds wheels of the right name with other content: one line, and nothing of it is kept."""
    wheels, cache, temporary = (tmp_path / name for name in ("wheels", "cache", "temporary"))
    for folder in (wheels, cache, temporary):
        folder.mkdir()
    fake_wheel(wheels, "apache-tvm", importlib.metadata.version("apache-tvm"), "py3-none")
    fake_wheel(wheels, "apache-tvm-ffi", importlib.metadata.version("apache-tvm-ffi"), "cp311-cp311")
    variables = {"PIP_FIND_LINKS": wheels, "PIP_NO_INDEX": 1, "XDG_CACHE_HOME": cache, "TMPDIR": temporary}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(bundle, "server", lambda architecture: Path(__file__))
    argv = ["rpc", "bundle", "-t", "raspberrypi5", "-o", str(tmp_path / "bundle"), "--libc", "none", "-q"]
    assert cli.main(argv) == 1
    said = capsys.readouterr().err
    assert re.search(r"apache_tvm_ffi-\S+ has the checksum [0-9a-f]{64}, and \w+ is the one that was tested", said)
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "bundle").exists() and not list(cache.rglob("*.so")) and not list(temporary.iterdir())


def test_wheels_of_the_installed_versions_are_pinned() -> None:
    for package, wheel in runtime_files._WHEELS.items():
        assert importlib.metadata.version(package) == wheel.version
        assert {*wheel.sha256} == {*ARCHITECTURES} and all(len(digest) == 64 for digest in wheel.sha256.values())


@pytest.mark.skipif(not shutil.which("apt-get"), reason="there is no apt here")
def test_packages_without_a_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused, also on a machine whose apt is told to take them."""
    for part in ("DEBIAN", "usr/bin"):
        (tmp_path / "package" / part).mkdir(parents=True)
    control = "Package: forged\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: none\n"
    (tmp_path / "package/DEBIAN/control").write_text(control)
    repository = tmp_path / "repository"
    repository.mkdir()
    deb = repository / "forged.deb"
    subprocess.run(["dpkg-deb", "-b", tmp_path / "package", deb], check=True, capture_output=True, timeout=PATIENCE)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    (repository / "Packages").write_text(
        f"{control}Filename: ./forged.deb\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
    )
    (tmp_path / "sources").write_text(f"deb file:{repository} ./\n")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources"; Dir::Etc::sourceparts "-";'
        'APT::Get::AllowUnauthenticated "true"; Acquire::AllowInsecureRepositories "true";'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    with pytest.raises(apt.AptError, match="apt-get update failed"), apt.downloaded(["forged"], "arm64"):
        pass


def test_a_device_needs_nothing_else(device_folder: Path) -> None:
    """Every library that one of the files wants is there; all fit pages of 64 KB; 11 MB at most."""
    found = {name: elf for name, elf in elves(device_folder)}
    assert {"tvmconv-server", "libtvm_ffi.so", "libtvm_runtime.so", "ld-linux-aarch64.so.1", "libc.so.6"} <= {*found}
    for path in device_folder.iterdir():
        if path.name not in found:
            continue
        with path.open("rb") as file:
            elf = ELFFile(file)
            assert elf["e_machine"] == "EM_AARCH64"
            assert min(segment["p_align"] for segment in elf.iter_segments("PT_LOAD")) >= 65536
            dynamic = elf.get_section_by_name(".dynamic")
            assert {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")} <= {*found}, path.name
    assert sum(path.stat().st_size for path in device_folder.iterdir()) < 11e6


def test_it_runs_under_qemu(client: Client, emulated: local_device.EmulatedDevice, tmp_path: Path) -> None:
    """With its own libraries alone: a kernel, a crash, a loop."""
    kernel = tvmconv.build(WORKLOAD, algorithm="indirect", target="pixel6")
    assert client.ask("convolve_through", emulated.tracker, emulated.key, kernel.path) is True
    mapped = set(re.findall(r"/\S+\.so\S*", Path(f"/proc/{emulated._server.pid}/maps").read_text()))
    assert {Path(path).parent.name[:14] for path in mapped} == {"bundle-aarch64"}
    faulty = faulty_module("aarch64", tmp_path)
    for fault, logged in (("crash", "crashed (Segmentation fault)"), ("loop", "was killed: its time is over")):
        answer = client.ask("fault_through", emulated.tracker, emulated.key, faulty, fault, 3)
        assert answer["error"]
        until(lambda logged=logged: logged in emulated.log)  # type: ignore[misc]
    described = client.ask("describe_through", emulated.tracker, emulated.key)
    assert (described["machine"], described["libc"]) == ("aarch64", "glibc 2.36")
    assert {"asimd", "fphp"} <= {*described["features"]}


def test_it_dies_with_its_owner_under_qemu_too(emulated: local_device.EmulatedDevice, tmp_path: Path) -> None:
    """A session of a server that is killed."""
    command = [*local_device.emulated_command(print), "--port", "0", "--key", KEY, "--work", str(tmp_path)]
    began = time.monotonic()
    running = Listening(command, PATIENCE, environment={})
    assert time.monotonic() - began < PATIENCE
    client = Client()
    client.send("fault", running.address, KEY, faulty_module("aarch64", tmp_path), "loop", 60)
    until(lambda: "looping" in running.log)
    (session,) = (int(line.split()[2]) for line in running.log.splitlines() if "begins" in line)
    os.kill(running.pid, 9)
    until(lambda: not Path(f"/proc/{session}").exists())
    client.kill()
    running.stop()

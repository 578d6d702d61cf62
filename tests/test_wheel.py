"""The wheel: what it holds, and that it runs without the checkout."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import tvmconv

ROOT = Path(__file__).resolve().parent.parent


def built(target: str, source: Path, folder: Path) -> Path:
    """The wheel or sdist of the project in a folder."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (package,) = folder.iterdir()
    return package


@pytest.fixture(scope="module", params=["checkout", "sdist"])
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the checkout; and from its sdist, as pip does."""
    source = ROOT
    if request.param == "sdist":
        unpacked = tmp_path_factory.mktemp("unpacked")
        with tarfile.open(built("sdist", ROOT, tmp_path_factory.mktemp("sdist"))) as archive:
            archive.extractall(unpacked, filter="data")
        (source,) = unpacked.iterdir()
    return built("wheel", source, tmp_path_factory.mktemp("wheel"))


def test_wheel_holds_every_file_under_one_name(wheel: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    for folder, inside in (
        ("tvmconv", "tvmconv"),
        *((name, f"tvmconv/{name}") for name in ("schedules", "tuning_logs")),
    ):
        files = {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        sources = {f"{inside}/{name}" for name in files if "__pycache__" not in name and not name.endswith(".so")}
        assert sources, f"{folder} is empty"
        assert sources <= shipped
    assert {name.partition("/")[0] for name in shipped} == {"tvmconv", f"tvmconv-{tvmconv.__version__}.dist-info"}


def test_wheel_runs_where_the_checkout_is_not(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    where = """
from tvmconv import schedules
from tvmconv.database.log import SHIPPED
print(schedules.__file__, *SHIPPED.rglob("*.jsonl"))
"""
    shown = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, text=True, capture_output=True, check=True)
    found = [Path(name).relative_to(tmp_path).parts[:2] for name in shown.stdout.split()]
    assert found == [("tvmconv", "schedules"), *[("tvmconv", "tuning_logs")] * (len(found) - 1)] and len(found) > 5
    version = [sys.executable, "-m", "tvmconv", "--version"]
    shown = subprocess.run(version, cwd=tmp_path, text=True, capture_output=True, check=True)
    assert tvmconv.__version__ in shown.stdout


@pytest.mark.parametrize("command", ["best", "show"])
def test_wheel_finds_its_tuning_logs(wheel: Path, tmp_path: Path, command: str) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = [sys.executable, "-m", "tvmconv", "log", command]
    shown = subprocess.run(program, cwd=tmp_path, text=True, capture_output=True, check=True)
    assert "mb1ic64ih56oc64oh56kh3ph1" in shown.stdout


@pytest.mark.parametrize("command", [["tvmconv"], ["python", "-m", "tvmconv"]])
def test_command_on_the_path_tells_its_version(command: list[str], tmp_path: Path) -> None:
    program = Path(sys.executable).with_name(command[0])
    if not program.exists():
        pytest.skip("tvmconv is not installed in this environment, so no command is on its PATH")
    done = subprocess.run([program, *command[1:], "--version"], cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert tvmconv.__version__ in done.stdout

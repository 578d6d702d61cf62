"""What may be imported by whom, and what a cheap command must not load."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

import tvmconv

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = {path.stem for path in (ROOT / "tvmconv").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def loaded_by(program: str) -> set[str]:
    """The modules a fresh Python has loaded after `program`."""
    report = "\nimport sys; print(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program + report], text=True, capture_output=True, check=True, cwd=ROOT
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("program", "forbidden"),
    [
        ("import tvmconv", {"tvm", "numpy", "rich", "onnx"}),
        (
            "import tvmconv.target.tile, tvmconv.workload.networks, tvmconv.workload.onnx, tvmconv.workload.resolve",
            {"tvm", "numpy", "rich", "onnx"},
        ),
        ("import tvmconv.target.targets", {"tvm"}),
        ("import tvmconv.verify.reference", {"tvm"}),
        ("import tvmconv.runtime.kernel", {"tvm"}),
        ("import tvmconv.compiler.builder", {"tvm"}),
        ("import tvmconv.cli", {"tvm", "numpy", "rich", "onnx"}),
    ],
)
def test_import_is_light(program: str, forbidden: set[str]) -> None:
    assert not loaded_by(program) & forbidden


@pytest.mark.parametrize("arguments", [["--help"], ["bench", "--help"], ["--version"], ["list", "networks", "--json"]])
def test_command_is_light(arguments: list[str]) -> None:
    program = f"""
import tvmconv.cli
try:
    tvmconv.cli.main({arguments})
except SystemExit as done:
    assert not done.code
"""
    assert not loaded_by(program) & {"tvm", "numpy", "onnx"}


def test_every_room_is_a_package() -> None:
    """import-linter's contract is exhaustive, and names packages; what stands beside them is the way in."""
    modules = {room for room in ROOMS if (ROOT / "tvmconv" / f"{room}.py").exists()}
    assert modules == {"__init__", "__main__", "api", "version"}


def test_no_folder_is_crowded() -> None:
    folders = {path.parent for path in (ROOT / "tvmconv").rglob("*.[pc]*") if "__pycache__" not in path.parts}
    modules = {folder: [*folder.glob("[!_]*.py"), *folder.glob("*.c")] for folder in folders}
    assert not {folder: len(found) for folder, found in modules.items() if len(found) > 12}


def test_reference_shares_no_code_with_what_it_judges() -> None:
    ours = {name for name in loaded_by("import tvmconv.verify.reference") if name.startswith("tvmconv.")}
    packages = {"tvmconv.verify", "tvmconv.workload"}
    workload = {"tvmconv.workload.descriptor", "tvmconv.workload.shape"}
    assert ours == {*packages, "tvmconv.version", "tvmconv.verify.reference", *workload}


def test_public_names_lead_home() -> None:
    for name in tvmconv.__all__:
        assert getattr(tvmconv, name) is not None
    assert set(tvmconv.__all__) <= set(dir(tvmconv))
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        _ = tvmconv.biuld


def test_importing_a_module_hides_no_public_name() -> None:
    assert not ROOMS & set(tvmconv.__all__)
    import_module("tvmconv.compiler.builder")
    assert isinstance(tvmconv.build, FunctionType)

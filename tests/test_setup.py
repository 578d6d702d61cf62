"""The set-up: scripts/bootstrap.py in checkouts where `venv` and `pip` are stand-ins, and the wheel as shipped."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import metadata
from pathlib import Path

import pytest

from tests.fake_pip import FAKE_PIP, FAKE_VENV

ROOT = Path(__file__).resolve().parent.parent


class Checkout:
    """A copy of what bootstrap needs, with an environment of its own, and a Python that finds the stand-ins first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a checkout"
        self.venv = folder / "env"
        stand_ins = folder / "stand-ins"
        for name, source in (("venv", FAKE_VENV), ("pip", FAKE_PIP)):
            (stand_ins / name).mkdir(parents=True)
            (stand_ins / name / "__init__.py").touch()  # without it the standard library's package would be preferred
            (stand_ins / name / "__main__.py").write_text(source)
        self.sitecustomize = stand_ins / "sitecustomize.py"
        shutil.copytree(ROOT / "scripts", self.folder / "scripts")
        shutil.copy(ROOT / "pyproject.toml", self.folder)
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(stand_ins),
            "REAL_PYTHON": sys.executable,
            "TVMCONV_VENV": str(self.venv),
        }

    def start(self, script: str, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(self.folder / "scripts" / script), *arguments],
            cwd=self.venv.parent,
            env=self.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = self.start(script, *arguments, **environ)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def installations(self) -> list[str]:
        """For each call of pip: the extras asked for, then what lay in the environment's bin."""
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def edit_pyproject(self, old: str, new: str) -> None:
        path = self.folder / "pyproject.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def wait_until_pip_runs(self) -> None:
        deadline = time.monotonic() + 30
        while not (self.venv / "bin" / "half").exists():
            assert time.monotonic() < deadline, "pip was never called"
            time.sleep(0.01)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_first_call_installs_and_later_calls_only_forward(checkout: Checkout) -> None:
    code, out, err = checkout.run("tvmconv", "show", "a b", FAILING="tvmconv")
    assert (code, out) == (7, f"tvmconv {checkout.venv.parent} ['show', 'a b']\n")
    assert len(err.splitlines()) == 1
    assert str(checkout.venv) in err
    assert " GB" in err

    assert checkout.run("tvmconv", "--json") == (0, f"tvmconv {checkout.venv.parent} ['--json']\n", "")
    assert checkout.installations() == ["dev python"]


def test_signals_reach_the_command(checkout: Checkout) -> None:
    checkout.run("tvmconv")
    command = checkout.venv / "bin" / "tvmconv"
    command.write_text(f"#!{sys.executable}\nimport time\nprint('up', flush=True)\ntime.sleep(60)")
    process = checkout.start("tvmconv")
    assert process.stdout and process.stdout.readline() == "up\n"
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_two_at_once_install_once(checkout: Checkout) -> None:
    first = checkout.start("tvmconv", "first", PIP_SECONDS="1")
    checkout.wait_until_pip_runs()
    second = checkout.run("tvmconv", "second")
    assert "'first'" in first.communicate(timeout=60)[0]
    assert second[:2] == (0, f"tvmconv {checkout.venv.parent} ['second']\n")
    assert "waiting for another process" in second[2]
    assert len(checkout.installations()) == 1


def test_killed_half_way_is_made_anew_once_its_pip_has_ended(checkout: Checkout) -> None:
    killed = checkout.start("tvmconv", PIP_SECONDS="1")
    checkout.wait_until_pip_runs()
    killed.kill()
    killed.wait(timeout=30)
    code, _, err = checkout.run("tvmconv")
    assert code == 0
    assert "waiting for another process" in err
    killed.communicate(timeout=30)
    assert checkout.installations() == ["dev python"] * 2  # nothing of the first was there when the second began


def test_interrupted_says_so_and_begins_again(checkout: Checkout) -> None:
    interrupted = checkout.start("tvmconv", PIP_SECONDS="1")
    checkout.wait_until_pip_runs()
    interrupted.send_signal(signal.SIGINT)
    err = interrupted.communicate(timeout=30)[1]
    assert interrupted.returncode == 130
    assert "Traceback" not in err
    assert checkout.run("tvmconv")[0] == 0


def test_failing_pip_leaves_nothing_taken_for_good(checkout: Checkout) -> None:
    code, out, err = checkout.run("tvmconv", PIP_FAILS="1")
    assert (code, out) == (1, "")
    assert err.splitlines()[1] == "no such package: unobtainium"
    assert err.splitlines()[2].startswith("tvmconv: pip could not install")
    assert "Traceback" not in err

    assert checkout.run("tvmconv")[0] == 0
    assert checkout.installations() == ["dev python"] * 2


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [
        ('"numpy>=2.2,<2.5"', '"numpy>=2.3,<2.5"', True),
        ('requires = ["hatchling==1.33.0"]', 'requires = ["hatchling"]', True),
        ("line-length = 120", "line-length = 100", False),
    ],
)
def test_installs_again_only_when_dependencies_change(checkout: Checkout, old: str, new: str, again: bool) -> None:
    checkout.run("tvmconv")
    checkout.edit_pyproject(old, new)
    checkout.run("tvmconv")
    checkout.run("tvmconv")
    assert len(checkout.installations()) == 1 + again
    if again:
        assert "tvmconv" in checkout.installations()[1], "what was installed is built upon"


def test_failed_change_is_not_forgotten_when_taken_back(checkout: Checkout) -> None:
    checkout.run("tvmconv")
    checkout.edit_pyproject("numpy>=2.2", "numpy>=2.3")
    assert checkout.run("tvmconv", PIP_FAILS="1")[0] == 1
    checkout.edit_pyproject("numpy>=2.3", "numpy>=2.2")
    assert checkout.run("tvmconv")[0] == 0
    assert checkout.installations()[2] == "dev python"


def test_setup_adds_an_extra_that_stays(checkout: Checkout) -> None:
    code, out, err = checkout.run("tvmconv", "setup", "peers-torch")
    assert (code, out) == (0, "")
    assert "peers-torch 1.3 GB" in err
    checkout.run("tvmconv", "setup", "peers-torch")
    checkout.edit_pyproject("torch==2.13.0", "torch==2.13.1")
    checkout.run("tvmconv", "--version")
    assert [call.split()[0] for call in checkout.installations()] == ["dev,peers-torch"] * 2


def test_setup_refuses_what_it_does_not_know(checkout: Checkout) -> None:
    code, out, err = checkout.run("tvmconv", "setup", "peers-ondnn")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "'peers-ondnn'" in err and "peers-onednn" in err
    assert not checkout.venv.exists()


def test_setup_knows_every_extra_of_the_package() -> None:
    sizes = re.search(r"^EXTRA_SIZES = (\{.*?^\})$", (ROOT / "scripts" / "bootstrap.py").read_text(), re.M | re.S)
    assert sizes
    extras = set(metadata("tvmconv").get_all("Provides-Extra") or ())
    assert ast.literal_eval(sizes[1]).keys() == extras - {"dev", "tune"}  # these two are always installed


def test_moved_environment_is_made_anew(checkout: Checkout) -> None:
    checkout.run("tvmconv")
    moved = checkout.venv.with_name("moved")
    checkout.venv.rename(moved)
    checkout.venv = moved
    assert checkout.run("tvmconv", TVMCONV_VENV=str(moved))[0] == 0
    assert checkout.installations() == ["dev python"] * 2


def test_environment_made_by_hand_is_built_upon_and_survives_a_failure(checkout: Checkout) -> None:
    subprocess.run([sys.executable, "-m", "venv", checkout.venv], env=checkout.environ, check=True)
    (checkout.venv / "bin" / "mine").touch()
    assert checkout.run("tvmconv", PIP_FAILS="1")[0] == 1
    assert checkout.run("tvmconv")[0] == 0
    assert (checkout.venv / "bin" / "mine").exists()


def test_folder_that_is_no_environment_is_left_alone(checkout: Checkout) -> None:
    checkout.venv.mkdir()
    (checkout.venv / "thesis.tex").touch()
    code, _, err = checkout.run("tvmconv")
    assert code == 1
    assert len(err.splitlines()) == 1 and "is no virtual environment" in err
    assert [path.name for path in checkout.venv.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("sabotage", "sentence"),
    [
        ("import sys; sys.version_info = (3, 9, 18)", "needs Python 3.10 or newer"),
        ("import sys; sys.modules['ensurepip'] = None", "lacks ensurepip"),
    ],
)
def test_unfit_python_is_one_line(checkout: Checkout, sabotage: str, sentence: str) -> None:
    checkout.sitecustomize.write_text(sabotage)
    code, out, err = checkout.run("tvmconv")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1 and sentence in err
    assert not checkout.venv.exists()


@pytest.mark.parametrize("name", ["bootstrap.py", "tvmconv", "test"])
def test_old_pythons_can_parse_far_enough_to_be_told(name: str) -> None:
    ast.parse((ROOT / "scripts" / name).read_text(), feature_version=(3, 6))


def test_scripts_test_checks_then_tests(checkout: Checkout) -> None:
    code, out, _ = checkout.run("test")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        *("ruff", "ruff", "mypy", "lint-imports"),
        *("pytest", "pytest"),
    ]
    assert all(f"pytest {checkout.folder} [" in line and "'tests']" in line for line in out.splitlines()[-2:])


def test_scripts_test_fast_checks_then_runs_fast_tests_once(checkout: Checkout) -> None:
    code, out, _ = checkout.run("test", "--fast")
    *checks, tests = out.splitlines()
    assert (code, [line.split()[0] for line in checks]) == (0, ["ruff", "ruff", "mypy", "lint-imports"])
    assert "'not slow and not emulated and not alone'" in tests and "'tests']" in tests


def test_scripts_test_fast_takes_no_other_arguments(checkout: Checkout) -> None:
    """With more, --fast is pytest's, which refuses it: nothing runs that was not asked for."""
    code, out, _ = checkout.run("test", "--fast", "-x")
    assert (code, out) == (0, f"pytest {checkout.venv.parent} ['--fast', '-x']\n")


def test_scripts_test_with_arguments_is_pytest_in_the_callers_folder(checkout: Checkout) -> None:
    code, out, _ = checkout.run("test", "-k", "shape")
    assert (code, out) == (0, f"pytest {checkout.venv.parent} ['-k', 'shape']\n")


def test_scripts_test_stops_at_the_first_failure(checkout: Checkout) -> None:
    code, out, err = checkout.run("test", FAILING="mypy")
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()] == ["ruff", "ruff", "mypy"]
    assert "`mypy` failed" in err.splitlines()[-1]

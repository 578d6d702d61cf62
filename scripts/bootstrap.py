"""The project's virtual environment: made on first use, brought up to date when pyproject.toml changes.

Standard library only, since it runs before anything is installed. It does what README shows as the plain way,
`python3 -m venv .venv` and `pip install -e '.[dev]'`. TVMCONV_VENV names another place than `.venv` in the checkout.

Three files tell the state of an environment ENV:
    ENV/tvmconv-stamp    written last: the place and the dependencies it was made for. Still wanted: ready
    ENV/tvmconv-extras   the extras added by `scripts/tvmconv setup`, one a line: installed again with everything else
    ENV.lock             locked while somebody installs. Not empty although nobody does: half-made
"""

import os
import sys

if sys.version_info < (3, 10):  # noqa: UP036 - first of all, and in words that Python 3.6 can read
    sys.exit("tvmconv needs Python 3.10 or newer, and {} is {}.{}".format(sys.executable, *sys.version_info))

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent

# Installed sizes, for x86-64 Linux.
DEV_SIZE = "1.6 GB"
EXTRA_SIZES = {
    "docs": "0.1 GB",
    "emulator": "0.1 GB",
    "estimate": "0.1 GB",
    "peers": "0.3 GB",
    "peers-onednn": "0.2 GB",
    "peers-torch": "1.3 GB, 6 GB where pip finds the CUDA build",
    "plot": "0.1 GB",
}

_LINES_OF_PIP_SHOWN = 15


class SetupError(Exception):
    """The environment cannot be made; the text is one sentence for people."""


class Environment:
    """The virtual environment at `path` with the checkout at `root` installed in it, editable, with its `dev` extra."""

    def __init__(self, path: Path, root: Path = ROOT) -> None:
        self.path = path
        self.root = root
        self._stamp = path / "tvmconv-stamp"
        self._extras = path / "tvmconv-extras"
        self._lock = path.with_name(path.name + ".lock")

    def program(self, name: str) -> str:
        """The path of an installed command."""
        return str(self.path / "bin" / name)

    def ensure(self, extras: Sequence[str] = ()) -> None:
        """Return when the environment is complete and up to date and holds `extras`, installing what is missing.

        Raises SetupError if that fails; nothing half-made counts as complete afterwards.
        """
        if self._is_ready(extras):
            return
        with self._locked() as lock:
            if not self._is_ready(extras):  # another process may have done it meanwhile
                self._install(sorted({*extras, *self._installed_extras()}), lock)

    def _is_ready(self, extras: Sequence[str]) -> bool:
        return (
            _read(self._stamp) == self._wanted_stamp()
            and Path(self.program("python")).exists()
            and (not extras or {*extras} <= self._installed_extras())
        )

    def _wanted_stamp(self) -> str:
        dependencies, _, _ = _read(self.root / "pyproject.toml").partition("\n[tool.")
        return self._place() + dependencies

    def _place(self) -> str:
        """The paths that installed commands carry in them: moved, an environment is of no use."""
        return f"{self.path}\n{self.root}\n"

    def _installed_extras(self) -> set[str]:
        return {*_read(self._extras).split()} & EXTRA_SIZES.keys()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock, waiting for whoever has it; gives the lock file's descriptor."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _say(f"waiting for another process that is setting up {self.path}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)

    def _install(self, extras: list[str], lock: int) -> None:
        import importlib.util  # like subprocess below, too slow a start for calls that install nothing

        afresh = self._must_start_afresh(lock)
        if afresh and importlib.util.find_spec("ensurepip") is None:
            raise SetupError(
                f"{sys.executable} lacks ensurepip, so it cannot make a virtual environment: "
                "install python3-venv (Debian, Ubuntu), or call this script with another Python"
            )
        sizes = [DEV_SIZE, *(f"{extra} {EXTRA_SIZES[extra]}" for extra in extras)]
        _say(f"setting up {self.path} ({' + '.join(sizes)}): this takes some minutes, once")

        if afresh or self._stamp.exists():  # what somebody else made is built upon, but never cleared away
            os.pwrite(lock, b"unfinished\n", 0)
        self._stamp.unlink(missing_ok=True)
        if afresh:
            _run("venv failed", lock, sys.executable, "-m", "venv", "--clear", str(self.path))
        project = f"{self.root}[{','.join(['dev', *extras])}]"
        pip = (self.program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
        _run("pip could not install the packages", lock, *pip, "--editable", project)

        _write(self._extras, "\n".join(extras))
        _write(self._stamp, self._wanted_stamp())
        os.ftruncate(lock, 0)

    def _must_start_afresh(self, lock: int) -> bool:
        """Whether what lies at `path` cannot be built upon. Raises SetupError if it is not ours to clear away."""
        if os.fstat(lock).st_size:
            return True
        if not (self.path / "pyvenv.cfg").exists():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise SetupError(f"{self.path} is no virtual environment: let TVMCONV_VENV name a new folder")
            return True
        moved = self._stamp.exists() and not _read(self._stamp).startswith(self._place())
        return moved or not Path(self.program("python")).exists()


def environment() -> Environment:
    """The environment this checkout uses, complete and up to date. Exits with one line if it cannot be made."""
    return _ensured(())


def set_up(extras: Sequence[str]) -> None:
    """`scripts/tvmconv setup EXTRA…`: the environment with these extras in it as well."""
    unknown = [extra for extra in extras if extra not in EXTRA_SIZES]
    if unknown:
        _say(f"nothing is called {unknown[0]!r} that setup could add: {', '.join(EXTRA_SIZES)} are what there is")
        sys.exit(2)
    ready = _ensured(extras)
    _say(f"{ready.path} is ready" + (f", with {', '.join(extras)}" if extras else ""))


def become(command: list[str]) -> NoReturn:
    """Turn this process into `command`: the caller's folder, its signals and the exit code stay as they are."""
    os.execv(command[0], command)


def _ensured(extras: Sequence[str]) -> Environment:
    try:
        wanted = Environment(Path(os.path.abspath(os.environ.get("TVMCONV_VENV") or ROOT / ".venv")))
        wanted.ensure(extras)
        return wanted
    except (SetupError, OSError) as error:
        _say(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        _say("set-up interrupted; the next call begins it again")
        sys.exit(130)


def _run(failure: str, lock: int, *command: str) -> None:
    """Run `command` silently; if it fails show the last of what it said and raise SetupError(`failure`)."""
    import subprocess

    # The child holds the lock too: if this process is killed, nobody else begins while pip still writes.
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=(lock,)
    )
    if done.returncode:
        print(*done.stdout.splitlines()[-_LINES_OF_PIP_SHOWN:], sep="\n", file=sys.stderr)
        raise SetupError(f"{failure}, for the reason above; mend it and call again")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    """Write the whole file or none of it."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _say(text: str) -> None:
    print(f"tvmconv: {text}", file=sys.stderr, flush=True)

"""The documentation: it builds without a warning, links lead somewhere, commands and names are those of the code."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib.metadata import metadata
from pathlib import Path

import pytest

import tvmconv
from tvmconv.algorithms import ALGORITHMS
from tvmconv.cli import arguments
from tvmconv.cli.scripts import arguments as scripts
from tvmconv.measure.peers import PEERS
from tvmconv.target.tile import SPELLED

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for folder in (ROOT, DOCS, ROOT / "examples", ROOT / "tuning_logs")
    for page in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
    if "_build" not in page.parts
)
PYTHON = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]

# Other programs in shown commands, whose options are not known here.
UNPARSED = (
    *(".venv/bin/pip", ".venv/bin/python", "build/layer/program", "cc", "cmake", "python", "python3"),
    *("./program", "scripts/test"),
)
PARSERS: dict[str, Callable[[list[str]], object]] = {
    "scripts/tvmconv": arguments.parse,
    ".venv/bin/tvmconv": arguments.parse,
    "tvmconv": arguments.parse,
    "scripts/indirect_vs_im2row": scripts.parse_claims,
    "scripts/thread_scaling": scripts.parse_scaling,
    "scripts/compare_searchers": scripts.parse_searchers,
}


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """The fenced blocks of these languages in a page."""
    text = page.read_text(encoding="utf-8")
    for language, block in re.findall(r"^ *```(\S*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        if language in languages:
            yield block


def commands(page: Path) -> Iterator[str]:
    """The command lines of a page: behind a prompt in ```console blocks, each line of ```sh blocks."""
    for block in blocks(page, "console"):
        yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))
    for block in blocks(page, "sh"):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if line.strip())


COMMANDS = sorted({(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page)})


@pytest.mark.slow
def test_pages_build_without_a_warning(tmp_path: Path) -> None:
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", str(DOCS), str(tmp_path)]
    done = subprocess.run(sphinx, text=True, capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    python = (tmp_path / "reference" / "python.html").read_text(encoding="utf-8")
    assert not [name for name in tvmconv.__all__ if f'id="tvmconv.{name}"' not in python and name != "__version__"]
    command = (tmp_path / "reference" / "command.html").read_text(encoding="utf-8")
    assert "tvmconv rpc deploy" in command and "--max-workspace" in command


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_shown_commands_parse(page: str, line: str) -> None:
    words = [word for word in shlex.split(line, comments=True) if word != "&"]
    for word in words:
        if word.startswith(("tests/", "docs/", "examples/")) and "_build" not in word:
            assert (ROOT / word).exists(), f"{page}: {line!r}: there is no {word}"
    if words[0] in UNPARSED:
        return
    if words[:2] == ["scripts/tvmconv", "setup"]:
        assert {*words[2:]} <= {*(metadata("tvmconv").get_all("Provides-Extra") or ())}, line
        return
    assert words[0] in PARSERS, f"{page}: {line!r} is no command that this test knows"
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            PARSERS[words[0]](words[1:])
    except SystemExit as end:
        assert not end.code, f"{page}: {line!r}: {said.getvalue()}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if not re.match(r"https://", link):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page}: {link}"
            assert not anchor or anchor in _anchors(target), f"{page}: {link}: no such heading"
    # Paths of the repository that are named as code.
    for path in re.findall(r"`((?:tests|scripts|examples|docs|tvmconv|schedules|tuning_logs)/[\w./-]*\w)`", text):
        assert (ROOT / path).exists() or "NAME" in path, f"{page}: there is no {path}; if it has moved, say where to"


def _anchors(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_shown_python_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")
        for name in re.findall(r"\btvmconv\.(\w+)", block):
            assert hasattr(tvmconv, name), f"{page}: tvmconv.{name}"


def test_pictures_are_those_that_the_script_draws(tmp_path: Path) -> None:
    script = DOCS / "images" / "draw.py"
    copy = tmp_path / "draw.py"
    copy.write_bytes(script.read_bytes())
    subprocess.run([sys.executable, copy], check=True)
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.svg")}
    assert drawn == {path.name: path.read_text(encoding="utf-8") for path in script.parent.glob("*.svg")}


def _environment() -> set[str]:
    """The variables of the environment that the code reads."""
    sources = [*(ROOT / "tvmconv").rglob("*.py"), ROOT / "scripts" / "bootstrap.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    return set(re.findall(r'environ(?:\.get\(|\[)"(\w+)"', text)) | set(re.findall(r'"(TVM_[A-Z_]+)"', text))


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("explanation/algorithms", {algorithm.name for algorithm in ALGORITHMS}),
        ("how-to/compare-libraries", {peer.name for peer in PEERS}),
        ("reference/environment", _environment()),
        ("glossary", {SPELLED.get(item.name, item.name) for item in fields(tvmconv.Tile)} - {"mr", "nr"}),
        ("reference/c-interface", set(re.findall(r"TVMCONV_\w+ = ", (ROOT / "tvmconv/native/tvmconv.h").read_text()))),
    ],
)
def test_pages_name_all_there_is(page: str, names: set[str]) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert names and not [name for name in names if f"`{name.removesuffix(' = ')}`" not in text]


def external_links() -> list[str]:
    """The links that lead out of the repository: for people, since tests use no network."""
    return sorted({link for page in PAGES for link in re.findall(r"https?://[^)\s>`\"]+", page.read_text("utf-8"))})


def test_external_links_are_https() -> None:
    assert all(link.startswith("https://") for link in external_links())


if __name__ == "__main__":
    print(*external_links(), sep="\n")

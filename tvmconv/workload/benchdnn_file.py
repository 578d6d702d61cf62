"""Reads benchdnn batch files: problems and options, within bounds on their size."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tvmconv.support.input_file import read_input
from tvmconv.support.text import shortened
from tvmconv.support.whole_number import whole_number
from tvmconv.workload.layer import Layer
from tvmconv.workload.shape import ConvShape

Warn = Callable[[str], None]

# Of one workload, with the files that its file includes, each as often as it is included. benchdnn's largest set of
# convolutions has some ten thousand problems in fifty files.
_MOST_BYTES = 4 << 20
_MOST_FILES = 1000
_MOST_ROWS = 100_000
_DEEPEST = 16

_LONGEST_WORD = 4096  # a path has room for as many


@dataclass(frozen=True)
class _Settings:
    """The options of a batch file that hold until changed; each is a list, and every problem runs with every value."""

    mb: tuple[int, ...] = (0,)  # 0: as the descriptor says
    dir: tuple[str, ...] = ("FWD_B",)
    dt: tuple[str, ...] = ("f32",)

    def rejections(self) -> list[str | None]:
        """One entry for each row that a problem gives: None for the row that runs, a reason for the others."""
        backward = [value for value in self.dir if not value.upper().startswith("FWD")]
        foreign = [value for value in self.dt if set(value.lower().split(":")) != {"f32"}]
        rows: list[str | None] = []
        # Forward directions differ in bias and training alone: one row stands for all of them.
        if len(backward) < len(self.dir) and len(foreign) < len(self.dt):
            rows.append(None)
        rows += [f"direction {value} is not supported: only the forward ones are" for value in backward]
        rows += [f"data type {value} is not supported: only f32 is" for value in foreign]
        return rows


class BatchReader:
    """Reads benchdnn batch files; remembers over all of them which options it has warned of."""

    def __init__(self, warn: Warn) -> None:
        self.warn = warn
        self._warned: set[str] = set()
        self._settings = _Settings()
        self._bytes = self._files = 0

    def read(self, path: Path) -> list[Layer]:
        """The rows of a file and of those that it includes. A problem or an option that is malformed is a rejected row.

        Raises ValueError, with one sentence, for a file that cannot be read, includes itself, holds no problem, or goes
        beyond the bounds.
        """
        self._settings = _Settings()
        self._bytes = self._files = 0
        layers: list[Layer] = []
        for layer in self._layers(path, including=()):
            layers.append(layer)
            if len(layers) > _MOST_ROWS:
                raise ValueError(f"{path} asks for more than {_MOST_ROWS} problems: split it")
        if not layers:
            raise ValueError(f"{path} holds no problem: write one descriptor a line, such as ic64ih56oc64kh3ph1")
        return layers

    def _layers(self, path: Path, including: tuple[Path, ...]) -> Iterator[Layer]:
        """The rows of one file. As in benchdnn, options set in an included file hold on after it."""
        text = self._text(path)
        chain = (*including, path.resolve())
        if chain[-1] in including:
            raise ValueError(f"{path} includes itself: {' → '.join(map(str, chain))}")
        if len(chain) > _DEEPEST:
            raise ValueError(f"{chain[0]} includes files more than {_DEEPEST} levels deep, at last {path}")
        for line, word in _words(text):
            where = f"{path}:{line}"
            if len(word) > _LONGEST_WORD:
                yield Layer(shortened(word), None, reason=f"{where}: {len(word)} characters are no problem or option")
            elif word.partition("=")[0] == "--batch":
                yield from self._layers(path.parent / word.partition("=")[2], chain)
            elif word.startswith("-"):
                yield from self._set(word, where)
            else:
                yield from self._problem(word, where)

    def _text(self, path: Path) -> str:
        self._files += 1
        if self._files > _MOST_FILES:
            raise ValueError(f"{path} is included after {_MOST_FILES} other files, which are the most that are read")
        try:
            content = read_input(path, _MOST_BYTES - self._bytes)
            self._bytes += len(content)
            return content.decode("utf-8-sig")
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise ValueError(f"{path}, with what was read before it, has more than {_MOST_BYTES} bytes") from None
            raise ValueError(f"cannot read the batch file {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not a text file: a benchdnn batch file is expected behind @") from None

    def _set(self, word: str, where: str) -> Iterator[Layer]:
        """Take note of an option; a value that is malformed gives a rejected row and changes nothing."""
        option, _, value = word.partition("=")
        values = tuple(filter(None, value.split(",")))
        if option == "--reset":
            self._settings = _Settings()
        elif option == "--mb":
            try:
                self._settings = replace(self._settings, mb=tuple(map(whole_number, values)) or _Settings.mb)
            except ValueError as error:
                says = (
                    f"--mb: {error}"
                    if re.fullmatch("[0-9,]+", value)
                    else f"--mb takes whole numbers, not {shortened(value)!r}"
                )
                yield Layer(shortened(word), None, reason=f"{where}: {says}")
        elif option == "--dir":
            self._settings = replace(self._settings, dir=values or _Settings.dir)
        elif option in ("--dt", "--cfg"):  # the present and the former name
            self._settings = replace(self._settings, dt=values or _Settings.dt)
        elif option not in self._warned:
            self._warned.add(option)
            self.warn(f"{where}: {shortened(option)} is ignored")

    def _problem(self, word: str, where: str) -> Iterator[Layer]:
        try:
            given = ConvShape.parse(word)
            shapes = [replace(given, mb=mb or given.mb) for mb in self._settings.mb]
        except ValueError as error:
            yield Layer(word, None, reason=f"{where}: {error}")
            return
        for shape in shapes:
            for reason in self._settings.rejections():
                yield Layer(word, shape, shape.name, reason=reason and f"{where}: {reason}")


def _words(text: str) -> Iterator[tuple[int, str]]:
    """The words of a batch file, each with the line it starts on. White space in quotes does not end a word, `#` where
    a word would start is a comment to the line's end, `\\` behind a word, with or without a blank, joins the next."""
    start, pieces, joins = 0, [""], False
    for number, line in enumerate(text.splitlines(), start=1):
        for piece in re.findall(r'(?:"[^"]*"|\S)+', line):
            if piece.startswith("#"):
                break
            if not joins and piece != "\\":
                if word := "".join(pieces):
                    yield start, word
                start, pieces = number, []
            joins = piece.endswith("\\")
            pieces.append(piece.removesuffix("\\"))
    if word := "".join(pieces):
        yield start, word

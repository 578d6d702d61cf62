"""What a user asks for, resolved to layers: descriptors, networks, models, single layers and benchdnn batch files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tvmconv import networks, onnx_model
from tvmconv.names import unknown
from tvmconv.shape import ConvShape, starts_descriptor

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Layer:
    """A row of work. `source` is the workload or the batch file's word as given; a row with a `reason` is rejected, and
    its `shape` is None if it could not even be read. `count` is how often the layer occurs in its network."""

    source: str
    shape: ConvShape | None
    name: str | None = None
    count: int = 1
    reason: str | None = None


def resolve(workloads: Sequence[str], warn: Warn) -> list[Layer]:
    """The layers of all `workloads`, in order.

    A workload is a benchdnn descriptor, NETWORK, NETWORK/LAYER, MODEL.onnx, MODEL.onnx/LAYER or @FILE, a benchdnn batch
    file. In a batch file each problem is a row of its own. A problem of a file that cannot be run is a rejected row,
    and so is a .onnx file that holds no model. `warn` is told what was assumed of a model, and once each the options
    of batch files that change nothing here.

    Raises ValueError, with one sentence, for a workload that means nothing and a file that cannot be read, includes
    itself or holds no problem.
    """
    batch_files = _BatchReader(warn)
    return [layer for workload in workloads for layer in _resolve(workload.strip(), batch_files)]


def _resolve(workload: str, batch_files: _BatchReader) -> list[Layer]:
    if workload.startswith("@"):
        return batch_files.read(Path(os.path.expanduser(workload[1:])))
    if model := _model(workload):
        return _model_layers(workload, *model, batch_files.warn)
    if not workload or starts_descriptor(workload):
        shape = ConvShape.parse(workload)
        return [Layer(workload, shape, shape.name)]

    network, slash, name = workload.partition("/")
    if network not in networks.NETWORKS:
        if os.path.isfile(workload):
            raise ValueError(f"{workload} is a file: write @{workload} to read it as a benchdnn batch file")
        sentence = unknown("network", network, networks.NETWORKS)
        raise ValueError(f"{sentence}; a descriptor looks like ic64ih56oc64kh3ph1")
    found = (networks.layer(network, name),) if slash else networks.layers(network)
    return [Layer(workload, layer.shape, layer.name, layer.count) for layer in found]


def _model(workload: str) -> tuple[Path, str] | None:
    """The file and the layer's name, which may be empty, if a workload is MODEL.onnx or MODEL.onnx/LAYER."""
    path = os.path.expanduser(workload)
    cuts = [found.end() for found in re.finditer(r"\.onnx(?=/|$)", path)]
    for cut in cuts:
        if os.path.isfile(path[:cut]):
            return Path(path[:cut]), path[cut + 1 :]
    if not cuts or starts_descriptor(workload):  # a descriptor's name may end like that
        return None
    return Path(path[: cuts[-1]]), path[cuts[-1] + 1 :]


def _model_layers(workload: str, path: Path, name: str, warn: Warn) -> list[Layer]:
    try:
        found = [onnx_model.layer(path, name, warn)] if name else onnx_model.layers(path, warn)
    except onnx_model.BadModel as error:
        return [Layer(workload, None, reason=str(error))]
    return [Layer(workload, layer.shape, layer.name, layer.count, layer.reason) for layer in found]


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


class _BatchReader:
    """Reads benchdnn batch files; remembers over all of them which options it has warned of."""

    def __init__(self, warn: Warn) -> None:
        self.warn = warn
        self._warned: set[str] = set()
        self._settings = _Settings()

    def read(self, path: Path) -> list[Layer]:
        self._settings = _Settings()
        layers = list(self._layers(path, including=()))
        if not layers:
            raise ValueError(f"{path} holds no problem: write one descriptor a line, such as ic64ih56oc64kh3ph1")
        return layers

    def _layers(self, path: Path, including: tuple[Path, ...]) -> Iterator[Layer]:
        """The rows of one file. As in benchdnn, options set in an included file hold on after it."""
        text = _read_text(path)
        chain = (*including, path.resolve())
        if chain[-1] in including:
            raise ValueError(f"{path} includes itself: {' → '.join(map(str, chain))}")
        for line, word in _words(text):
            where = f"{path}:{line}"
            option, _, value = word.partition("=")
            if option == "--batch":
                yield from self._layers(path.parent / value, chain)
            elif word.startswith("-"):
                yield from self._set(option, value, where)
            else:
                yield from self._problem(word, where)

    def _set(self, option: str, value: str, where: str) -> Iterator[Layer]:
        """Take note of an option; a value that is malformed gives a rejected row and changes nothing."""
        values = tuple(filter(None, value.split(",")))
        if option == "--reset":
            self._settings = _Settings()
        elif option == "--mb":
            if all(number.isdecimal() for number in values):
                self._settings = replace(self._settings, mb=tuple(map(int, values)) or _Settings.mb)
            else:
                yield Layer(f"{option}={value}", None, reason=f"{where}: --mb takes whole numbers, not {value!r}")
        elif option == "--dir":
            self._settings = replace(self._settings, dir=values or _Settings.dir)
        elif option in ("--dt", "--cfg"):  # the present and the former name
            self._settings = replace(self._settings, dt=values or _Settings.dt)
        elif option not in self._warned:
            self._warned.add(option)
            self.warn(f"{where}: {option} is ignored")

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


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot read the batch file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file: a benchdnn batch file is expected behind @") from None


def _words(text: str) -> Iterator[tuple[int, str]]:
    """The words of a batch file, each with the line it starts on. White space in quotes does not end a word, `#` where
    a word would start is a comment to the line's end, `\\` behind a word, with or without a blank, joins the next."""
    start, word, joins = 0, "", False
    for number, line in enumerate(text.splitlines(), start=1):
        for piece in re.findall(r'(?:"[^"]*"|\S)+', line):
            if piece.startswith("#"):
                break
            if not joins and piece != "\\":
                if word:
                    yield start, word
                start, word = number, ""
            word += piece
            joins = word.endswith("\\")
            word = word.removesuffix("\\")
    if word:
        yield start, word

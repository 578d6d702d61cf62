"""The description in a kernel file: JSON in an ELF section, validated before use."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tvmconv.runtime.kernel_file import elf
from tvmconv.target.dtype import DTYPES
from tvmconv.workload.shape import AXES, ConvShape

SCHEMA = 1  # of the description in a kernel's section
SECTION = ".tvmconv"
_IDENTIFIER = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_ADDRESSABLE = 2**63  # bytes


class BadDescription(ValueError):
    """A description that this tvmconv cannot use; the text says why, as the rest of a sentence about its file."""


def descriptions(path: Path) -> dict[str, dict[str, Any]]:
    """The descriptions of a kernel file's kernels, by prefix. Raises as tvmconv.load does."""
    content = elf.section(path, SECTION)
    texts = [text for text in (content or b"").split(b"\0") if text]
    if not texts:
        raise ValueError(f"{path} was not made by tvmconv: it has no section {SECTION}")
    try:
        kernels = [parse(text) for text in texts]
    except BadDescription as error:
        raise ValueError(f"{path} {error}") from error
    described = {kernel["prefix"]: kernel for kernel in kernels}
    if len(described) < len(kernels):
        raise ValueError(f"{path} is a damaged kernel file: it describes one kernel twice; build it again")
    return described


def parse(text: bytes) -> dict[str, Any]:
    """A kernel's description, checked. Raises BadDescription."""
    try:
        kernel = json.loads(text.decode("ascii"))
    except (ValueError, RecursionError):
        raise _damaged("is no JSON") from None
    if not isinstance(kernel, dict) or "schema" not in kernel:
        raise _damaged("has no schema")
    if type(kernel["schema"]) is not int or kernel["schema"] != SCHEMA:
        found = reprlib.repr(kernel["schema"])
        raise BadDescription(f"has a description of schema {found}; this tvmconv reads schema {SCHEMA}")
    _check_fields(kernel)
    _check_agreement(kernel)
    return kernel


def _damaged(what: str) -> BadDescription:
    return BadDescription(f"is a damaged kernel file: its description {what}; build it again")


def _check_fields(kernel: Mapping[str, Any]) -> None:
    for field, is_valid in _FIELDS.items():
        if field not in kernel:
            raise _damaged(f"has no {field}")
        if not is_valid(kernel[field]):
            raise _damaged(f"says {field} {reprlib.repr(kernel[field])}")


def _check_agreement(kernel: Mapping[str, Any]) -> None:
    """The sizes are those of the workload, and the prefix begins with the workload and the algorithm."""
    workload, layout = kernel["workload"], kernel["layout"]
    try:
        shape = ConvShape.parse(workload)
    except ValueError as error:
        raise _damaged(f"says workload {reprlib.repr(workload)}") from error
    if str(shape) != workload:
        raise _damaged(f"says workload {reprlib.repr(workload)}")
    for field, sizes in (
        ("x_shape", shape.x_in(layout)),
        ("w_shape", shape.w_shape),
        ("y_shape", shape.y_in(layout)),
    ):
        if tuple(kernel[field]) != sizes:
            raise _damaged(f"says {field} {kernel[field]}, and workload {workload}")
    if not kernel["prefix"].startswith(f"{workload}_{kernel['algorithm'].replace('-', '_')}"):
        raise _damaged(f"says prefix {reprlib.repr(kernel['prefix'])}, and {workload} by {kernel['algorithm']}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


def _is_identifier(value: Any) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < _ADDRESSABLE


def _is_list(value: Any, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(of, value))


def _is_shape(value: Any) -> bool:
    return _is_list(value, _is_whole) and len(value) == 4


def _is_packed_size(value: Any) -> bool:
    return _is_whole(value) and value > 0 and value % 4 == 0


def _is_workspace(value: Any) -> bool:
    is_table = isinstance(value, dict) and all(map(_is_text, value)) and all(map(_is_whole, value.values()))
    return is_table and sum(value.values()) < _ADDRESSABLE


def _is_phases(value: Any) -> bool:
    return _is_list(value, _is_identifier) and len(set(value)) == len(value) > 0


def _is_versions(value: Any) -> bool:
    return isinstance(value, dict) and "tvmconv" in value and all(map(_is_text, [*value, *value.values()]))


_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "prefix": _is_identifier,
    "workload": _is_text,
    "algorithm": _is_text,
    "schedule": _is_text,
    "tile": _is_text,
    "layout": lambda value: isinstance(value, str) and value in AXES,
    "dtype": lambda value: value in [known.name for known in DTYPES],
    "x_shape": _is_shape,
    "w_shape": _is_shape,
    "y_shape": _is_shape,
    "packed_bytes": _is_packed_size,
    "workspace": _is_workspace,
    "phases": _is_phases,
    "target": _is_text,
    "triple": _is_text,
    "mcpu": _is_text,
    "features": lambda value: _is_list(value, _is_text),
    "versions": _is_versions,
}

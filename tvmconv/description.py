"""What a kernel file says of itself: JSON in a section of its own, checked as a whole before it is used."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tvmconv import elf
from tvmconv.shape import AXES, ConvShape

SCHEMA = 1  # of the description in a kernel's section
SECTION = ".tvmconv"
_IDENTIFIER = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_ADDRESSABLE = 2**63  # bytes


class Damaged(ValueError):
    """A description that no kernel has; the text says what is wrong in it."""


def descriptions(path: Path) -> dict[str, dict[str, Any]]:
    """What a kernel file says of its kernels, by prefix. Raises as tvmconv.load does."""
    content = elf.section(path, SECTION)
    texts = [text for text in (content or b"").split(b"\0") if text]
    if not texts:
        raise ValueError(f"{path} was not made by tvmconv: it has no section {SECTION}")
    described: dict[str, dict[str, Any]] = {}
    for text in texts:
        try:
            kernel = parse(text)
        except Damaged as error:
            raise ValueError(f"{path} is a damaged kernel file: {error}; build it again") from error
        if kernel["schema"] != SCHEMA:
            found = reprlib.repr(kernel["schema"])
            raise ValueError(f"{path} has a description of schema {found}; this tvmconv reads schema {SCHEMA}")
        if kernel["prefix"] in described:
            raise ValueError(f"{path} is a damaged kernel file: it describes {kernel['prefix']} twice; build it again")
        described[kernel["prefix"]] = kernel
    return described


def parse(text: bytes) -> dict[str, Any]:
    """A description, checked unless it is of another schema. Raises Damaged."""
    try:
        kernel = json.loads(text.decode("ascii"))
    except (ValueError, RecursionError):
        raise Damaged("its description is no JSON") from None
    if not isinstance(kernel, dict) or "schema" not in kernel:
        raise Damaged("its description has no schema")
    if type(kernel["schema"]) is int and kernel["schema"] == SCHEMA:
        _check(kernel)
    return kernel


def _check(kernel: Mapping[str, Any]) -> None:
    """Raises Damaged for a field that is missing or cannot be, and for sizes that are not the workload's."""
    for field, is_valid in _FIELDS.items():
        if field not in kernel:
            raise Damaged(f"its description has no {field}")
        if not is_valid(kernel[field]):
            raise Damaged(f"its description says {field} {reprlib.repr(kernel[field])}")
    shape, layout = _shape(kernel["workload"]), kernel["layout"]
    expected = {"x_shape": shape.x_in(layout), "w_shape": shape.w_shape, "y_shape": shape.y_in(layout)}
    for field, sizes in expected.items():
        if tuple(kernel[field]) != sizes:
            raise Damaged(f"its description says {field} {kernel[field]}, and workload {shape}")
    if not kernel["prefix"].startswith(f"{shape}_{kernel['algorithm'].replace('-', '_')}"):
        raise Damaged(f"its description says prefix {kernel['prefix']}, and workload {shape}, {kernel['algorithm']}")


def _shape(workload: str) -> ConvShape:
    """The workload, which stands in its canonical form. Raises Damaged."""
    try:
        shape = ConvShape.parse(workload)
    except ValueError as error:
        raise Damaged(f"its description says workload {reprlib.repr(workload)}") from error
    if str(shape) != workload:
        raise Damaged(f"its description says workload {reprlib.repr(workload)}")
    return shape


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


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
    "dtype": lambda value: value == "float32",
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

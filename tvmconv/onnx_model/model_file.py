"""A .onnx file read, and made ready for shape inference: local functions inlined, weights' values left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

_MOST_BYTES = 2**31 - 1  # protobuf reads no larger message

# An initializer with more elements is taken to be weights: no shape depends on its values.
_MOST_SIZES = 1024

_VALUES = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


class BadModel(ValueError):
    """A file that exists and is no ONNX model that can be understood."""


def read(path: Path, warn: Callable[[str], None]) -> onnx.ModelProto:
    """The model without local functions and without weights' values. `warn` is told of external data that is missing.

    Raises ValueError, with one sentence, for a file that cannot be opened, and BadModel for what is in it.
    """
    model = _parse(path)
    _check_versions(path, model)
    _fetch_sizes(path, model, warn)
    _drop_weights(model)
    return _inlined(path, model)


def one_line(error: Exception) -> str:
    """The first line of an error of onnx, whose messages may go on with stack traces."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _parse(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        if path.exists() and not path.is_file():  # a pipe would keep us waiting
            raise ValueError(f"{path} is not a file: a .onnx file is expected")
        if path.stat().st_size > _MOST_BYTES:
            raise BadModel(f"{path} has 2 GB or more, which ONNX cannot read: save its weights as external data")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the model {path}: {error.strerror}") from None
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise BadModel(f"{path} is not an ONNX model, or it is damaged") from None
    if not model.HasField("graph"):
        raise BadModel(f"{path} is not an ONNX model, or it is damaged: it holds no graph")
    if not _is_text(model):
        raise BadModel(f"{path} is not an ONNX model, or it is damaged: a name in it is not UTF-8")
    return model


def _is_text(message: Message) -> bool:
    """Whether all strings in a message are UTF-8; protobuf gives bytes for others."""
    from google.protobuf.message import Message

    for field, value in message.ListFields():
        values = (value,) if isinstance(value, (str, bytes, Message)) else value
        if field.type == field.TYPE_STRING:
            if any(isinstance(text, bytes) for text in values):
                return False
        elif field.type == field.TYPE_MESSAGE and not all(map(_is_text, values)):
            return False
    return True


def _check_versions(path: Path, model: onnx.ModelProto) -> None:
    import onnx

    opset = max((known.version for known in model.opset_import if known.domain in ("", "ai.onnx")), default=0)
    for what, version, latest in (
        ("IR version", model.ir_version, int(onnx.IR_VERSION)),
        ("opset", opset, onnx.defs.onnx_opset_version()),
    ):
        if version > latest:
            raise BadModel(f"{path} has {what} {version}, but onnx {onnx.__version__} knows none above {latest}")


def _fetch_sizes(path: Path, model: onnx.ModelProto, warn: Callable[[str], None]) -> None:
    """Load the external data that may decide shapes: whole numbers, and few."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

    missing: dict[str, None] = {}
    for tensor in filter(uses_external_data, model.graph.initializer):
        if not (path.parent / _location(tensor)).is_file():
            missing[_location(tensor)] = None
        elif tensor.data_type in (onnx.TensorProto.INT32, onnx.TensorProto.INT64) and _elements(tensor) <= _MOST_SIZES:
            try:
                load_external_data_for_tensor(tensor, str(path.parent))
            except Exception as error:  # of onnx's C++ half, and of several kinds
                warn(f"{path}: the external data of {tensor.name!r} cannot be read: {one_line(error)}")
    if missing:
        first, more = next(iter(missing)), f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        warn(f"{path}: its external data {first!r}{more} is missing; a layer whose shape depends on it is rejected")


def _location(tensor: onnx.TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _drop_weights(model: onnx.ModelProto) -> None:
    """Leave out weights' values: shape inference copies the whole model several times."""
    for tensor in model.graph.initializer:
        if _elements(tensor) > _MOST_SIZES:
            for values in _VALUES:
                tensor.ClearField(values)


def _elements(tensor: onnx.TensorProto) -> int:
    return math.prod(tensor.dims)


def _inlined(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    if not model.functions:
        return model
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # of onnx's C++ half, and of several kinds
        raise BadModel(f"{path}: its local functions cannot be inlined: {one_line(error)}") from None

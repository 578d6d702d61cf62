"""Reads a model from a file or pipe and prepares it for shape inference."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tvmconv.support.input_file import read_input
from tvmconv.workload.onnx import foreign_file
from tvmconv.workload.onnx.errors import BadModel, NotAModel
from tvmconv.workload.onnx.functions import inlined
from tvmconv.workload.onnx.normal_form import normalize
from tvmconv.workload.onnx.tensor_data import drop_weights, fetch_sizes

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

_MOST_BYTES = 2**31 - 1  # protobuf reads no larger message


def read(path: Path, warn: Callable[[str], None]) -> onnx.ModelProto:
    """The model in normal form, local functions inlined, without weights' values. `warn` is called for external
    data that is missing.

    Raises ValueError, with one sentence, for a file that cannot be opened, and BadModel for what is in it.
    """
    model = _parse(path, _content(path))
    _check_versions(path, model)
    fetch_sizes(path, model, warn)
    drop_weights(model)
    normalize(path, model)
    return inlined(path, model)


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"{path} is not a file: a .onnx file is expected")
    try:
        return read_input(path, _MOST_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            large = f"{path} has 2 GB or more, which ONNX cannot read: save its weights as external data"
            raise BadModel(large) from None
        raise ValueError(f"cannot read the model {path}: {error.strerror}") from None


def _parse(path: Path, content: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    foreign = foreign_file.kind(content)
    damaged = f"{path} is not an ONNX model, or it is damaged" + (f": it looks like {foreign}" if foreign else "")
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError:
        raise NotAModel(damaged, foreign) from None
    if not model.HasField("graph"):
        raise NotAModel(damaged if foreign else f"{damaged}: it holds no graph", foreign)
    if not _is_text(model):
        raise BadModel(f"{damaged}: a name in it is not UTF-8")
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

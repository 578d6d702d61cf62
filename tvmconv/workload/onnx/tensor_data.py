"""Values of a model's initializers: fetched where they may decide shapes; weights are left out."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmconv.support.text import shortened
from tvmconv.workload.onnx.errors import one_line

if TYPE_CHECKING:
    import numpy as np
    import onnx

# An initializer with more elements is taken to be weights: no shape depends on its values.
MOST_SIZES = 1024

_VALUES = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def elements(tensor: onnx.TensorProto | onnx.SparseTensorProto) -> int:
    return math.prod(tensor.dims)


def small_array(tensor: onnx.TensorProto) -> np.ndarray[Any, Any] | None:
    """The values of a tensor that may be sizes; None if they are many, not there or damaged."""
    from onnx import numpy_helper
    from onnx.external_data_helper import uses_external_data

    if uses_external_data(tensor) or elements(tensor) > MOST_SIZES:
        return None
    with suppress(Exception):  # of onnx and of NumPy, and of several kinds
        return numpy_helper.to_array(tensor)
    return None


def fetch_sizes(path: Path, model: onnx.ModelProto, warn: Callable[[str], None]) -> None:
    """Load the external data that may decide shapes: few whole numbers. `warn` is called for missing files."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    missing: dict[str, None] = {}
    for tensor in filter(uses_external_data, model.graph.initializer):
        if not os.path.isfile(os.path.join(path.parent, _entry(tensor, "location"))):
            missing[_entry(tensor, "location")] = None
        elif tensor.data_type in (onnx.TensorProto.INT32, onnx.TensorProto.INT64) and elements(tensor) <= MOST_SIZES:
            try:
                _load(tensor, path.parent)
            except Exception as error:  # of onnx's C++ half, and of several kinds
                warn(f"{path}: the external data of {tensor.name!r} cannot be read: {one_line(error)}")
    if missing:
        first, more = shortened(next(iter(missing))), f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        warn(
            f"{path}: its external data {first!r}{more} is missing, or no plain file; "
            "a layer whose shape depends on it is rejected"
        )


def _load(tensor: onnx.TensorProto, folder: Path) -> None:
    from onnx import helper
    from onnx.external_data_helper import load_external_data_for_tensor

    size = elements(tensor) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    stated = _entry(tensor, "length")
    if stated not in ("", str(size)):
        raise ValueError(f"its length is {shortened(stated)}, but its numbers take {size} bytes")
    if not stated:  # onnx would read all of the file
        tensor.external_data.add(key="length", value=str(size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that nobody knows
        load_external_data_for_tensor(tensor, str(folder))


def _entry(tensor: onnx.TensorProto, key: str) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == key), "")


def drop_weights(model: onnx.ModelProto) -> None:
    """Leave out weights' values: shape inference copies the whole model several times."""
    for tensor in model.graph.initializer:
        if elements(tensor) > MOST_SIZES:
            for values in _VALUES:
                tensor.ClearField(values)

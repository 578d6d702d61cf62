"""Adapts problems to libraries: none has negative padding, and some need it symmetric."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tvmconv.verify.reference import Case
from tvmconv.workload.shape import ConvShape


def cropped(shape: ConvShape, case: Case) -> tuple[ConvShape, Case]:
    """The same problem without the last rows and columns of x that no output touches: no padding is negative."""
    height, width = (max(1, size + min(0, pad)) for size, pad in ((shape.ih, shape.pb), (shape.iw, shape.pr)))
    x = np.ascontiguousarray(case.x[:, :height, :width])
    return replace(shape, ih=height, iw=width), replace(case, x=x)


def even_padding(shape: ConvShape) -> bool:
    """Whether ph rows and pw columns of padding on both sides give the same y: a stride may leave the last ones out."""
    rows = shape.ih + 2 * shape.ph - (shape.kh - 1) * (shape.dh + 1) - 1
    columns = shape.iw + 2 * shape.pw - (shape.kw - 1) * (shape.dw + 1) - 1
    return (rows // shape.sh + 1, columns // shape.sw + 1) == (shape.oh, shape.ow)


def torch_arguments(shape: ConvShape) -> dict[str, Any]:
    """The arguments of torch's conv2d beside its tensors; padding is left out unless it is symmetric."""
    return {
        "stride": (shape.sh, shape.sw),
        "padding": (shape.ph, shape.pw) if even_padding(shape) else (0, 0),
        "dilation": (shape.dh + 1, shape.dw + 1),
        "groups": shape.g,
    }

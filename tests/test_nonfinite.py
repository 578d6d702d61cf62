"""What padding makes of weights that are infinite or NaN, and how far pixels that are reach, by algorithm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tvmconv.compiler import builder
from tvmconv.compiler.builder import Request
from tvmconv.runtime.arrays import as_layout
from tvmconv.runtime.kernel import load
from tvmconv.verify.reference import Array, conv2d, integer_case
from tvmconv.workload.shape import ConvShape

PLAIN, STRIDED, DEPTHWISE = "ic3ih5oc5kh3ph1", "ic3ih5iw21oc5kh3kw3sh2sw2ph1pw1", "g4ic4ih5oc4kh3ph1"
# A tap on padding is a product with zero; or absent; or either, as it suits the tile; or all of the channel is lost.
ZERO, ABSENT, EITHER, CHANNEL = "zero", "absent", "either", "channel"
KERNELS = {
    ("indirect", "nhwc", PLAIN): ZERO,
    ("im2row", "nhwc", PLAIN): ZERO,
    ("kn2col", "nhwc", PLAIN): ABSENT,
    ("kn2col", "nhwc", STRIDED): ABSENT,
    ("kn2col-as", "nhwc", PLAIN): ABSENT,
    ("direct", "nhwc", PLAIN): EITHER,
    ("direct", "nhwc", DEPTHWISE): ABSENT,
    ("winograd", "nhwc", PLAIN): CHANNEL,
    ("im2col", "nchw", PLAIN): ZERO,
    ("kn2row", "nchw", PLAIN): ABSENT,
    ("kn2row", "nchw", STRIDED): ABSENT,
    ("kn2row-as", "nchw", PLAIN): ABSENT,
    ("kn2row-aa", "nchw", PLAIN): ABSENT,
    ("direct", "nchw", PLAIN): ZERO,
    ("direct", "nchw", DEPTHWISE): ZERO,
}


@pytest.fixture(scope="module")
def paths() -> dict[tuple[str, str, str], Path]:
    requests = {kernel: Request(ConvShape.parse(kernel[2]), kernel[0], layout=kernel[1]) for kernel in KERNELS}
    built = builder.build_all(requests.values(), jobs=2)
    return {kernel: path for kernel, request in requests.items() if isinstance(path := built[request], Path)}


def computed(path: Path, x: Array, w: Array) -> Array:
    """A kernel's output, NHWC."""
    kernel = load(path)
    y = kernel.prepare(w, weights="OIHW")(np.ascontiguousarray(as_layout(x, "nhwc", kernel.layout)))
    return np.asarray(as_layout(y, kernel.layout, "nhwc"))


def defined(x: Array, w: Array, shape: ConvShape) -> Array:
    """The definition, for which taps on padding are absent."""
    with np.errstate(invalid="ignore"):
        return conv2d(x, w, shape)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("kernel", "rule"), KERNELS.items())
def test_weights(
    paths: dict[tuple[str, str, str], Path], kernel: tuple[str, str, str], rule: str, value: float
) -> None:
    """The weights of one output channel for one tap: the first, which the first row and column have on padding."""
    shape = ConvShape.parse(kernel[2])
    case = integer_case(shape)
    w = case.w.copy()
    w[1, :, 0, 0] = value
    expected, y = defined(case.x, w, shape), computed(paths[kernel], case.x, w)
    on_padding = np.isfinite(expected[..., 1])
    assert on_padding.any() and not on_padding.all()
    others = np.arange(shape.oc) != 1
    assert np.array_equal(y[..., others], expected[..., others])
    if rule == CHANNEL:
        assert not np.isfinite(y[..., 1]).any()
        return
    assert np.array_equal(y[~on_padding, 1], expected[~on_padding, 1], equal_nan=True)
    absent = y[on_padding, 1] == expected[on_padding, 1]
    assert np.all(absent | np.isnan(y[on_padding, 1]))
    assert {ZERO: not absent.any(), ABSENT: absent.all(), EITHER: True}[rule]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("kernel", "rule"), KERNELS.items())
def test_pixels(paths: dict[tuple[str, str, str], Path], kernel: tuple[str, str, str], rule: str, value: float) -> None:
    """One pixel reaches the outputs that have it under a tap; winograd may make NaN of what is infinite."""
    shape = ConvShape.parse(kernel[2])
    case = integer_case(shape)
    x = case.x.copy()
    x[0, 2, 2, 0] = value
    expected, y = defined(x, case.w, shape), computed(paths[kernel], x, case.w)
    if rule == CHANNEL:
        lost = ~np.isfinite(expected)
        assert np.array_equal(~np.isfinite(y), lost)
        expected[lost] = y[lost]
    assert np.array_equal(y, expected, equal_nan=True)

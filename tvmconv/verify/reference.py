"""The definition of a convolution in NumPy, and integer test data for which every summation order is exact."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvmconv.workload.shape import ConvShape

Array = NDArray[np.float32]
Clamp = tuple[float, float]

SEED = 20190704  # of the data that everything is proved and measured with

# Integers up to here are exact in float32: sums that stay below it come out the same in every order, fused or not.
_EXACT = 2**24
_MAX_INPUT = 4
_MAX_BIAS = 31
# Each end of the clamp cuts more than this share of the outputs, where their values are varied enough.
_CUT = 0.1


def conv2d(
    x: NDArray[Any], w: NDArray[Any], shape: ConvShape, bias: NDArray[Any] | None = None, clamp: Clamp | None = None
) -> Array:
    """y = clamp(conv(x, w) + bias), summed in float64 and rounded once.

    `x` is NHWC `shape.x_shape`, `w` OIHW `shape.w_shape`, `bias` (oc,), the result NHWC `shape.y_shape`, float32.
    Raises ValueError if an array has another shape.
    """
    for name, array, expected in (("x", x, shape.x_shape), ("w", w, shape.w_shape), ("bias", bias, (shape.oc,))):
        if array is not None and array.shape != expected:
            raise ValueError(f"{name} has shape {array.shape}, but {shape} needs {expected}")

    s = shape
    x_groups = np.asarray(x, np.float64).reshape(s.mb, s.ih, s.iw, s.g, s.icg)
    w_groups = np.asarray(w, np.float64).reshape(s.g, s.ocg, s.icg, s.kh, s.kw)
    y = np.zeros((s.mb, s.oh, s.ow, s.g, s.ocg))
    column_taps = list(_reaching(s.ow, s.iw, s.kw, s.sw, s.pw, s.dw))
    for r, rows, x_rows in _reaching(s.oh, s.ih, s.kh, s.sh, s.ph, s.dh):
        for c, columns, x_columns in column_taps:
            pixels = x_groups[:, x_rows, x_columns]
            y[:, rows, columns] += np.einsum("nhwgi,goi->nhwgo", pixels, w_groups[..., r, c], optimize=True)
    result = y.reshape(s.y_shape)
    if bias is not None:
        result += bias
    if clamp is not None:
        result = np.clip(result, *clamp)
    return result.astype(np.float32)


def _reaching(
    outputs: int, inputs: int, taps: int, stride: int, padding: int, dilation: int
) -> Iterator[tuple[int, slice, slice]]:
    """For one axis, the taps that reach the input: tap, outputs for which they do, and what these read."""
    for tap in range(taps):
        offset = tap * (dilation + 1) - padding
        first, last = max(0, -(offset // stride)), min(outputs - 1, (inputs - 1 - offset) // stride)
        if first <= last:
            read = slice(first * stride + offset, last * stride + offset + 1, stride)
            yield tap, slice(first, last + 1), read


@dataclass(frozen=True, eq=False)
class Case:
    """A problem's data and results: `x`, `plain`, `fused` NHWC, `w` OIHW, `bias` (oc,), all float32.

    `plain` is conv(x, w); `fused` is that plus `bias`, within `clamp`.
    """

    x: Array
    w: Array
    bias: Array
    clamp: Clamp
    plain: Array
    fused: Array


def integer_case(shape: ConvShape, seed: int = SEED) -> Case:
    """Data of small integers, none of them zero where that can be, so that kernels can be compared for equality.

    Whatever the order of summation, every partial sum is an integer that float32 holds exactly. The clamp cuts more
    than 10 % of the outputs from either side, or from one side alone if they have too few different values, or, if
    they are all the same, lies beside them.
    """
    rng = np.random.default_rng(seed)
    budget = _EXACT - 1 - _MAX_BIAS
    largest = max(1, min(_MAX_INPUT, math.isqrt(budget // shape.k)))
    x = _nonzero_integers(rng, shape.x_shape, largest)
    w = _nonzero_integers(rng, shape.w_shape, largest)
    bias = _nonzero_integers(rng, (shape.oc,), _MAX_BIAS)
    _thin_out(w, budget)  # only where even products of ±1 are too many

    plain = conv2d(x, w, shape)
    biased = plain + bias
    clamp = _clamp_that_cuts(biased)
    return Case(x, w, bias, clamp, plain, np.clip(biased, *clamp))


def _nonzero_integers(rng: np.random.Generator, shape: tuple[int, ...], largest: int) -> Array:
    """Integers from -largest to largest without 0, which would hide what it is multiplied with."""
    values = rng.integers(-largest, largest, shape, dtype=np.int8)
    return np.where(values >= 0, values + 1, values).astype(np.float32)


def _thin_out(w: Array, most: int) -> None:
    """Set weights to zero, others in each output channel, until no output sums more than `most` products."""
    outputs, products = w.shape[0], w[0].size
    period = -(-products // most)
    if period > 1:
        position = np.arange(products) + np.arange(outputs)[:, None]
        w[(position % period != 0).reshape(w.shape)] = 0


def _clamp_that_cuts(y: Array) -> Clamp:
    """The widest clamp that cuts more than the share _CUT of `y` from either side, or the next best."""
    values = y.ravel()
    cut = int(_CUT * values.size)
    ends = [cut, values.size - 1 - cut]
    low, high = np.partition(values, ends)[ends]
    above, below = values[values > low], values[values < high]
    if above.size and below.size and above.min() <= below.max():
        return float(above.min()), float(below.max())
    if above.size:
        return float(above.min()), float(above.max())
    if below.size:
        return float(below.min()), float(below.max())
    return float(low) + 1, float(low) + 2

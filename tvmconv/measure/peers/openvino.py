"""OpenVINO: a model of one convolution, its bias and a Clamp, which it fuses, compiled for latency, f32 forced.

x and y are NHWC: the model transposes them, which OpenVINO makes a matter of how it takes its arguments, and what
then runs is the convolution alone (oneDNN's, at present). Made for NCHW the same model copies x and y in every call.
"""

from __future__ import annotations

import functools
import time

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as operators

from tvmconv.measure.peers.fitting import cropped
from tvmconv.measure.peers.runner import weights_hidden
from tvmconv.runtime.arrays import aligned_array
from tvmconv.verify.reference import Case
from tvmconv.workload.shape import ConvShape

_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
_WARM_UP = 2  # calls of a profiled model before those that count
_HALF_A_MICROSECOND = 0.5e-6  # the profile's times are cut to whole microseconds


def start(shape: ConvShape, case: Case, threads: int) -> Convolution:
    return Convolution(*cropped(shape, case), threads)


class Convolution:
    """A compiled model and one request with x and y in place."""

    def __init__(self, shape: ConvShape, case: Case, threads: int) -> None:
        self.version, self.layout = openvino.__version__.partition("-")[0], "nhwc"
        self._core, self._model, self._threads = openvino.Core(), _model(shape, case), threads
        self._x, self._y = aligned_array(shape.x_shape), aligned_array(shape.y_shape)
        self._x[...] = case.x
        self.run = self._request(profiled=False).infer

    def poison_output(self) -> None:
        self._y.fill(np.nan)

    def y(self) -> NDArray[np.float32]:
        return self._y

    def memory(self) -> list[tuple[int, int]]:
        raise weights_hidden("OpenVINO")

    def own_seconds(self, least: float) -> float:
        """The time of all that runs in a call, by OpenVINO's profiler.

        The profiler averages over all calls since the model was compiled: it is compiled anew, and those that warm it
        up are subtracted.
        """
        request, end = self._request(profiled=True), time.perf_counter() + least
        for _ in range(_WARM_UP):
            request.infer()
        before, calls = _executed(request), _WARM_UP
        while calls == _WARM_UP or time.perf_counter() < end:
            request.infer()
            calls += 1
        counted = calls * _executed(request) - _WARM_UP * before
        return max(_HALF_A_MICROSECOND, counted / (calls - _WARM_UP))

    def _request(self, profiled: bool) -> openvino.InferRequest:
        configuration = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self._threads,
            "ENABLE_CPU_PINNING": False,  # the process is
            "PERF_COUNT": profiled,
        }
        request = self._core.compile_model(self._model, "CPU", configuration).create_infer_request()
        request.set_input_tensor(openvino.Tensor(self._x, shared_memory=True))
        request.set_output_tensor(openvino.Tensor(self._y, shared_memory=True))
        return request


def _executed(request: openvino.InferRequest) -> float:
    """Seconds of a call on average, by the profiler, of the nodes that are neither input nor output nor folded away."""
    times: list[float] = [
        node.real_time.total_seconds() + _HALF_A_MICROSECOND
        for node in request.get_profiling_info()
        if node.status == openvino.ProfilingInfo.Status.EXECUTED
    ]
    return sum(times)


def _model(shape: ConvShape, case: Case) -> openvino.Model:
    x = operators.parameter(shape.x_shape, np.float32)
    constant = functools.partial(operators.constant, dtype=np.float32)
    axes = {
        "strides": [shape.sh, shape.sw],
        "pads_begin": [shape.ph, shape.pw],
        "pads_end": [shape.pb, shape.pr],
        "dilations": [shape.dh + 1, shape.dw + 1],
    }
    image = operators.transpose(x, list(_TO_NCHW))
    if shape.g == 1:
        y = operators.convolution(image, constant(case.w), **axes)
    else:
        grouped = case.w.reshape(shape.g, shape.ocg, *shape.w_shape[1:])
        y = operators.group_convolution(image, constant(grouped), **axes)
    y = operators.clamp(operators.add(y, constant(case.bias.reshape(1, -1, 1, 1))), *case.clamp)
    return openvino.Model([operators.transpose(y, list(_TO_NHWC))], [x], "layer")

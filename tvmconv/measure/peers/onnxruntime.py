"""ONNX Runtime: a model of one Conv and one Clip, which it fuses, with all optimisations.

The weights are initializers, packed when the session is made; x and y are bound once. x and y are NCHW as ONNX has
them, and in a call ONNX Runtime may reorder both, to and from blocks of channels (NCHWc), which in a network stay that
way from layer to layer: therefore it is `Profiled`.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tvmconv.measure.peers.fitting import cropped
from tvmconv.measure.peers.runner import weights_hidden
from tvmconv.runtime.arrays import aligned_array
from tvmconv.support.filesystem.temporary import temporary_folder
from tvmconv.verify.reference import Array, Case
from tvmconv.workload.shape import ConvShape

_OPSET, _IR = 21, 10  # of ONNX 1.17: both the package onnx and ONNX Runtime know later ones, but not always the same
_WARM_UP = 2  # calls of a profiled session before those that count
_HALF_A_MICROSECOND = 0.5e-6  # the profile's durations are cut to whole microseconds


def start(shape: ConvShape, case: Case, threads: int) -> Convolution:
    _share_threads(threads)
    return Convolution(*cropped(shape, case))


@functools.cache
def _share_threads(threads: int) -> None:
    """One pool for all sessions of this process, which may spin: two of them would disturb each other."""
    onnxruntime.set_global_thread_pool_sizes(threads, 1)


class Convolution:
    """A session with x and y bound to it."""

    def __init__(self, shape: ConvShape, case: Case) -> None:
        self.version, self.layout = onnxruntime.__version__, "nchw"
        self._model = _model(shape, case)
        self._x = aligned_array((shape.mb, shape.ic, shape.ih, shape.iw))
        self._y = aligned_array((shape.mb, shape.oc, shape.oh, shape.ow))
        self._x[...] = case.x.transpose(0, 3, 1, 2)
        self.run = self._bound(_session(self._model, _options()))

    def poison_output(self) -> None:
        self._y.fill(np.nan)

    def y(self) -> NDArray[np.float32]:
        return self._y.transpose(0, 2, 3, 1)

    def memory(self) -> list[tuple[int, int]]:
        raise weights_hidden("ONNX Runtime")

    def own_seconds(self, least: float) -> float:
        """The Conv node's time by ONNX Runtime's profiler, in a session of its own that ends with the profile."""
        with temporary_folder("tvmconv-profile-") as folder:
            options = _options()
            options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
            session = _session(self._model, options)
            run, end = self._bound(session), time.perf_counter() + least
            for _ in range(_WARM_UP + 1):
                run()
            while time.perf_counter() < end:
                run()
            events = json.loads(Path(session.end_profiling()).read_text())
        times = [event["dur"] for event in events if event.get("args", {}).get("op_name") in ("Conv", "FusedConv")]
        return fmean(times[_WARM_UP:]) * 1e-6 + _HALF_A_MICROSECOND

    def _bound(self, session: onnxruntime.InferenceSession) -> Callable[[], None]:
        """A call of the session from x to y."""
        binding = session.io_binding()
        for bind, name, array in ((binding.bind_input, "x", self._x), (binding.bind_output, "y", self._y)):
            bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return functools.partial(session.run_with_iobinding, binding)


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_per_session_threads = False
    options.log_severity_level = 3  # errors
    return options


def _session(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _model(shape: ConvShape, case: Case) -> bytes:
    """y = Clip(Conv(x, w, bias))"""
    low, high = (np.float32(end) for end in case.clamp)
    constants: dict[str, Array | np.float32] = {"w": case.w, "bias": case.bias, "low": low, "high": high}
    conv = helper.make_node(
        "Conv",
        ["x", "w", "bias"],
        ["sum"],
        group=shape.g,
        kernel_shape=[shape.kh, shape.kw],
        strides=[shape.sh, shape.sw],
        dilations=[shape.dh + 1, shape.dw + 1],
        pads=[shape.ph, shape.pw, shape.pb, shape.pr],
    )
    graph = helper.make_graph(
        [conv, helper.make_node("Clip", ["sum", "low", "high"], ["y"])],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [shape.mb, shape.ic, shape.ih, shape.iw])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape.mb, shape.oc, shape.oh, shape.ow])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    serialized: bytes = model.SerializeToString()
    return serialized

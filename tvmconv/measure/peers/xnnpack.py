"""XNNPACK, as ExecuTorch calls it.

A module of one Conv2d and a clamp is exported and lowered to XNNPACK whole; with x in channels_last, which is NHWC as
XNNPACK has it, nothing is transposed, and XNNPACK fuses the clamp. Weights are packed when the program is loaded, x is
read where it lies, y lies where ExecuTorch has planned it. A call is one of ExecuTorch's Python interface.
"""

from __future__ import annotations

import functools
from importlib.metadata import version

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.passes import MemoryPlanningPass
from executorch.extension.pybindings import portable_lib
from numpy.typing import NDArray
from torch.nn import functional

from tvmconv.measure.peers.fitting import cropped, even_padding, torch_arguments
from tvmconv.measure.peers.runner import Unable, weights_hidden
from tvmconv.runtime.arrays import aligned_array
from tvmconv.verify.reference import Case
from tvmconv.workload.shape import ConvShape


def start(shape: ConvShape, case: Case, threads: int) -> Convolution:
    torch.set_grad_enabled(False)
    _set_threads(threads)
    return Convolution(*cropped(shape, case))


@functools.cache
def _set_threads(threads: int) -> None:
    portable_lib._unsafe_reset_threadpool(threads)  # the only way; unsafe in the middle of a call


class Convolution:
    """A loaded program and its input."""

    def __init__(self, shape: ConvShape, case: Case) -> None:
        self.version, self.layout = f"executorch {version('executorch')}", _layout(shape)
        x = case.x if self.layout == "nhwc" else case.x.transpose(0, 3, 1, 2)
        place = aligned_array(x.shape)
        place[...] = x
        self._x = torch.from_numpy(place)
        if self.layout == "nhwc":
            self._x = self._x.permute(0, 3, 1, 2)
        self._program = _program(_Layer(shape, case), self._x)  # not copied by what follows
        self._module = portable_lib._load_for_executorch_from_buffer(self._program)
        self.run = functools.partial(self._module.forward, [self._x], clone_outputs=False)
        (self._y,) = self.run()

    def poison_output(self) -> None:
        self._y.fill_(np.nan)

    def y(self) -> NDArray[np.float32]:
        nhwc: NDArray[np.float32] = self._y.permute(0, 2, 3, 1).numpy()
        return nhwc

    def memory(self) -> list[tuple[int, int]]:
        raise weights_hidden("XNNPACK")


def _layout(shape: ConvShape) -> str:
    """NHWC; but where x or y has one channel or one pixel its strides do not tell, and ExecuTorch takes it for NCHW."""
    ambiguous = 1 in (shape.ic, shape.oc, shape.ih * shape.iw, shape.m)
    return "nchw" if ambiguous else "nhwc"


class _Layer(torch.nn.Module):
    """The convolution; padding that must differ from side to side is a layer before it, which XNNPACK may fuse."""

    def __init__(self, shape: ConvShape, case: Case) -> None:
        super().__init__()
        self.w, self.bias = (torch.nn.Parameter(torch.from_numpy(array)) for array in (case.w, case.bias))
        self.clamp = case.clamp
        self.pad = None if even_padding(shape) else (shape.pw, shape.pr, shape.ph, shape.pb)
        self.arguments = torch_arguments(shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pad:
            x = functional.pad(x, self.pad)
        return functional.conv2d(x, self.w, self.bias, **self.arguments).clamp(*self.clamp)


def _program(layer: _Layer, x: torch.Tensor) -> bytes:
    """The layer as ExecuTorch loads it. Raises Unable if XNNPACK does not take all of it."""
    edge = to_edge_transform_and_lower(torch.export.export(layer.eval(), (x,)), partitioner=[XnnpackPartitioner()])
    calls = [node.target for node in edge.exported_program().graph.nodes if node.op == "call_function"]
    if [getattr(call, "__name__", str(call)) for call in calls] != ["executorch_call_delegate", "getitem"]:
        raise Unable(f"ExecuTorch leaves a part of this layer to others than XNNPACK: {calls}")
    planning = MemoryPlanningPass(alloc_graph_input=False)
    program: bytes = edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning)).buffer
    return program

"""torch's conv2d on channels_last tensors, with bias, then clamp; y is allocated in each call."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tvmconv.measure.peers.fitting import cropped, even_padding, torch_arguments
from tvmconv.verify.reference import Case
from tvmconv.workload.shape import ConvShape


def start(shape: ConvShape, case: Case, threads: int) -> Conv2d:
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return Conv2d(*cropped(shape, case))


class Conv2d:
    """The call with its tensors; padding that must differ from side to side is a call of F.pad before."""

    def __init__(self, shape: ConvShape, case: Case) -> None:
        self.version, self.layout = torch.__version__, "nhwc"
        self._x = torch.from_numpy(case.x).permute(0, 3, 1, 2)
        self._w = torch.from_numpy(case.w).contiguous(memory_format=torch.channels_last)
        self._bias = torch.from_numpy(case.bias)
        self._clamp = case.clamp
        self._symmetric = even_padding(shape)
        self._pad = (shape.pw, shape.pr, shape.ph, shape.pb)
        self._arguments = torch_arguments(shape)
        self._y = torch.empty(0)

    def run(self) -> None:
        x = self._x if self._symmetric else F.pad(self._x, self._pad)
        self._y = F.conv2d(x, self._w, self._bias, **self._arguments).clamp_(*self._clamp)

    def poison_output(self) -> None:
        self._y.fill_(np.nan)

    def y(self) -> NDArray[np.float32]:
        nhwc: NDArray[np.float32] = self._y.permute(0, 2, 3, 1).numpy()
        return nhwc

    def memory(self) -> list[tuple[int, int]]:
        tensors = (self._x, self._w, self._bias, self._y)
        return [(tensor.data_ptr(), tensor.numel() * tensor.element_size()) for tensor in tensors]

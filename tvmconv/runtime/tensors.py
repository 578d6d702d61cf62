"""torch's tensors as NumPy arrays of the same memory, and back, without importing torch before the caller has."""

from __future__ import annotations

import sys
from typing import Any

from tvmconv.runtime.arrays import Array, as_layout

LAYOUT = "nchw"  # the order of an image's axes in torch, however it lies in memory


def is_torch(value: object) -> bool:
    """Whether it is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_torch(array: Array, layout: str) -> Any:
    """The array's memory as a torch tensor of shape (N, C, H, W): nhwc is channels_last."""
    import torch

    return torch.from_numpy(as_layout(array, layout, LAYOUT))


def as_numpy(name: str, tensor: Any, element: str, differentiable: bool) -> Array:
    """The memory of a tensor of elements of that type, with the axes of torch. Raises TypeError, which says what to
    pass instead.

    `differentiable`: whether a caller may expect a gradient with respect to it.
    """
    if reason := _unsuited(name, tensor, element, differentiable):
        raise TypeError(f"{name} {reason}")
    try:
        array: Array = tensor.detach().numpy()
    except (RuntimeError, TypeError):  # torch's stand-ins for tensors: fake ones, those of its transforms
        kind = type(tensor).__name__
        raise TypeError(f"{name} is a {kind} whose memory cannot be read here; pass a plain tensor") from None
    return array


def _unsuited(name: str, tensor: Any, element: str, differentiable: bool) -> str | None:
    """Why a kernel cannot take a tensor's elements, as the rest of a sentence; None if it can."""
    import torch

    if tensor.is_nested:
        return "is a nested tensor; pass a plain one"
    if tensor.device.type == "meta":
        return "is on meta, where tensors have no elements; pass one on the CPU"
    if tensor.device.type != "cpu":
        return f"is on {tensor.device}; kernels run on the CPU: pass {name}.cpu()"
    if tensor.layout != torch.strided:
        return f"is not dense ({tensor.layout}); pass {name}.to_dense()"
    if tensor.is_quantized:
        return f"is quantized ({tensor.dtype}); pass {name}.dequantize()"
    if tensor.dtype != getattr(torch, element):
        return f"is {tensor.dtype}; pass {element}{'' if tensor.is_complex() else f': {name}.to(torch.{element})'}"
    if tensor.is_neg():
        return f"is a view whose signs torch has yet to change; pass {name}.resolve_neg()"
    if differentiable and tensor.requires_grad and torch.is_grad_enabled():
        return f"requires a gradient, and kernels give none; pass {name}.detach(), or call under torch.no_grad()"
    return None

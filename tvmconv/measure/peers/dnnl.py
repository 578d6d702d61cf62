"""The part of oneDNN's C API that a convolution needs, by ctypes.

Names and numbers are those of oneapi/dnnl/dnnl_types.h, stable since oneDNN 3.0. Handles live as long as the process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CPU, _IN_ORDER, _F32 = 1, 1, 3
_FORWARD_INFERENCE, _CONVOLUTION_DIRECT, _ELTWISE_CLIP_V2 = 96, 1, 47
_SCRATCHPAD_USER, _FPMATH_STRICT = 1, 0
_QUERY_IMPLEMENTATION = 8

SRC, DST, WEIGHTS, BIAS, SCRATCHPAD = 1, 17, 33, 41, 80  # DNNL_ARG_*
_QUERY_DESCRIPTOR = {SRC: 129, WEIGHTS: 131, DST: 133, SCRATCHPAD: 136}

# dnnl_format_tag_t: the library's own choice; channels in blocks of 16 or 8 that lie innermost.
ANY, BLOCKS_OF_16, BLOCKS_OF_8 = 1, 78, 102

_STATUS = {1: "out of memory", 2: "invalid arguments", 3: "unimplemented", 5: "runtime error"}
_MAX_DIMENSIONS = 12
_PAGE = 4096

Handle = ctypes.c_void_p
Bytes = NDArray[np.uint8]


class DnnlError(RuntimeError):
    """A call returned another status than success."""


class Argument(ctypes.Structure):
    """dnnl_exec_arg_t"""

    _fields_ = (("argument", ctypes.c_int), ("memory", ctypes.c_void_p))


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int))


class Library:
    """libdnnl with a CPU engine and a stream. Raises OSError where it cannot be loaded."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        self.c.dnnl_version.restype = ctypes.POINTER(_Version)
        self.c.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        self.c.dnnl_primitive_desc_query_md.restype = Handle
        self.engine = self.create("engine_create", _CPU, ctypes.c_size_t(0))
        self.stream = self.create("stream_create", self.engine, _IN_ORDER)

    @property
    def version(self) -> str:
        version = self.c.dnnl_version().contents
        return f"{version.major}.{version.minor}.{version.patch}"

    def call(self, function: str, *arguments: Any) -> None:
        """dnnl_FUNCTION(arguments). Raises DnnlError unless it succeeds."""
        if status := getattr(self.c, f"dnnl_{function}")(*arguments):
            raise DnnlError(f"dnnl_{function}: {_STATUS.get(status, f'status {status}')}")

    def create(self, function: str, *arguments: Any) -> Handle:
        """The object that dnnl_FUNCTION(&new, arguments) creates."""
        new = Handle()
        self.call(function, ctypes.byref(new), *arguments)
        return new

    def by_tag(self, sizes: Sequence[int], tag: int) -> Handle:
        """A memory descriptor of f32 in the layout of that tag."""
        return self.create("memory_desc_create_with_tag", len(sizes), dims(*sizes), _F32, tag)

    def dense(self, sizes: Sequence[int], order: Sequence[int]) -> Handle:
        """A memory descriptor of f32 whose axes lie in that order, the last one innermost."""
        strides, stride = [0] * len(sizes), 1
        for axis in reversed(order):
            strides[axis] = stride
            stride *= sizes[axis]
        return self.create("memory_desc_create_with_strides", len(sizes), dims(*sizes), _F32, dims(*strides))

    def same(self, one: Handle, other: Handle) -> bool:
        """Whether two memory descriptors are equal."""
        return bool(self.c.dnnl_memory_desc_equal(one, other))

    def allocate(self, descriptor: Handle) -> Bytes:
        """Memory for a descriptor, where a page begins."""
        size = self.c.dnnl_memory_desc_get_size(descriptor)
        raw = np.zeros(size + _PAGE, np.uint8)
        start = -raw.ctypes.data % _PAGE
        return raw[start : start + size]

    def memory(self, descriptor: Handle, content: NDArray[Any]) -> Handle:
        return self.create("memory_create", descriptor, self.engine, ctypes.c_void_p(content.ctypes.data))

    def reorder(self, source: tuple[Handle, NDArray[Any]], destination: tuple[Handle, NDArray[Any]]) -> None:
        """Copy from one (descriptor, memory) to another, of the same sizes in another layout."""
        plan = self.create("reorder_primitive_desc_create", source[0], self.engine, destination[0], self.engine, None)
        arguments = self.arguments({SRC: self.memory(*source), DST: self.memory(*destination)})
        self.call("primitive_execute", self.create("primitive_create", plan), self.stream, len(arguments), arguments)
        self.call("stream_wait", self.stream)

    def arguments(self, memories: Mapping[int, Handle]) -> ctypes.Array[Argument]:
        return (Argument * len(memories))(*(Argument(argument, memory) for argument, memory in memories.items()))

    def strict(self, clamp: tuple[float, float]) -> Handle:
        """Attributes: computed in f32 and nothing narrower, y clamped, scratchpad memory given by the caller."""
        attributes, clip = self.create("primitive_attr_create"), self.create("post_ops_create")
        self.call("post_ops_append_eltwise", clip, _ELTWISE_CLIP_V2, *map(ctypes.c_float, clamp))
        self.call("primitive_attr_set_post_ops", attributes, clip)
        self.call("primitive_attr_set_fpmath_mode", attributes, _FPMATH_STRICT)
        self.call("primitive_attr_set_scratchpad_mode", attributes, _SCRATCHPAD_USER)
        return attributes

    def direct_convolution(self, *descriptors_axes_attributes: Any) -> Handle:
        """A primitive descriptor: src, weights, bias, dst, strides, dilations, both paddings, attributes."""
        return self.create(
            "convolution_forward_primitive_desc_create",
            *(self.engine, _FORWARD_INFERENCE, _CONVOLUTION_DIRECT),
            *descriptors_axes_attributes,
        )

    def descriptor(self, plan: Handle, argument: int) -> Handle:
        """The memory descriptor that a primitive descriptor has chosen for an argument."""
        return Handle(self.c.dnnl_primitive_desc_query_md(plan, _QUERY_DESCRIPTOR[argument], 0))

    def implementation(self, plan: Handle) -> str:
        """The name of the kernel behind a primitive descriptor, such as brgconv:avx512_core."""
        name = ctypes.c_char_p()
        self.call("primitive_desc_query", plan, _QUERY_IMPLEMENTATION, 0, ctypes.byref(name))
        return (name.value or b"").decode()


def dims(*sizes: int) -> ctypes.Array[ctypes.c_int64]:
    """dnnl_dims_t"""
    return (ctypes.c_int64 * _MAX_DIMENSIONS)(*sizes)

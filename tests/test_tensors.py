"""torch tensors: what is taken as it lies, and what is refused in one line that says what to pass instead."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tvmconv
from tvmconv.runtime.conv import Conv
from tvmconv.verify.reference import Case, integer_case
from tvmconv.workload.shape import ConvShape

torch: Any = pytest.importorskip("torch", reason="torch is not installed (scripts/tvmconv setup peers-torch)")

SHAPE = ConvShape.parse("mb2ic12ih9oc40kh3ph1")
NHWC = "memory_format=torch.channels_last"


@pytest.fixture(scope="module")
def case() -> Case:
    return integer_case(SHAPE, seed=7)


@pytest.fixture(scope="module")
def convs(case: Case) -> dict[str, Conv]:
    return {name: tvmconv.build(SHAPE, "direct", layout=name).prepare(case.w) for name in ("nhwc", "nchw")}


def as_tensor(array: Any, layout: str) -> Any:
    """Of torch's axes; its memory is that of the layout."""
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
    return tensor if layout == "nhwc" else tensor.contiguous()


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_torch_in_torch_out(convs: dict[str, Conv], case: Case, layout: str) -> None:
    x, expected = as_tensor(case.x, layout), as_tensor(case.plain, layout)
    out = torch.empty_like(expected)
    for y in (convs[layout](x), convs[layout](x, out=out), out, convs[layout](torch.nn.Parameter(x).detach())):
        assert torch.equal(y, expected) and y.stride() == expected.stride()
    with torch.no_grad():
        assert torch.equal(convs[layout](x.clone().requires_grad_()), expected)


def test_parameters_are_weights(case: Case) -> None:
    kernel = tvmconv.build(SHAPE, "direct")
    w, bias = (torch.nn.Parameter(torch.from_numpy(array)) for array in (case.w, case.bias))
    np.testing.assert_array_equal(kernel.prepare(w, bias, case.clamp)(case.x), case.fused)
    with pytest.raises(ValueError, match=re.escape("w is not contiguous; pass w.contiguous()")):
        kernel.prepare(torch.from_numpy(case.w).contiguous(memory_format=torch.channels_last))
    with pytest.raises(TypeError, match=re.escape("w is a view whose signs torch has yet to change")):
        kernel.prepare(torch._neg_view(torch.from_numpy(case.w)))


def fake(x: Any) -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return torch.empty(x.shape).to(memory_format=torch.channels_last)


def misaligned(x: Any) -> Any:
    raw = torch.empty(x.numel() * 4 + 1, dtype=torch.uint8).numpy()[1:].view(np.float32)
    return torch.from_numpy(raw).as_strided(x.shape, x.stride())


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a sign that is pending": (
        torch._neg_view,
        "x is a view whose signs torch has yet to change; pass x.resolve_neg()",
    ),
    "the imaginary part of a conjugate": (lambda x: torch.complex(x, x).conj().imag, "pass x.resolve_neg()"),
    "complex": (lambda x: torch.complex(x, x), "x is torch.complex64; pass float32"),
    "bfloat16": (lambda x: x.bfloat16(), "x is torch.bfloat16; pass float32: x.to(torch.float32)"),
    "half": (lambda x: x.half(), "x is torch.float16; pass float32: x.to(torch.float32)"),
    "double": (lambda x: x.double(), "x is torch.float64; pass float32: x.to(torch.float32)"),
    "sparse": (lambda x: x.to_sparse(), "x is not dense (torch.sparse_coo); pass x.to_dense()"),
    "oneDNN's": (lambda x: x.contiguous().to_mkldnn(), "x is not dense (torch._mkldnn); pass x.to_dense()"),
    "quantized": (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8), "x is quantized (torch.quint8); pass"),
    "nested": (lambda x: torch.nested.nested_tensor([x[0], x[1]]), "x is a nested tensor; pass a plain one"),
    "meta": (lambda x: x.to("meta"), "x is on meta, where tensors have no elements; pass one on the CPU"),
    "fake": (fake, "x is a FakeTensor whose memory cannot be read here; pass a plain tensor"),
    "with a gradient": (lambda x: x.clone().requires_grad_(), "pass x.detach(), or call under torch.no_grad()"),
    "no tensor": (lambda x: x.dtype, "x is a dtype; pass a NumPy array or a torch tensor"),
    "misaligned": (misaligned, "x is not aligned to its elements of 4 bytes; pass x.clone()"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(convs: dict[str, Conv], case: Case, name: str) -> None:
    change, sentence = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about what is experimental or deprecated
        x = change(as_tensor(case.x, "nhwc"))
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)) as error:
        convs["nhwc"](x)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("layout", "change", "sentence"),
    [
        ("nhwc", lambda x: x.contiguous(), f"x is not contiguous; pass x.contiguous({NHWC})"),
        ("nhwc", lambda x: torch.ones(1, 12, 1, 1).expand(x.shape), f"pass x.contiguous({NHWC})"),
        ("nchw", lambda x: x.contiguous(memory_format=torch.channels_last), "x is not contiguous; pass x.contiguous()"),
        ("nhwc", lambda x: x[:1], "x has shape (1, 12, 9, 9); this kernel takes (2, 12, 9, 9), NCHW"),
        ("nchw", lambda x: x[:1], "x has shape (1, 12, 9, 9); this kernel takes (2, 12, 9, 9), NCHW"),
        ("nhwc", lambda x: x.permute(0, 2, 3, 1), "x has shape (2, 9, 9, 12); this kernel takes (2, 12, 9, 9), NCHW"),
    ],
)
def test_errors_are_in_torchs_terms(
    convs: dict[str, Conv], case: Case, layout: str, change: Callable[[Any], Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        convs[layout](change(as_tensor(case.x, layout)))


def test_an_output_of_another_order(convs: dict[str, Conv], case: Case) -> None:
    sentence = f"out is not contiguous; pass torch.empty((2, 40, 9, 9), {NHWC})"
    with pytest.raises(ValueError, match=re.escape(sentence)):
        convs["nhwc"](as_tensor(case.x, "nhwc"), out=torch.empty(2, 40, 9, 9))

"""Sizes at their limits: every kernel computes them exactly, or a sentence rejects them before anything is compiled."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tvmconv.algorithms import algorithm
from tvmconv.compiler import builder
from tvmconv.compiler.builder import Request
from tvmconv.verify.check import Check, Verdict, verify
from tvmconv.verify.reference import conv2d, integer_case
from tvmconv.workload.shape import ConvShape

FAR_STRIDE = "ic3ih2iw2oc5oh2ow9kh1kw1sh1sw1073741824ph0pw0"
FAR_DILATION = "ic2ih3iw3oc2oh3ow3kh5kw1ph0pw0dh1073741823dw0"
FAR_PADDING = "ic2ih3iw3oc2oh3ow3kh2kw2sh1sw1048576ph1pw2147483647"
# What is special about a problem → algorithm, layout and problem.
KERNELS = {
    "stride, kn2col": ("kn2col", "nhwc", FAR_STRIDE),
    "stride, direct": ("direct", "nchw", FAR_STRIDE),
    "stride, kn2row-aa": ("kn2row-aa", "nchw", FAR_STRIDE),
    "dilation, indirect": ("indirect", "nhwc", FAR_DILATION),
    "dilation, kn2row-as": ("kn2row-as", "nchw", FAR_DILATION),
    "padding, im2row": ("im2row", "nhwc", FAR_PADDING),
    "padding, direct": ("direct", "nhwc", FAR_PADDING),
    "depthwise": ("direct", "nhwc", "g3ic3ih4iw4oc3oh3ow3kh2kw2sh2147483647sw1ph1pw1dh0dw2147483646"),
    "a vector's pixels far apart": ("direct", "nchw", "ic3ih3iw90oc5kh3kw2sh3sw17ph1pw1"),
    "many taps": ("kn2col", "nhwc", "ic1ih5iw7oc1oh7ow2kh1kw20000sh1sw12ph1pw5dh0dw11"),
    # Not at any limit: LLVM would take the mask from a load, and fold a sign test into an instruction that is none.
    "one product": ("kn2row-aa", "nchw", "ic1ih9iw7oc1oh5ow9kh1kw2sh2sw1ph1pw2"),
    "sign test": ("kn2row", "nchw", "ic1ih1iw341oc1oh1ow170kh1kw3sh1sw2ph0pw0"),
}


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict | Exception]:
    requests = {
        title: Request(ConvShape.parse(text), name, layout=layout) for title, (name, layout, text) in KERNELS.items()
    }
    paths = builder.build_all(requests.values(), jobs=2)
    checks = [Check(path, request.shape) for request, path in paths.items() if isinstance(path, Path)]
    found = iter(verify(checks, jobs=2))
    return {title: next(found) if isinstance(path := paths[each], Path) else path for title, each in requests.items()}


@pytest.mark.parametrize("title", KERNELS)
def test_exact(verdicts: dict[str, Verdict | Exception], title: str) -> None:
    verdict = verdicts[title]
    assert isinstance(verdict, Verdict), verdict
    assert verdict.exact, verdict.reason


@pytest.mark.parametrize(
    "text",
    [
        "ic1ih2iw2oc1oh1000ow1kh1kw1sh1073741823sw1ph2147483646pw0",
        "ic1ih2iw2oc1oh2ow2kh3kw3sh1sw1ph2147483647pw2147483647dh1073741823dw1073741823",
        "ic64ih9iw9oc1oh3ow3kh3kw3sh1sw1ph4000pw9000dh4000dw9000",
    ],
)
def test_what_32_bits_cannot_address_is_rejected(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^the padded input would have \d+x\d+ pixels of \d+ channels, but"
    ) as rejected:
        ConvShape.parse(text)
    assert "\n" not in str(rejected.value)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("direct", "g4ic4ih1iw4000oc4kh1kw999ph0pw499", "use layout nchw"),
        ("kn2col-as", "mb65536ic1ih1oc1oh1kh256kw256iw1ow1ph0pw0", "2**31 - 1 are the most"),
    ],
)
def test_what_would_take_too_much_code_or_too_many_steps_is_rejected(name: str, text: str, sentence: str) -> None:
    assert sentence in str(algorithm(name).rejects(ConvShape.parse(text)))


def shapes() -> list[ConvShape]:
    """Small tensors with larger and larger strides, paddings and dilations."""
    draw = random.Random(0)

    def axis(name: str) -> dict[str, int]:
        sizes = {kind + name: draw.randint(1, 5) for kind in "iok"}
        far = {"s" + name: draw.randint(1, 30), "p" + name: draw.randint(0, 40), "d" + name: draw.randint(0, 30)}
        return sizes | far

    return [ConvShape(ic=1, oc=1, **axis("h"), **axis("w")) for _ in range(300)]


def test_smaller_sizes_that_do_the_same() -> None:
    """And what tells algorithms apart stays: whether there are strides, dilation, padding."""
    for shape in shapes():
        case, reduced = integer_case(shape), shape.reduced
        assert np.array_equal(conv2d(case.x, case.w, reduced), case.plain), shape
        assert reduced.sh <= shape.sh and reduced.ph <= shape.ph and reduced.dh <= shape.dh
        for key in ("sh", "sw"):
            assert (getattr(reduced, key) == 1) == (getattr(shape, key) == 1), shape
        for key in ("ph", "pw", "dh", "dw"):
            assert (getattr(reduced, key) == 0) == (getattr(shape, key) == 0), shape
        for key in ("pb", "pr"):
            assert np.sign(getattr(reduced, key)) == np.sign(getattr(shape, key)), shape


def test_the_definition_needs_no_memory_for_what_is_padding() -> None:
    for text in (FAR_STRIDE, FAR_DILATION, FAR_PADDING):
        case = integer_case(ConvShape.parse(text))
        assert np.array_equal(conv2d(case.x, case.w, ConvShape.parse(text).reduced), case.plain)

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tvmconv.verify import reference
from tvmconv.verify.reference import Case, conv2d, integer_case
from tvmconv.workload.shape import ConvShape

SHAPES = (
    "mb2ic3ih6oc4kh3ph1",
    "ic1ih1oc1kh1",
    "ic5ih7iw5oc3kh1kw1",
    "mb2ic3ih9iw8oc2kh3kw2sh2sw3ph1pw0",
    "ic2ih11oc3kh3sh4ph1",
    "ic2ih9iw10oc3kh3kw2ph2pw1dh2dw1",
    "ic2ih9oc3kh2sh2ph1dh3",
    "g2ic4ih5oc6kh3ph1",
    "g3mb2ic3ih5oc6kh2sh2",
    "g4ic4ih5oc4kh3ph1",
    "ic2ih5iw6oc3oh6ow4kh3kw2ph1pw0",
    "ic2ih4oc2oh9kh3ph0",
    "ic2ih3oc2oh11kh2ph5",
    "ic2ih1oc2oh9kh2ph4dh2sh2",
    "ic2ih3oc2oh1kh5ph4",
    "ic2ih8iw9oc3oh2ow3kh3kw3sh2sw1ph0pw1",
    "ic2ih9oc2oh2kh1sh3ph0",
)


def onnx_conv(case: Case, shape: ConvShape) -> reference.Array:
    """conv(x, w) + bias as onnx defines it; NHWC like ours. Negative padding, which it has not, crops the input."""
    s = shape
    x = case.x[:, : s.ih + min(s.pb, 0), : s.iw + min(s.pr, 0)].transpose(0, 3, 1, 2)
    node = helper.make_node(
        "Conv",
        ["x", "w", "b"],
        ["y"],
        group=s.g,
        strides=[s.sh, s.sw],
        dilations=[s.dh + 1, s.dw + 1],
        pads=[s.ph, s.pw, max(s.pb, 0), max(s.pr, 0)],
    )
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xwby"]
    graph = helper.make_graph([node], "conv", infos[:3], infos[3:])
    (y,) = ReferenceEvaluator(helper.make_model(graph)).run(None, {"x": x, "w": case.w, "b": case.bias})
    nhwc: reference.Array = np.asarray(y).transpose(0, 2, 3, 1)
    return nhwc


@pytest.mark.parametrize("text", SHAPES)
def test_agrees_with_onnx(text: str) -> None:
    shape = ConvShape.parse(text)
    case = integer_case(shape, seed=0)
    expected = onnx_conv(case, shape)
    assert expected.shape == shape.y_shape
    np.testing.assert_array_equal(conv2d(case.x, case.w, shape, case.bias), expected)
    np.testing.assert_array_equal(case.plain, expected - case.bias)
    np.testing.assert_array_equal(case.fused, np.clip(expected, *case.clamp))
    np.testing.assert_array_equal(conv2d(case.x, case.w, shape, case.bias, case.clamp), case.fused)


def test_the_table_reaches_every_kind_of_padding() -> None:
    shapes = [ConvShape.parse(text) for text in SHAPES]
    assert any(s.pb < 0 for s in shapes) and any(s.pb >= s.kh for s in shapes) and any(s.ph >= s.kh for s in shapes)
    assert any(s.pb != s.ph for s in shapes) and any(s.pr != s.pb for s in shapes)


def test_rounds_once() -> None:
    shape = ConvShape.parse("ic3ih1oc1kh1")
    x = np.array([2**24, 1, 1], np.float32).reshape(shape.x_shape)
    y = conv2d(x, np.ones(shape.w_shape, np.float32), shape, bias=np.array([-(2.0**24)], np.float32))
    assert y.item() == 2 and y.dtype == np.float32  # 0 if summed in float32


@pytest.mark.parametrize("wrong", ["x", "w", "bias"])
def test_refuses_arrays_of_another_shape(wrong: str) -> None:
    shape = ConvShape.parse("ic2ih3oc4kh3")
    arrays = {"x": np.zeros(shape.x_shape), "w": np.zeros(shape.w_shape), "bias": np.zeros(shape.oc)}
    arrays[wrong] = arrays[wrong][..., :-1]
    with pytest.raises(ValueError, match=f"^{wrong} has shape"):
        conv2d(arrays["x"], arrays["w"], shape, arrays["bias"])


def largest_sum(case: Case) -> float:
    """A bound on every partial sum of every output, in any order."""
    return float(np.abs(case.w).sum(axis=(1, 2, 3)).max() * np.abs(case.x).max() + np.abs(case.bias).max())


@pytest.mark.parametrize("text", [*SHAPES, "ic512ih7oc8kh3ph1", "ic3ih40oc2kh31ph15"])
def test_integer_cases_are_exact_and_nowhere_zero(text: str) -> None:
    case = integer_case(ConvShape.parse(text), seed=1)
    for array in (case.x, case.w, case.bias):
        assert array.dtype == np.float32 and array.flags.c_contiguous
        assert np.all(array) and np.array_equal(array, np.rint(array))
    assert largest_sum(case) < 2**24


@pytest.mark.parametrize(("text", "dense"), [("ic60ih3oc5kh3ph1", True), ("ic512ih3oc5kh3ph1", False)])
def test_long_sums_stay_exact(text: str, dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_EXACT", 1000)  # in place of arrays as large as the real bound asks for
    case = integer_case(ConvShape.parse(text), seed=1)
    assert largest_sum(case) < 1000
    assert np.all(case.w) == dense
    assert np.all(case.w.any(axis=0)), "a product that no output channel sums could be wrong unseen"


@pytest.mark.parametrize("text", SHAPES)
def test_the_clamp_cuts_a_tenth_from_both_sides(text: str) -> None:
    case = integer_case(ConvShape.parse(text), seed=2)
    biased = case.plain + case.bias
    low, high = case.clamp
    assert low <= high
    assert np.mean(case.fused != biased) > 0.1
    if np.unique(biased).size > 10:
        assert np.mean(biased < low) > 0.1 and np.mean(biased > high) > 0.1
        assert np.any(case.fused == biased)


@pytest.mark.parametrize(
    ("values", "clamp"),
    [
        (range(10), (2, 7)),  # more than one in ten from either side
        ([5], (6, 7)),
        ([5, 5, 5], (6, 7)),
        ([1, 2], (2, 2)),
        ([1] * 19 + [2], (2, 2)),
        ([1] + [2] * 19, (1, 1)),
    ],
)
def test_the_clamp_makes_the_best_of_few_values(values: list[float], clamp: tuple[float, float]) -> None:
    assert reference._clamp_that_cuts(np.array(values, np.float32)) == clamp


def test_seeds_decide_the_data() -> None:
    shape = ConvShape.parse(SHAPES[0])
    first, same, other = (integer_case(shape, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.x, same.x) and np.array_equal(first.fused, same.fused)
    assert not np.array_equal(first.x, other.x)

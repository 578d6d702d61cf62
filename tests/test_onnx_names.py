"""What the nodes of a model are called, and by which names they are found."""

from pathlib import Path

import pytest

from tests.layers import no_warning
from tests.onnx_models import W, X, parsed, write
from tvmconv.workload.resolve import Layer, resolve
from tvmconv.workload.shape import ConvShape


def test_distinct_layers_with_counts_and_labels(tmp_path: Path) -> None:
    body = "p = Conv <pads = [1,1,1,1]> (x, w) r = Relu(p) q = Conv <pads = [1,1,1,1]> (r, w)"
    body += "s = Conv <strides = [2,2], pads = [1,1,1,1]> (q, w) y = Conv <pads = [1,1,1,1]> (s, w)"
    path = write(
        tmp_path, parsed(body, "float[1,3,8,8] x, float[3,3,3,3] w"), names=("/a/Conv", "", 'a "bad"\nname', "")
    )
    same, half, quarter = "ic3ih8oc3kh3ph1", "ic3ih8oc3oh4kh3ph1sh2", "ic3ih4oc3kh3ph1"
    assert resolve([path], no_warning) == [
        Layer(path, ConvShape.parse(same), "a_Conv", 2),
        Layer(path, ConvShape.parse(half), "a_bad_name"),
        Layer(path, ConvShape.parse(quarter), "y"),
    ]
    for name, found in (("a_bad_name", half), ("/a/Conv", same), ("a_Conv", same), ("q", same), ("y", quarter)):
        (row,) = resolve([f"{path}/{name}"], no_warning)
        assert row.shape == ConvShape.parse(found) and row.shape.name == row.name
        assert (row.source, row.count) == (f"{path}/{name}", 2 if found == same else 1)
    with pytest.raises(ValueError, match=r"unknown .*m\.onnx layer 'a_Cnov', did you mean a_Conv\?"):
        resolve([f"{path}/a_Cnov"], no_warning)


@pytest.mark.parametrize(
    "names",
    [
        ("a/b", "a_b", "/a/b", "b"),
        ("conv 1", "conv:1", "conv[1]", "conv(1)", "conv 1 ", "conv_1"),
        ("卷积一", "卷积二", "😀", "😁"),
        ("/c", "c", "C", "///", "//", "-c", "@c", "c.onnx", "c.onnx/c"),
        ("x" * 100 + "1", "x" * 100 + "2", "x" * 5000),
        ("c", "c", "c#1", "#2", "c"),
        ("\u00e9", "e\u0301", "e\u0301 1", "\u212b", "\u00c5"),
        ("\n", "\t", "a\nb", "a b", "a\u00a0b", "\u202ea"),
        ("", "", "t0", "unnamed#1"),
    ],
)
def test_each_node_is_found_by_its_name_and_by_its_label(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Node N has a kernel of N+1 rows, so that its layer tells whose it is."""
    inputs = ", ".join(f"float[4,3,{number},1] w{number}" for number in range(1, len(names) + 1))
    body = " ".join(f"t{number} = Conv(x, w{number + 1})" for number in range(len(names)))
    (tmp_path / "folder.onnx").mkdir()
    path = write(
        tmp_path / "folder.onnx", parsed(f"{body} y = Identity(t0)", f"float[1,3,20,8] x, {inputs}"), names=names
    )
    layers = resolve([path], no_warning)
    assert [layer.shape and layer.shape.kh for layer in layers] == [*range(1, len(names) + 1)]
    called = [name or f"t{index}" for index, name in enumerate(names)]
    for index, (name, layer) in enumerate(zip(called, layers, strict=True)):
        assert layer.name and layer.name.isprintable() and layer.name == layer.name.strip()
        (by_label,) = resolve([f"{path}/{layer.name}"], no_warning)
        assert by_label.shape == layer.shape and by_label.name == layer.name
        if called.count(name) == 1:
            (by_name,) = resolve([f"{path}/{name}"], no_warning)
            assert by_name.shape == layer.shape
        else:
            with pytest.raises(ValueError) as refusal:
                resolve([f"{path}/{name}"], no_warning)
            assert f"layers of {path} are called {name!r}: ask for one of " in str(refusal.value)
            assert layers[index].name in str(refusal.value)


def test_another_spelling_is_taken_only_if_one_node_has_it(tmp_path: Path) -> None:
    body = "t = Conv(x, w) u = Conv(t, v) y = Conv(u, v)"
    path = write(tmp_path, parsed(body, f"{X}, {W}, float[4,4,1,1] v"), names=("/a b", "a:b", "/c:1"))
    assert resolve([f"{path}/c_1"], no_warning)[0].name == resolve([f"{path}//c 1"], no_warning)[0].name == "c_1"
    with pytest.raises(ValueError) as refusal:
        resolve([f"{path}/a_b"], no_warning)
    says = f"2 layers of {path} are called 'a_b': ask for one of '{path}//a b', {path}/a:b"
    assert str(refusal.value) == says


@pytest.mark.parametrize("opset", [17, 13])  # of the function, whose nodes are valid in the model's too
def test_a_node_in_a_function_keeps_its_name(tmp_path: Path, opset: int) -> None:
    more = f'<domain: "own", opset_import: ["" : {opset}]> Block (a, b) => (c) {{ [inner] c = Conv(a, b) }}'
    once = parsed("y = own.Block(x, w)", opsets='"" : 17, "own" : 1', more=more)
    twice = parsed(
        "t = own.Block(x, w) y = own.Block(t, v)", f"{X}, {W}, float[2,4,3,3] v", opsets='"" : 17, "own" : 1', more=more
    )
    assert [row.name for row in resolve([write(tmp_path, once) + "/inner"], no_warning)] == ["inner"]
    assert [row.name for row in resolve([write(tmp_path, twice)], no_warning)] == ["inner#1", "inner#2"]

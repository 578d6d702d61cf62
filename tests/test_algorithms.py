"""Every algorithm against the definition: integer data, exact equality, NaN-filled outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tvmconv
from tvmconv.algorithms import ALGORITHMS, algorithm
from tvmconv.compiler import builder
from tvmconv.compiler.builder import Request
from tvmconv.target.dtype import FLOAT32
from tvmconv.target.isa import AVX2, AVX512, SSE4
from tvmconv.target.targets import TARGETS, native
from tvmconv.target.tile import Tile
from tvmconv.verify.check import Check, Verdict, verify
from tvmconv.verify.reference import conv2d
from tvmconv.workload.shape import ConvShape

# What is special about a problem → the problem.
PROBLEMS = {
    "plain": "ic32ih14oc64kh3ph1",
    "no tail divides": "ic7ih13iw11oc37kh3kw3ph1pw1",
    "1x1": "ic20ih9oc70kh1ph0",
    "batch of 1x1": "mb3ic16ih7oc24kh1ph0",
    "1x1, fewer rows than a tile's": "ic5ih2oc33kh1ph0",
    "1x1, columns unused": "ic20ih9oh7oc24kh1ph0_iw9ow6kw1pw0",
    "batch, stride 2": "mb2ic16ih9oc24kh3sh2ph1",
    "stride 4, 1x1": "ic5ih9oc17kh1sh4ph0",
    "dilation 3": "ic6ih15oc18kh3ph3dh2",
    "14x14 kernel": "ic4ih3oc9kh14ph8",
    "padding larger than the kernel": "ic3ih4oc16kh2ph5",
    "H = W = 1": "ic5ih1oc33kh1ph0",
    "asymmetric": "ic8ih5oc17kh4ph2_iw9ow3kw2sw4pw0",
    "rows unused": "ic8ih12oh4oc16kh3sh2ph0",
    "stem": "ic3ih30oc16kh7sh2ph3",
    "groups": "mb2_g2ic64ih8oc44kh3ph1",
    "groups of one output": "g4ic8ih6oc4kh3ph1",
    "depthwise": "g32ic32ih12oc32kh3ph1",
    "depthwise, tail": "g70ic70ih9oc70kh5ph2sh2",
    "depthwise, narrow": "g5ic5ih12oc5kh3ph4dh1",
    "depthwise, padding larger than the kernel": "g20ic20ih3oc20kh2ph5",
    "depthwise, groups of panels, rows unused": "mb2_g150ic150ih12oh4oc150kh3sh2ph0",
    "depthwise, asymmetric": "g24ic24ih5oc24kh4ph2_iw29ow29kw5dw1pw4",
    "depthwise, 14x14 kernel": "g4ic4ih3oc4kh14ph8",
    "several outputs a channel": "g8ic8ih9oc16kh3ph1",
    "columns beyond the input's": "ic2ih3oc8kh1sh2ph0_iw17ow30kw3sw2pw12",
    "K in blocks": "ic512ih5oc140kh3ph1",
    "strides over an image narrower than a vector": "mb2ic5ih5oc13oh4kh2ph1dh2_iw1ow5kw2sw3pw6dw0",
}


def tallest(vectors: int) -> str:
    """The tile of that many vectors and of as many rows as this machine's registers hold: 6x64, say."""
    isa = native().isa
    nr = vectors * isa.lanes(FLOAT32)
    return f"{max(mr for mr in range(1, isa.registers) if isa.fits(Tile(mr, nr), FLOAT32))}x{nr}"


OTHER_TILES = (
    *("1x16", "5x16_mc5", tallest(2), f"{tallest(3)}_kc16"),
    *(f"{tallest(4)}_{rest}" for rest in ("kr2_mc12_kc8_pf8_st1", "kr1_pf0_st0")),
)
BANDS = ("5x16_mc5", f"{tallest(2)}_mc10_kc8", f"{tallest(4)}_mc0_kr1", f"{tallest(4)}_mc25")
PIXEL_TILES = ("1x16", f"{tallest(2)}_kr1", f"{tallest(3)}_mc{3 * native().isa.lanes(FLOAT32)}")


def requests() -> dict[str, Request]:
    """All kernels that are to be exact, by test id. Other tiles change the speed alone."""
    found = {}
    for title, text in PROBLEMS.items():
        shape = ConvShape.parse(text)
        for known in ALGORITHMS:
            if known.rejects(shape) is None:
                found[f"{known.name} {known.layout}, {title}"] = Request(shape, known.name, layout=known.layout)
    tails = ConvShape.parse("mb2ic16ih9oc72kh3ph1")
    for name in ("indirect", "im2row", "direct", "kn2col"):
        found |= {f"{name}, {tile}": Request(tails, name, tile=Tile.parse(tile)) for tile in OTHER_TILES}
    found |= {f"winograd, {tile}": Request(tails, "winograd", tile=Tile.parse(tile)) for tile in BANDS}
    found["im2col, 4x16_kc8"] = Request(tails, "im2col", tile=Tile.parse("4x16_kc8"))
    for name in ("im2col", "kn2row", "kn2row-as", "kn2row-aa"):
        found |= {f"{name}, {tile}": Request(tails, name, tile=Tile.parse(tile)) for tile in PIXEL_TILES}
    depthwise = ConvShape.parse("mb2_g70ic70ih9oc70kh3ph1")
    for tile in ("2x16_mc9_kc16", "5x16_kc0", "2x32_mc0"):
        found[f"depthwise, {tile}"] = Request(depthwise, "direct", tile=Tile.parse(tile))
    one_of_each_isa = {target.isa: target for target in reversed(TARGETS) if not target.missing_here}
    for target in one_of_each_isa.values():
        shape = ConvShape.parse("ic12ih9oc40kh3ph1")
        for name in ("indirect", "kn2row-aa", "winograd"):
            found[f"{name}, {target.name}"] = Request(shape, name, target.name)
        narrow = ConvShape.parse(PROBLEMS["strides over an image narrower than a vector"])
        found[f"kn2row-aa, narrow, {target.name}"] = Request(narrow, "kn2row-aa", target.name)
        found[f"depthwise, {target.name}"] = Request(depthwise, "direct", target.name)
    return found


@pytest.fixture(scope="module")
def verdicts() -> dict[Request, Verdict]:
    """Built and verified together, between guard pages and in processes that may crash."""
    wanted = list(requests().values())
    paths = builder.build_all(wanted, jobs=2)
    built = {request: path for request, path in paths.items() if isinstance(path, Path)}
    assert len(built) == len(paths), [str(path) for path in paths.values() if not isinstance(path, Path)]
    return dict(zip(built, verify([Check(path, request.shape) for request, path in built.items()], 2), strict=True))


@pytest.mark.parametrize("title", list(requests()))
def test_exact(verdicts: dict[Request, Verdict], title: str) -> None:
    verdict = verdicts[requests()[title]]
    assert verdict.exact, verdict.reason


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS.keys())
def test_what_is_rejected(problem: str) -> None:
    """direct takes everything, gemm 1x1 alone, winograd plain 3x3 alone, the others everything but depthwise."""
    shape = ConvShape.parse(problem)
    products = {
        "nhwc": {"im2row", "indirect", "kn2col", "kn2col-as"},
        "nchw": {"im2col", "kn2row", "kn2row-as", "kn2row-aa"},
    }
    for layout, names in products.items():
        taking = {known.name for known in ALGORITHMS if known.layout == layout and known.rejects(shape) is None}
        assert taking - {"gemm", "winograd"} == ({"direct"} if shape.depthwise else {"direct"} | names)


def test_winograd_is_for_plain_3x3_kernels() -> None:
    winograd = algorithm("winograd")
    rejected = ("kh5ph2", "kh1ph0", "kh3sh2ph1", "kh3ph2dh1", "kh3ph1_iw9kw1pw0")
    assert winograd.rejects(ConvShape.parse("ic8ih9oc8kh3ph1")) is None
    for kernel in rejected:
        assert "3x3" in str(winograd.rejects(ConvShape.parse(f"ic8ih9oc8{kernel}"))), kernel
    assert "groups" in str(winograd.rejects(ConvShape.parse("g2ic8ih9oc8kh3ph1")))


def test_winograd_rounds_as_little_as_the_definition() -> None:
    """Integers prove it right; of other numbers its sums are a few times as large, but four times as short."""
    random = np.random.default_rng(0)
    x = random.standard_normal((1, 14, 14, 128), dtype=np.float32)
    w = random.standard_normal((32, 128, 3, 3), dtype=np.float32)
    shape = ConvShape.parse("ic128ih14oc32kh3ph1")
    expected = conv2d(x, w, shape)
    errors = {
        name: np.abs(tvmconv.build(shape, name).prepare(w, weights="OIHW")(x) - expected).max()
        for name in ("direct", "winograd")
    }
    assert errors["winograd"] < 4 * errors["direct"]


@pytest.mark.parametrize(
    ("name", "layout", "problem"),
    [
        *(
            (known.name, known.layout, "ic64ih9oc70kh1ph0" if known.name == "gemm" else "ic64ih9oc70kh3ph1")
            for known in ALGORITHMS
        ),
        ("direct", "nhwc", "g70ic70ih9oc70kh5ph2"),
    ],
)
def test_all_memory_is_in_the_arguments(name: str, layout: str, problem: str) -> None:
    """Besides the workspace a kernel has register tiles on its stack, 4 KB together at most, and no allocator."""
    text = builder.llvm_ir(Request(ConvShape.parse(problem), name, layout=layout))
    element = {"float": 4, "i32": 4, "i64": 8, "double": 8, "ptr": 8}
    sizes = [
        int(count or 1) * int(lanes or 1) * element[kind]
        for count, lanes, kind in re.findall(
            r"= alloca (?:\[(\d+) x )?(?:<(\d+) x )?(float|double|i32|i64|ptr)\b", text
        )
    ]
    assert len(sizes) == text.count("= alloca "), "an alloca of a type that is not counted"
    assert 0 < sum(sizes) <= 4096  # FFI entries have theirs, too
    assert "AllocWorkspace" not in text


ANY = ("native", "hand", None, 1)  # target, schedule, tile and threads


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("ic8ih4oc8kh3ph1", "gemm"), "1x1 kernels of stride 1"),
        (("g8ic8ih4oc8kh3ph1", "indirect"), "use direct"),
        (("ic8ih4oc8kh3ph1", "indrect"), "did you mean indirect"),
        (("ic8ih4oc8kh3ph1", "indirect", "x86-64-v5"), "did you mean x86-64-v4"),
        (("ic8ih4oc8kh3ph1", "indirect", "native", "hnd"), "did you mean hand"),
        (("ic8ih4oc8kh3ph1", "indirect", "native", "hand", "6by64"), "is not MRxNR"),
        (("ic8ih4oc8kh3ph1", "indirect", "native", "hand", "0x16"), "at least 1"),
        (("ic8ih4oc8kh3ph1", "indirect", "x86-64-v4", "hand", "32x64"), "133 vector registers and avx512 has 32"),
        (("ic8ih4oc8kh3ph1", "indirect", "x86-64-v4", "hand", "6x60"), "multiple of the 16 lanes"),
        (("ic8ih4oc8kh3ph1", "indirect", "native", "hand", "4x16_kc3"), "must divide the layer's 8 channels"),
        (("ic8ih4oc8kh3ph1", "direct", *ANY, "NCHW"), "unknown layout 'NCHW' (known: nhwc, nchw)"),
        (("ic8ih4oc8kh3ph1", "auto", *ANY, "NCHW"), "unknown layout 'NCHW' (known: nhwc, nchw)"),
    ],
)
def test_bad_requests_say_what_would_be_right(arguments: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        tvmconv.build(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("target", "beyond"),
    [
        ("x86-64-v2", r"%[yz]mm|^\s+v[a-z]|^\s+(?:shlx|shrx|sarx|mulx|andn|rorx|lzcnt|tzcnt|movbe)"),
        ("x86-64-v3", r"%zmm|%k[0-7]|%[xy]mm(?:1[6-9]|[23]\d)"),
    ],
)
@pytest.mark.parametrize("problem", ["ic12ih9oc40kh3ph1", "g70ic70ih9oc70kh3ph1"])
def test_no_instruction_beyond_the_target(problem: str, target: str, beyond: str) -> None:
    """And what the target has is used."""
    text = builder.assembly(Request(ConvShape.parse(problem), "direct", target))
    assert not re.findall(beyond, text, re.MULTILINE)
    assert re.search({"x86-64-v2": r"\bmulps\b", "x86-64-v3": r"\bvfmadd\w+ps\b.*%ymm"}[target], text)


def test_the_default_tile_fits_every_instruction_set() -> None:
    for target in TARGETS:
        for problem in PROBLEMS.values():
            tile = Request(ConvShape.parse(problem), "direct", target.name).check().tile
            assert tile and target.isa.fits(tile, FLOAT32), f"{target.name} {problem} {tile}"


@pytest.mark.parametrize(
    ("features", "name"),
    [
        (AVX512.features, "x86-64-v4"),
        ((*AVX2.features, "avx512f"), "x86-64-v3"),
        (AVX2.features, "x86-64-v3"),
        (SSE4.features, "x86-64-v2"),
    ],
)
def test_native_is_the_best_target_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, features: tuple[str, ...], name: str
) -> None:
    monkeypatch.setattr("tvmconv.target.targets.host_features", lambda: frozenset((*features, "something_else")))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert native().name == name


def test_a_machine_may_have_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmconv.target.targets.host_features", frozenset)
    with pytest.raises(ValueError, match=r"no target for a machine like this .*: it needs x86-64-v2 at least"):
        native()

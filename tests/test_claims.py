"""indirect against im2row and gemm: what is compared with what, phases alone that are right, the figures of a row."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tvmconv import cli
from tvmconv.bench.claims import Claim, ClaimBench, claims, mean_ratio
from tvmconv.bench.plan import Setting
from tvmconv.cli.scripts import arguments as scripts
from tvmconv.cli.scripts.claims import claims_table
from tvmconv.compiler.builder import Request, build_path
from tvmconv.database.rows import Row
from tvmconv.measure.baselines import MemcpyEntry, PatchesEntry, patch_bytes, patches, product_shape
from tvmconv.measure.comparable import Timed
from tvmconv.measure.entries import Entry, KernelEntry
from tvmconv.measure.interleaved import Best, Rules
from tvmconv.report.tables import show
from tvmconv.target import targets
from tvmconv.verify.reference import conv2d, integer_case
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

SHAPE = ConvShape.parse("ic8ih6oc20kh3ph1")
CASE = integer_case(SHAPE, 0)
SETTING = Setting(targets.native(), cpus=(min(os.sched_getaffinity(0)),))
QUICK = Rules(samples=2, min_time=0.001, max_time=5.0)

Capture = pytest.CaptureFixture[str]

# What a row has whatever is measured.
FIGURES: Row = {
    **{"status": "ok", "reason": None, "rival": "gemm", "workload": str(SHAPE), "name": None, "tile": "4x16"},
    **{"seconds": {name: {"median": 0.001} for name in ("indirect", "gemm")}, "rounds": {"n": 4, "slow": 1}},
}


def layers(*texts: str) -> list[Layer]:
    return [Layer(text, ConvShape.parse(text)) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "ic3ih5oc4kh3ph1",
        "ic2ih9iw7oc3kh3kw2sh2sw3ph1pw0",
        "mb2ic3ih8oc4kh3dh1ph2",
        "ic3ih8oc4oh3kh2sh2ph0",  # the last rows and columns of the input are not used
        "ic5ih4oc6kh1",
    ],
)
def test_patches_are_the_same_convolution_as_a_product(text: str) -> None:
    shape = ConvShape.parse(text)
    case = integer_case(shape, 1)
    w = case.w.transpose(0, 2, 3, 1).reshape(shape.oc, -1, 1, 1)
    product = product_shape(shape)
    assert np.array_equal(conv2d(patches(case.x, shape), w, product), case.plain)
    assert (product.flops, product.m, product.k) == (shape.flops, shape.m, shape.k)
    assert patch_bytes(shape) * shape.mb == patches(case.x, shape).nbytes


def test_groups_are_no_single_product() -> None:
    with pytest.raises(ValueError, match="has groups: as a matrix product it is 2 of them"):
        product_shape(ConvShape.parse("g2ic4ih5oc4kh3"))


def im2row() -> Path:
    return build_path(Request(SHAPE, "im2row"))


@pytest.mark.parametrize(
    "entry",
    [
        lambda: KernelEntry(im2row(), phase="copy"),
        lambda: KernelEntry(im2row(), phase="run"),
        lambda: PatchesEntry(build_path(Request(product_shape(SHAPE), "gemm"))),
        lambda: MemcpyEntry(patch_bytes(SHAPE)),
    ],
    ids=["copy", "run", "patches", "memcpy"],
)
def test_a_part_alone_is_checked(entry: Callable[[], Entry]) -> None:
    """y is right after a run, also after many, and wrong if nothing has run since it was forgotten."""
    runner = entry().start(SHAPE, CASE, 1)
    for _ in range(2):
        runner.poison_output()
        assert not np.array_equal(runner.y(), CASE.fused)
        runner.poison_output()
        runner.run()
        runner.run()
        assert np.array_equal(runner.y(), CASE.fused)


def floats(memory: tuple[int, int]) -> NDArray[np.float32]:
    address, size = memory
    return np.ctypeslib.as_array((ctypes.c_float * (size // 4)).from_address(address))


def test_a_phase_alone_does_nothing_else() -> None:
    """The copy leaves y as it is; the product does not see that x has changed behind the copy."""
    copy, product = (KernelEntry(im2row(), phase=phase).start(SHAPE, CASE, 1) for phase in ("copy", "run"))
    *_, y = copy.memory()
    copy.poison_output()
    copy.run()
    assert np.isnan(floats(y)).all()
    x, *_ = product.memory()
    product.poison_output()
    floats(x).fill(0)
    product.run()
    assert np.array_equal(product.y(), CASE.fused)


def test_a_phase_is_of_one_image() -> None:
    shape = ConvShape.parse("mb2ic8ih6oc20kh3ph1")
    entry = KernelEntry(build_path(Request(shape, "im2row")), phase="copy")
    with pytest.raises(ValueError, match="a phase alone is run for one image"):
        entry.start(shape, integer_case(shape, 0), 1)


def test_what_is_compared_with_what() -> None:
    """Each shape once, patches with im2row, products with gemm; groups, batches and what cannot be read with nobody."""
    spatial = layers("ic8ih6oc20kh3ph1", "ic8ih6oc20kh3ph1", "ic8ih6oc20kh1", "g2ic8ih6oc20kh3", "mb2ic8ih6oc20kh3")
    pointwise = layers("ic8ih6oc20kh1", "ic8ih6oc20kh1sh2", "ic8ih6oc20kh3ph1", "ic8ih6oc20kh1")
    found = claims([*spatial, Layer("?", None, reason="is no layer")], pointwise, SETTING)
    assert [(claim.rival, str(claim.shape.kh), [*claim.kernels]) for claim in found] == [
        ("im2row", "3", ["indirect", "gemm", "im2row"]),
        ("gemm", "1", ["indirect", "gemm"]),
    ]


def test_all_kernels_have_the_tile_that_indirect_chooses() -> None:
    (claim,) = claims(layers("ic32ih14oc64kh3ph1"), [], SETTING)
    chosen = Request(claim.shape, "indirect").check().tile
    assert chosen
    assert {(request.tile.mr, request.tile.nr) for request in claim.kernels.values() if request.tile} == {
        (claim.tile.mr, claim.tile.nr)
    }
    assert (claim.tile.mr, claim.tile.nr) == (chosen.mr, chosen.nr)
    assert claim.kernels["gemm"].shape.ic == 9 * 32


def row(claim: Claim, files: dict[Request, Path | Exception] | None = None) -> Row:
    files = files or {request: build_path(request) for request in claim.kernels.values()}
    return ClaimBench(SETTING, QUICK, Best()).row(claim, files, lambda done, wanted: None)


def test_a_kernel_that_was_not_built_is_an_error() -> None:
    (claim,) = claims(layers(str(SHAPE)), [], SETTING)
    found = row(claim, {request: ValueError("out of registers") for request in claim.kernels.values()})
    assert (found["status"], found["reason"], found["ratio"]) == ("error", "the build failed: out of registers", None)


def test_a_contestant_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmconv.bench.claims.patch_bytes", lambda shape: -1000)
    (claim,) = claims(layers(str(SHAPE)), [], SETTING)
    found = row(claim)
    assert (found["status"], found["ratio"]) == ("error", None)
    assert found["reason"].startswith("memcpy: ")


def test_the_command(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmconv.cli.scripts.claims.POINTWISE", ("ic8ih6oc20kh1",))
    monkeypatch.setattr("tvmconv.cli.scripts.claims.rules_of", lambda options: QUICK)
    assert cli.main([str(SHAPE), "--samples", "2", "--json"], scripts.parse_claims) == 0
    context, against_im2row, against_gemm = map(json.loads, capsys.readouterr().out.splitlines())
    assert (context["kind"], context["llvm"] is None) == ("context", False)

    seconds = {name: found["median"] for name, found in against_im2row["seconds"].items()}
    assert [*seconds] == ["indirect", "im2row", "im2row.copy", "im2row.run", "gemm", "memcpy"]
    assert against_im2row["ratio"] == pytest.approx(seconds["im2row"] / seconds["indirect"])
    assert against_im2row["patch_bytes"] == 36 * 9 * 8 * 4
    assert against_im2row["copy_gb_per_s"] == pytest.approx(36 * 9 * 8 * 4 / seconds["im2row.copy"] / 1e9)
    share = against_im2row["copy_gb_per_s"] / against_im2row["memcpy_gb_per_s"]
    assert against_im2row["copy_share"] == pytest.approx(share)
    for name, key in (("im2row.run", "run_peak_fraction"), ("gemm", "gemm_peak_fraction")):
        gflops = against_im2row["flops"] / seconds[name] / 1e9
        assert 0 < against_im2row[key] == pytest.approx(gflops / against_im2row["peak_gflops"])
        assert against_im2row[key] <= 1

    assert [*against_gemm["seconds"]] == ["indirect", "gemm"]
    medians = [against_gemm["seconds"][name]["median"] for name in ("gemm", "indirect")]
    assert against_gemm["ratio"] == pytest.approx(medians[0] / medians[1])
    assert (against_gemm["kind"], against_gemm["rival"], against_gemm["copy_share"]) == ("result", "gemm", None)

    show(claims_table([against_im2row, against_gemm]))
    table = capsys.readouterr().out
    for found in (against_im2row, against_gemm):
        assert found["workload"] in table
        assert f"{found['rival']}/indirect: geometric mean {found['ratio']:.3f} of 1 layers" in table


def test_an_unknown_network_is_a_wrong_call(capsys: Capture) -> None:
    assert cli.main(["resnet81"], scripts.parse_claims) == 2
    assert "unknown network 'resnet81', did you mean resnet18?" in capsys.readouterr().err


def test_a_ratio_of_times_that_were_not_measured_alike_is_marked(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In JSON, in the table and at the mean."""
    (claim,) = claims([], layers("ic8ih6oc20kh1"), SETTING)
    files: dict[Request, Path | Exception] = {request: Path() for request in claim.kernels.values()}

    def found(seconds: float, offered: float) -> Row:
        times = {"indirect": Timed(0.001), "gemm": Timed(seconds, offered, slow=True)}
        monkeypatch.setattr(ClaimBench, "measured", lambda self, row, shape, entries, figures, told: figures(times))
        return {**FIGURES, **row(claim, files)}

    unlike, alike = found(0.004, offered=0.5), found(0.002, offered=0.95)
    assert [unlike["alike"], alike["alike"]] == [False, True]
    for rows, mean in (
        ([alike], "gemm/indirect: geometric mean 2.000 of 1 layers\n"),
        ([unlike], "gemm/indirect: geometric mean 4.000 of 1 layers, none measured alike"),
        ([alike, unlike], "gemm/indirect: geometric mean 2.828 of 2 layers, 2.000 of the 1 measured alike"),
    ):
        show(claims_table(rows))
        out = capsys.readouterr().out
        assert mean in out
        assert ("~4.00" in out) == (unlike in rows) and "~2.00" not in out


def test_the_mean_is_geometric() -> None:
    assert mean_ratio([{"ratio": 0.5}, {"ratio": 8.0}]) == pytest.approx(2.0)

"""The tile that each schedule chooses: properties of all layers and tiles of known ones. Nothing is compiled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmconv.algorithms import algorithm
from tvmconv.algorithms.patches import STEP, Patches
from tvmconv.compiler.builder import Request
from tvmconv.database.log import Key
from tvmconv.schedules import depthwise
from tvmconv.schedules.tiles import choose_tile
from tvmconv.schedules.unsuited import Unsuited
from tvmconv.target.dtype import FLOAT32
from tvmconv.target.isa import ISAS, Isa
from tvmconv.target.targets import parse
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

GENERIC = ("x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64", "cortex-a53")
SIDES, CHANNELS = st.integers(1, 60), st.integers(1, 700)


def square(ic: int, oc: int, side: int, kernel: int, groups: int = 1) -> ConvShape:
    """Of stride 1, as large as its input."""
    return ConvShape.parse(f"g{groups}ic{ic}ih{side}oc{oc}oh{side}kh{kernel}ph{kernel // 2}")


@given(CHANNELS, SIDES, st.sampled_from((1, 3, 5)), st.sampled_from(ISAS))
def test_depthwise_cuts_rows_evenly_and_overlaps_least(channels: int, side: int, kernel: int, isa: Isa) -> None:
    shape = square(channels + 1, channels + 1, side, kernel, channels + 1)
    mr, nr = depthwise.best_registers(shape, isa, FLOAT32)
    tiles = -(-side // mr)
    assert tiles == -(-side // 8) and tiles * mr - side < tiles
    assert nr <= shape.oc and (nr % isa.lanes(FLOAT32) == 0 or nr == shape.oc)
    vectors = -(-nr // isa.lanes(FLOAT32))
    assert vectors == 1 or vectors * (mr + kernel + 2) <= isa.registers
    assert nr == shape.oc or -(-shape.oc // nr) * nr <= -(-shape.oc // isa.lanes(FLOAT32)) * isa.lanes(FLOAT32)


@given(CHANNELS, SIDES)
def test_depthwise_has_work_for_eight_threads(channels: int, side: int) -> None:
    """Blocks are of whole rows, as many as make 8 pieces of work where there are as many rows."""
    shape = square(channels + 1, channels + 1, side, 3, channels + 1)
    tile = depthwise.completed(shape, 4, 16)
    rows = tile.mc // side if tile.mc else side
    assert tile.kc == 64 and tile.mc % side == 0 and rows >= 1
    pieces = -(-shape.oc // tile.kc) * -(-side // rows)
    assert pieces >= 8 or rows == 1 or rows == -(-side // -(-8 // -(-shape.oc // tile.kc)))


@given(CHANNELS, CHANNELS, SIDES, st.sampled_from(GENERIC))
def test_nhwc_blocks_of_k_stay_in_l2(ic: int, oc: int, side: int, name: str) -> None:
    shape, target = square(ic, oc, side, 3), parse(name)
    tile = choose_tile(algorithm("indirect"), shape, target, None)
    kc = tile.kc or ic
    assert target.isa.fits(tile, FLOAT32) and tile.nr % target.isa.lanes(FLOAT32) == 0 and tile.mr in range(1, 31)
    assert ic % kc == 0 and kc % tile.kr == 0 and tile.kr in (1, 2, 3, 4, target.isa.lanes(FLOAT32))
    assert kc == ic or (kc >= 16 and shape.taps * kc * tile.nr * 4 <= 0.3 * target.l2)
    assert tile.a_vector in (-1, 1, target.isa.lanes(FLOAT32))


@given(CHANNELS, CHANNELS, SIDES, st.sampled_from(GENERIC))
def test_nchw_tiles_are_whole_vectors_of_pixels(ic: int, oc: int, side: int, name: str) -> None:
    shape, target = square(ic, oc, side, 3), parse(name)
    for known in ("im2col", "direct", "kn2row-aa"):
        tile = choose_tile(algorithm(known, "nchw"), shape, target, None)
        layout = algorithm(known, "nchw").view(shape, tile).layout
        kc = tile.kc or layout.channels
        assert target.isa.fits(tile, FLOAT32) and tile.lanes == target.isa.lanes(FLOAT32) and tile.nr % tile.lanes == 0
        assert tile.mc % tile.nr == 0 and tile.mc >= tile.nr
        assert layout.channels % kc == 0 and kc % tile.kr == 0
        assert kc == layout.channels or 64 <= kc <= 512


@given(st.integers(1, 6), st.integers(1, 2), st.sampled_from((1, 2, 4, 8)), st.sampled_from((0, 12, 60)))
def test_a_wanted_size_is_kept(mr: int, vectors: int, kr: int, mc: int) -> None:
    for known, layout in (("indirect", "nhwc"), ("direct", "nchw")):
        wanted = Tile(mr, 16 * vectors, kr=kr, mc=mc)
        tile = choose_tile(algorithm(known, layout), square(64, 64, 14, 3), parse("x86-64-v4"), wanted)
        assert wanted.decided.items() <= tile.decided.items()


@pytest.mark.parametrize(
    ("layout", "wanted", "error", "sentence"),
    [
        ("nhwc", "20x64", ValueError, "needs 85 vector registers and avx512 has 32"),
        ("nhwc", "4x24", ValueError, "NR must be a multiple of the 16 lanes"),
        ("nhwc", "4x32_kc48", Unsuited, "KC must divide the layer's 64 channels"),
        ("nhwc", "4x32_kr3", Unsuited, "KR must divide KC"),
        ("nchw", "4x24", ValueError, "NR must be a multiple of the 16 lanes"),
        ("nchw", "20x64", ValueError, "needs 85 vector registers and avx512 has 32"),
        ("nchw", "4x32_kr3", Unsuited, "KR must divide KC"),
        ("nchw", "4x32_kc32", Unsuited, "use KC 0"),
    ],
)
def test_a_wanted_tile_is_refused(layout: str, wanted: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        choose_tile(algorithm("direct", layout), square(64, 64, 14, 3), parse("x86-64-v4"), Tile.parse(wanted))


KNOWN = [
    ("indirect", "nhwc", "x86-64-v4", "ic64ih56oc64kh3ph1", "6x64_kr4_mc0_kc0_pf4_st0"),
    ("indirect", "nhwc", "x86-64-v3", "ic64ih56oc64kh3ph1", "6x16_kr4_mc0_kc0_pf16_st0"),
    ("indirect", "nhwc", "cortex-a76", "ic64ih56oc64kh3ph1", "5x16_kr4_mc0_kc0_pf0_st0_gc4"),
    ("gemm", "nhwc", "x86-64-v4", "ic512ih7oc2048kh1", "7x48_kr4_mc0_kc0_pf5_st1"),
    ("gemm", "nhwc", "x86-64-v3", "ic512ih7oc2048kh1", "5x16_kr4_mc0_kc0_pf16_st1"),
    ("gemm", "nhwc", "cortex-a76", "ic512ih7oc2048kh1", "5x16_kr4_mc0_kc0_pf0_st0_gc4"),
    ("winograd", "nhwc", "x86-64-v4", "ic256ih14oc256kh3ph1", "5x64_kr4_mc49_kc0_pf4_st1_vl16"),
    ("winograd", "nhwc", "x86-64-v3", "ic256ih14oc256kh3ph1", "5x16_kr4_mc49_kc0_pf16_st1_vl8"),
    ("winograd", "nhwc", "cortex-a76", "ic256ih14oc256kh3ph1", "5x16_kr4_mc49_kc0_pf0_st0_vl4_gc4"),
    ("direct", "nhwc", "x86-64-v4", "g32ic32ih112oc32kh3ph1", "8x32_kr1_mc1568_kc128_pf0_st0"),
    ("direct", "nhwc", "x86-64-v3", "g32ic32ih112oc32kh3ph1", "8x8_kr1_mc1568_kc32_pf0_st0"),
    ("direct", "nhwc", "cortex-a76", "g32ic32ih112oc32kh3ph1", "8x8_kr1_mc1568_kc32_pf0_st0"),
    ("direct", "nchw", "x86-64-v4", "ic64ih56oc64kh3ph1", "6x64_kr2_mc1024_kc0_pf0_st0_vl16"),
    ("direct", "nchw", "x86-64-v3", "ic64ih56oc64kh3ph1", "5x16_kr2_mc256_kc0_pf0_st0_vl8"),
    ("direct", "nchw", "cortex-a76", "ic64ih56oc64kh3ph1", "16x4_kr4_mc204_kc0_pf0_st0_vl4"),
    ("im2col", "nchw", "x86-64-v4", "ic512ih7oc512kh3ph1", "5x64_kr2_mc128_kc512_pf0_st0_vl16"),
    ("im2col", "nchw", "x86-64-v3", "ic512ih7oc512kh3ph1", "4x16_kr2_mc32_kc512_pf0_st0_vl8"),
    ("im2col", "nchw", "cortex-a76", "ic512ih7oc512kh3ph1", "20x4_kr2_mc32_kc512_pf0_st0_vl4"),
]


@pytest.mark.parametrize(("name", "layout", "target", "descriptor", "tile"), KNOWN)
def test_known_tiles(name: str, layout: str, target: str, descriptor: str, tile: str) -> None:
    """Another choice is another kernel: it is measured before it is written here."""
    chosen = choose_tile(algorithm(name, layout), ConvShape.parse(descriptor), parse(target), None)
    assert str(chosen) == tile


@given(SIDES, SIDES, st.integers(0, 200))
def test_bands_of_winograd_hold_each_patch_once(oh: int, ow: int, most: int) -> None:
    patches = Patches.of(ConvShape.parse(f"ic4ih{oh}iw{ow}oc4oh{oh}ow{ow}kh3kw3ph1pw1"), most)
    assert (patches.rows, patches.columns) == (-(-oh // STEP), -(-ow // STEP))
    assert (patches.bands - 1) * patches.band < patches.rows <= patches.bands * patches.band
    assert not most or patches.count <= most or patches.band == 1
    assert patches.plane_stride % 2 == 1 and patches.plane_stride - patches.count in (0, 1)


@given(CHANNELS, SIDES, st.sampled_from(GENERIC), st.integers(2, 9))
def test_keys_of_records_differ_by_what_decides(channels: int, side: int, target: str, threads: int) -> None:
    request = Request(square(channels, 8, side, 3), "direct", target, tile=Tile(1, 16))
    key = Key.of(request, threads)
    assert ConvShape.parse(key.workload) == request.shape and key.target == target
    assert key.differences(Key.of(Request(request.shape, "direct", target), threads)) == {}
    assert key.differences(Key.of(request, 1)) == {"threads": f"for threads {threads}"}

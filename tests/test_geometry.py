"""The arithmetic behind kernels, without a compiler: properties that hold for every shape and tile, by hypothesis.

What counts pixels or tiles is compared with a loop over all of them.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tvmconv.algorithms import ALGORITHMS
from tvmconv.algorithms.microkernel.packing import PackedLayout
from tvmconv.algorithms.microkernel.partition import Partition
from tvmconv.algorithms.microkernel.pixel_vectors import PixelView
from tvmconv.algorithms.regions import Tiles
from tvmconv.compiler.builder import Request
from tvmconv.target.cpu_list import cpu_list
from tvmconv.target.dtype import FLOAT32
from tvmconv.target.isa import AVX2, AVX512, ISAS, NEON
from tvmconv.target.targets import TARGETS, parse
from tvmconv.target.tile import NchwTile, Tile
from tvmconv.verify.reference import conv2d
from tvmconv.workload.shape import ConvShape

SIZES = st.integers(1, 9)


@st.composite
def shapes(draw: st.DrawFn, most_channels: int = 40) -> ConvShape:
    """Small convolutions with strides, dilation, padding beyond the kernel, groups and batch."""
    g, icg, ocg = draw(st.sampled_from((1, 1, 2, 3))), draw(SIZES), draw(st.integers(1, most_channels // 3))
    axes: dict[str, int] = {}
    for axis in "hw":
        k, s, d, p = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 2)), draw(st.integers(0, 4))
        extent = (k - 1) * (d + 1) + 1
        i = draw(st.integers(max(1, extent - 2 * p), max(1, extent - 2 * p) + 8))
        sizes = {"i": i, "k": k, "s": s, "d": d, "p": p, "o": (i + 2 * p - extent) // s + 1}
        axes |= {f"{kind}{axis}": size for kind, size in sizes.items()}
    return ConvShape(g=g, mb=draw(st.integers(1, 2)), ic=g * icg, oc=g * ocg, **axes)


def taps_inside(shape: ConvShape, axis: str) -> list[int]:
    """For each output position of an axis, how many taps fall inside the input."""
    size = {kind: getattr(shape, kind + axis) for kind in "iokspd"}
    reached = [
        [at * size["s"] - size["p"] + tap * (size["d"] + 1) for tap in range(size["k"])] for at in range(size["o"])
    ]
    return [sum(0 <= place < size["i"] for place in places) for places in reached]


@given(shapes())
def test_a_descriptor_reads_back(shape: ConvShape) -> None:
    assert ConvShape.parse(str(shape)) == shape


@st.composite
def sparse_shapes(draw: st.DrawFn) -> ConvShape:
    """Convolutions of few pixels, with strides, dilation and padding that may be larger than the input."""
    most = {"i": 4, "o": 4, "k": 3, "s": 9, "d": 9, "p": 9}
    sizes = {kind + axis: draw(st.integers(int(kind not in "dp"), most[kind])) for kind in most for axis in "hw"}
    return ConvShape(ic=1, oc=1, **sizes)


@given(shapes(most_channels=9) | sparse_shapes())
def test_a_reduced_shape_has_the_same_result(shape: ConvShape) -> None:
    data = np.random.default_rng(0)
    x, w = (data.integers(1, 9, sizes).astype(np.float32) for sizes in (shape.x_shape, shape.w_shape))
    assert np.array_equal(conv2d(x, w, shape.reduced), conv2d(x, w, shape))


@given(shapes())
def test_spans_count_positions_and_taps(shape: ConvShape) -> None:
    for axis, span in zip("hw", (Tiles.of(shape, 4).rows, Tiles.of(shape, 4).columns), strict=True):
        inside = taps_inside(shape, axis)
        whole = [count == getattr(shape, f"k{axis}") for count in inside]
        assert (span.inside, span.edges) == (sum(whole), len(whole) - sum(whole))
        assert span.before == (whole.index(True) if any(whole) else len(whole))
        assert span.edge_taps == sum(count for count, is_whole in zip(inside, whole, strict=True) if not is_whole)


@given(shapes(), st.integers(1, 14))
def test_tiles_of_a_direct_convolution_hold_each_pixel_once(shape: ConvShape, mr: int) -> None:
    tiles = Tiles.of(shape, mr)
    columns, rows = tiles.columns, tiles.rows
    in_tiles = rows.inside * columns.inside - tiles.left_interior
    in_tiles += rows.edges * (columns.inside - tiles.left_row) + columns.edges * (rows.inside - tiles.left_column)
    assert in_tiles + tiles.remainder_pixels[-1] == shape.oh * shape.ow
    assert in_tiles <= tiles.edges * mr and tiles.remainder_pixels[-1] <= tiles.remainders * tiles.remainder_height
    assert tiles.remainder_height <= mr and tiles.taps(shape) >= tiles.work(shape)
    assert tiles.taps(shape) <= tiles.count * shape.taps


@given(*[st.integers(1, 5)] * 4, st.integers(1, 3), st.data())
def test_threads_share_all_tiles(repeats: int, panels: int, tiles: int, block: int, k_blocks: int, data: Any) -> None:
    partition = Partition(repeats, panels, tiles, min(block, tiles), k_blocks)
    units = partition.phase("run").units
    cuts = sorted({0, units, *data.draw(st.lists(st.integers(0, units), max_size=3))})
    done = []
    for first, last in itertools.pairwise(cuts):
        for part in range(int(partition.touched(first, last))):
            number = int(partition.block(part, first))
            begin, end = int(partition.begin(number, first)), int(partition.end(number, last))
            done += [(number, tile) for tile in range(begin, end)]
    each, ranges = partition.block_tiles, partition.row_ranges
    inside = [min(each, tiles - number * each) for number in range(ranges)]
    expected = [(b, tile) for b in range(partition.blocks) for tile in range(inside[b // panels % ranges])]
    assert sorted(done) == expected


@given(SIZES, st.integers(1, 40), SIZES, SIZES, st.integers(1, 20), st.booleans(), st.integers(0, 9))
def test_packed_weights_have_a_place_each(
    groups: int, oc: int, taps: int, channels: int, nr: int, overlap: bool, zeros: int
) -> None:
    assume(not overlap or nr <= oc)
    layout = PackedLayout(groups, oc, taps, channels, Tile(1, nr, kc=0), FLOAT32, overlap, zeros)
    starts = [int(layout.panel_start(panel)) for panel in range(layout.panels)]
    assert {start + column for start in starts for column in range(nr)} >= set(range(oc))
    assert not overlap or starts[-1] + nr == oc
    assert layout.bias_offset + groups * layout.panels * nr == layout.weights_offset
    assert layout.weights_offset + groups * layout.panels * nr * taps * channels + zeros == layout.elements


@given(shapes(), st.sampled_from((4, 8, 16)), st.integers(1, 4))
def test_vectors_of_pixels_cover_the_output(shape: ConvShape, lanes: int, vectors: int) -> None:
    tile = NchwTile(1, vectors * lanes, kr=1, block=0, kc=0, lanes=lanes)
    view = PixelView(shape, PackedLayout(1, 1, 1, 1, tile, FLOAT32), tile)
    assert view.count * lanes >= shape.oh * shape.ow
    least = -(-shape.oh * shape.ow // lanes) if view.flat else shape.oh * -(-shape.ow // lanes)
    assert (view.count, view.tiles) == (least, -(-least // vectors))
    assert view.parts * view.part_stride >= (lanes - 1) * shape.sw + 1


@given(shapes(), st.sampled_from(ALGORITHMS), st.sampled_from(("x86-64-v4", "x86-64-v3", "x86-64-v2", "cortex-a76")))
def test_a_tile_by_hand_fits_registers_and_layer(shape: ConvShape, algorithm: Any, target: str) -> None:
    assume(not algorithm.rejects(shape))
    request = Request(shape, algorithm.name, target, layout=algorithm.layout).check()
    tile, isa = request.tile, request.made_for.isa
    assert tile and isa.fits(tile, FLOAT32) and request.check() == request
    layout = algorithm.view(shape, tile).layout
    assert layout.kc * layout.k_blocks == layout.channels and layout.kc % tile.kr == 0
    assert Tile.parse(str(tile)) == tile


@given(st.sampled_from(ISAS), st.integers(1, 14), st.integers(1, 5))
def test_costs_are_bounded_by_the_ports(isa: Any, mr: int, vectors: int) -> None:
    for costs in filter(None, (isa.gemm, isa.in_order)):
        cycles = costs.cycles(isa.vector_bytes, mr, vectors)
        assert cycles >= mr * vectors / costs.ports and cycles >= costs.latency
        assert cycles <= costs.cycles(isa.vector_bytes, mr + 1, vectors)


def test_registers_of_known_tiles() -> None:
    """As the instruction sets' files say."""
    known = [
        (AVX512, Tile(6, 64), 29),
        (AVX2, Tile(6, 16), 15),
        (AVX2, Tile(4, 24), 16),
        (NEON, Tile(9, 8, a_vector=4), 30),
    ]
    assert [isa.registers_of(tile, FLOAT32) for isa, tile, _ in known] == [registers for *_, registers in known]


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=9))
def test_cpus_are_read_in_order_and_once(cpus: list[int]) -> None:
    assert cpu_list(",".join(map(str, cpus))) == tuple(dict.fromkeys(cpus))
    assert cpu_list(f"{min(cpus)}-{max(cpus)}") == tuple(range(min(cpus), max(cpus) + 1))


def test_every_target_is_found_by_its_name() -> None:
    assert [parse(target.name) for target in TARGETS] == [*TARGETS]

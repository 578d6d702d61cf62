import random

import pytest

from tvmconv.workload.shape import ConvShape


def square(**sizes: int) -> ConvShape:
    """The shape whose w equals its h."""
    return ConvShape(**sizes, **{key[0] + "w": value for key, value in sizes.items() if key[1:] == "h"})  # type: ignore[arg-type]


# Each expectation was worked out by hand from the rules in benchdnn's conv_aux.cpp.
READ = (
    ("ic64ih56oc64kh3ph1", square(ic=64, ih=56, oc=64, oh=56, kh=3, ph=1)),
    ("ic64ih56oc64kh3", square(ic=64, ih=56, oc=64, oh=54, kh=3)),
    # any order, separators, groups and batch
    ("kh3_ph1__oc8oh5_g2_mb4ih5_ic6_", square(g=2, mb=4, ic=6, ih=5, oc=8, oh=5, kh=3, ph=1)),
    # the same said twice
    ("mb1ic16oc16_ih10kh5_kh5ph7sh1", square(ic=16, ih=10, oc=16, oh=20, kh=5, ph=7)),
    # padding from the output, rounded towards zero, the odd row at the bottom
    ("ic64ih56oc64oh56kh3", square(ic=64, ih=56, oc=64, oh=56, kh=3, ph=1)),
    ("ic3ih300oc32oh150kh3sh2", square(ic=3, ih=300, oc=32, oh=150, kh=3, sh=2, ph=0)),
    ("ic256ih56oc512oh28kh1sh2", square(ic=256, ih=56, oc=512, oh=28, kh=1, sh=2, ph=0)),
    ("ic1ih9oc1oh9kh3dh1", square(ic=1, ih=9, oc=1, oh=9, kh=3, ph=2, dh=1)),
    # output from the padding
    ("ic3ih224oc64kh7sh2ph3", square(ic=3, ih=224, oc=64, oh=112, kh=7, sh=2, ph=3)),
    # both given: only the right padding gives way
    ("ic32ih7oc32oh11kh3ph2", square(ic=32, ih=7, oc=32, oh=11, kh=3, ph=2)),
    # w on its own as soon as anything is said about it: nothing is copied
    (
        "ic2ih9iw8oc3kh3kw2sh2ph1",
        ConvShape(ic=2, ih=9, iw=8, oc=3, oh=5, ow=7, kh=3, kw=2, sh=2, sw=1, ph=1, pw=0),
    ),
    (
        "mb1_g16ic16oc16_ih15oh7kh6sh2ph3_iw10ow10kw3",
        ConvShape(g=16, ic=16, ih=15, iw=10, oc=16, oh=7, ow=10, kh=6, kw=3, sh=2, sw=1, ph=3, pw=1),
    ),
    (
        "mb2_ic32oc32_ih41oh16kh10sh2ph0_iw79ow75kw5sw1pw0",
        ConvShape(mb=2, ic=32, ih=41, iw=79, oc=32, oh=16, ow=75, kh=10, kw=5, sh=2, sw=1),
    ),
    # a default of w is not said about it
    ("ic2ih9oc3kh3sh2ph1_sw1pw0dw0", square(ic=2, ih=9, oc=3, oh=5, kh=3, sh=2, ph=1)),
    # and a default of depth does not make it 3-D
    ("ic2ih9oc3kh3_sd1sh1_pd0ph1_dd0", square(ic=2, ih=9, oc=3, oh=9, kh=3, ph=1)),
)


@pytest.mark.parametrize(("text", "shape"), READ, ids=[text for text, _ in READ])
def test_reads_as_benchdnn_does(text: str, shape: ConvShape) -> None:
    assert ConvShape.parse(text) == shape


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ic1ih1oc1kh1", None),
        ("ic1ih1oc1kh1n", None),
        ("ic1ih1oc1kh1_nplain", "plain"),
        ('ic1ih1oc1kh1n"DENSENET_161:conv3_11/x1"', "DENSENET_161:conv3_11/x1"),
        ('ic1ih1oc1kh1n"with blanks kh3"', "with blanks kh3"),
    ],
)
def test_name_is_a_label(text: str, name: str | None) -> None:
    shape, unnamed = ConvShape.parse(text), ConvShape.parse("ic1ih1oc1kh1")
    assert shape.name == name
    assert (shape, hash(shape), str(shape)) == (unnamed, hash(unnamed), str(unnamed))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ph1kh3_oc64ic64ih56", "mb1ic64ih56oc64oh56kh3ph1"),
        ("g2mb3ic4ih9oc6kh3sh2dh1", "g2mb3ic4ih9oc6oh3kh3sh2ph0dh1"),
        ("g1ic4ih9iw9oc6kh3kw3ph1pw0", "mb1ic4ih9iw9oc6oh9ow7kh3kw3ph1pw0"),
        ("ic4ih9iw9oc6kh3kw3ph1pw1dw0", "mb1ic4ih9oc6oh9kh3ph1"),
    ],
)
def test_prints_the_canonical_descriptor(text: str, canonical: str) -> None:
    assert str(ConvShape.parse(text)) == canonical


def random_shape(rng: random.Random) -> ConvShape:
    g, square = rng.choice((1, 1, 2, 3)), rng.random() < 0.3
    axes = {
        axis: {
            "i": rng.randint(1, 20),
            "o": rng.randint(1, 20),
            "k": rng.randint(1, 5),
            "s": rng.choice((1, 1, 2, 4)),
            "p": rng.randint(0, 4),
            "d": rng.choice((0, 0, 2)),
        }
        for axis in "hw"
    }
    numbers = {kind + axis: axes["h" if square else axis][kind] for axis in "hw" for kind in "iokspd"}
    return ConvShape(g=g, mb=rng.randint(1, 3), ic=g * rng.randint(1, 5), oc=g * rng.randint(1, 5), **numbers)  # type: ignore[arg-type]


def test_every_shape_survives_printing() -> None:
    rng = random.Random(0)
    for shape in [random_shape(rng) for _ in range(2000)]:
        assert ConvShape.parse(str(shape)) == shape


def test_what_follows_from_the_sizes() -> None:
    shape = ConvShape.parse("g2mb3ic8ih10iw9oc6oh5ow3kh3kw2sh2sw4ph1pw1dw2")
    assert (shape.pb, shape.pr) == (4 * 2 + 3 - 10 - 1, 2 * 4 + 4 - 9 - 1)
    assert (shape.icg, shape.ocg, shape.taps, shape.m, shape.k) == (4, 3, 6, 15, 24)
    assert shape.flops == 2 * 3 * 5 * 3 * 6 * 4 * 3 * 2
    assert (shape.x_shape, shape.w_shape, shape.y_shape) == ((3, 10, 9, 8), (6, 4, 3, 2), (3, 5, 3, 6))


def test_padding_below_may_be_negative() -> None:
    assert ConvShape.parse("ic1ih56oc1oh28kh1sh2ph0").pb == -1
    assert ConvShape.parse("ic1ih9oc1oh2kh1ph0").pr == -7


@pytest.mark.parametrize(
    ("text", "depthwise"),
    [("g8ic8ih5oc8kh3", True), ("g8ic8ih5oc16kh3", False), ("g4ic8ih5oc8kh3", False), ("ic1ih5oc1kh3", False)],
)
def test_depthwise(text: str, depthwise: bool) -> None:
    assert ConvShape.parse(text).depthwise is depthwise


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("ic64ih56oc64kx3", "from 'kx3' on"),
        ("ic64 ih56oc64kh3", "from ' ih56oc64kh3' on"),
        ("icih56oc64kh3", "from 'icih56oc64kh3' on"),
        ("ic64ih56oc64kh", "from 'kh' on"),
        ("ic64ih56oc64kh3.5", "from '.5' on"),
        ("ic64ih56oc64kh3kh5", "both kh3 and kh5"),
        ("ih56oc64kh3", "ic is missing"),
        ("ic64ih56kh3", "oc is missing"),
        ("ic64oc64kh3", "ih is missing"),
        ("ic64oc64oh56kh3ph1", "ih is missing"),
        ("ic64ih56oc64", "kh is missing"),
        ("ic64ih56iw56oc64kh3", "kw is missing: w copies h only as a whole"),
        ("ic64ih56oc64kh3sw2", "iw is missing: w copies h only as a whole"),
        ("ic0ih56oc64kh3", "ic0, but ic must be at least 1"),
        ("mb0ic64ih56oc64kh3", "mb0, but mb must be at least 1"),
        ("ic64ih56oc-64kh3", "oc-64, but oc must be at least 1"),
        ("ic64ih56oc64kh3ph-1", "ph-1, but ph must be at least 0"),
        ("ic64ih56oc64oh0kh3ph1", "oh0, but oh must be at least 1"),
        ("ic64ih3oc64kh5", "oh would be -1: a kernel that spans 5 does not fit an input of 3 with 0 of padding"),
        ("ic64ih4oc64kh5sh2", "oh would be 0"),  # benchdnn divides towards zero here and runs a window that juts out
        ("ic64ih9iw4oc64kh3kw3dw1", "ow would be 0: a kernel that spans 5"),
        ("ic64ih10oc64oh5kh1", "ph would be -2"),
        ("g3ic64ih56oc66kh3", "ic is 64, but must be a multiple of the 3 groups"),
        ("g3ic66ih56oc64kh3", "oc is 64, but must be a multiple of the 3 groups"),
        ("g0ic66ih56oc64kh3", "g0, but g must be at least 1"),
        ("ic16oc16_iw80ow80kw31pw15", "1-D convolutions are not supported"),
        ("ic16oc16_id5ih5oh5kd3kh3", "3-D convolutions are not supported"),
        ("ic16oc16_id5kd3", "3-D convolutions are not supported"),
        ("ic16oc16ih2147483648kh3", "ih is 2147483648, but must be from 1 to 2147483647"),
        (f"ic16oc16ih{'9' * 5000}kh3", "a number of 5000 digits"),
        ("ic2048oc1ih32768kh1", "the input would have 1x32768x32768x2048 elements"),
        ("ic2097152oc1048576ih1kh1", "the weights would have 1048576x2097152x1x1 elements"),
        ("ic1oc1ih1kh1oh2000000ph0", "the output would have 1x2000000x2000000x1 elements"),
    ],
)
def test_refuses_with_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ValueError) as refusal:
        ConvShape.parse(text)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_shape_is_checked_however_it_is_made() -> None:
    with pytest.raises(ValueError, match="oh is 0, but must be from 1"):
        square(ic=1, ih=1, oc=1, oh=0, kh=1)

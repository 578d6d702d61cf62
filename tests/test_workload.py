import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.layers import distinct_layers, macs, no_warning
from tvmconv.support import input_file
from tvmconv.workload import networks
from tvmconv.workload.resolve import Layer, resolve
from tvmconv.workload.shape import ConvShape

PROBLEM = "ic8ih5oc8kh3ph1"
SHAPE = ConvShape.parse(PROBLEM)


def write(folder: Path, **files: str) -> str:
    """Write the files and return the workload that reads the first."""
    for name, text in files.items():
        (folder / name).write_text(text)
    return f"@{folder / next(iter(files))}"


def summary(layers: list[Layer]) -> list[str]:
    """A row in short: its shape, or the words of its rejection behind file and line."""
    return [layer.reason.split(": ", 1)[1] if layer.reason else str(layer.shape) for layer in layers]


# Counts and multiply-adds as published for the models, the fully connected layers left out.
@pytest.mark.parametrize(
    ("network", "distinct", "convolutions", "gmac"),
    [
        ("resnet18", 11, 20, 1.814),
        ("resnet50", 23, 53, 4.087),
        ("squeezenet1.0", 22, 26, 0.819),
        ("squeezenet1.1", 18, 26, 0.349),
        ("vgg16", 9, 13, 15.347),
        ("alexnet", 5, 5, 0.656),
        ("googlenet", 49, 57, 1.497),
        ("inception_v3", 43, 94, 5.711),
        ("mobilenet_v1", 19, 27, 0.568),
        ("mobilenet_v2", 30, 52, 0.299),
    ],
)
def test_networks_have_their_known_size(network: str, distinct: int, convolutions: int, gmac: float) -> None:
    layers = distinct_layers(network, distinct, convolutions)
    assert macs(layers) / 1e9 == pytest.approx(gmac, abs=0.0005)
    assert {(layer.source, layer.reason) for layer in layers} == {(network, None)}


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_sizes_in_a_network_belong_together(network: str) -> None:
    for layer in networks.layers(network):
        without_output = re.sub(r"o[hw]\d+", "", str(layer.shape))
        assert ConvShape.parse(without_output) == layer.shape


def test_one_layer_of_a_network() -> None:
    (layer,) = resolve(["resnet18/layer3.0.conv2"], no_warning)
    assert layer == Layer(
        "resnet18/layer3.0.conv2", ConvShape.parse("ic256ih14oc256kh3ph1"), name="layer3.0.conv2", count=3
    )


def test_descriptors_keep_order_source_and_name() -> None:
    named = PROBLEM + 'n"a/b"'
    assert resolve([named, "resnet18/conv1", PROBLEM], no_warning) == [
        Layer(named, SHAPE, name="a/b"),
        Layer("resnet18/conv1", ConvShape.parse("ic3ih224oc64kh7sh2ph3"), name="conv1"),
        Layer(PROBLEM, SHAPE),
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (f"# a comment\n\n  {PROBLEM} # and another\n", [str(SHAPE)]),
        (f"{PROBLEM} {PROBLEM}", [str(SHAPE)] * 2),
        (f'{PROBLEM}n"two words # one name"', [str(SHAPE)]),
        (f"\ufeff{PROBLEM}\r\n", [str(SHAPE)]),
        # --mb holds until changed, 0 keeps the descriptor's, several values are several rows
        (f"--mb=4\n{PROBLEM}\n--mb=0 mb2{PROBLEM}", ["mb4ic8ih5oc8oh5kh3ph1", "mb2ic8ih5oc8oh5kh3ph1"]),
        (f"--mb=2,3 {PROBLEM}", ["mb2ic8ih5oc8oh5kh3ph1", "mb3ic8ih5oc8oh5kh3ph1"]),
        (f"--mb=4 --reset {PROBLEM}", [str(SHAPE)]),
        (f"--mb=4 --mb= {PROBLEM}", [str(SHAPE)]),
        (f"--mb=x {PROBLEM}", ["--mb takes whole numbers, not 'x'", str(SHAPE)]),
        (f"--dir=FWD_I,FWD_D {PROBLEM}", [str(SHAPE)]),
        (f"--dir=bwd_d {PROBLEM}", ["direction bwd_d is not supported: only the forward ones are"]),
        (
            f"--dir=FWD_B,BWD_W {PROBLEM}",
            [str(SHAPE), "direction BWD_W is not supported: only the forward ones are"],
        ),
        (f"--dir=BWD_D --reset {PROBLEM}", [str(SHAPE)]),
        (f"--dt=f32:f32:f32 {PROBLEM} --cfg=f32 {PROBLEM}", [str(SHAPE)] * 2),
        (
            f"--dt=f32,bf16, \\\n   u8:s8:f32\n{PROBLEM}",
            [
                str(SHAPE),
                "data type bf16 is not supported: only f32 is",
                "data type u8:s8:f32 is not supported: only f32 is",
            ],
        ),
        (f"--mb=\\\n2 {PROBLEM}", ["mb2ic8ih5oc8oh5kh3ph1"]),
        (f"--cfg=u8s8u8 {PROBLEM}", ["data type u8s8u8 is not supported: only f32 is"]),
        # only ASCII digits are numbers, and one bad word costs no other
        *(
            (f"--mb={bad} {PROBLEM}", [f"--mb takes whole numbers, not {bad!r}", str(SHAPE)])
            for bad in ("٣", "1_0", "+3", "-1", "2,x")
        ),
        (
            f"--mb={'9' * 5000} {PROBLEM}",
            ["5005 characters are no problem or option", str(SHAPE)],
        ),
        (
            f"--mb={'9' * 20} {PROBLEM}",
            [f"--mb: {'9' * 20!r} is above 2147483647, the largest number that is taken", str(SHAPE)],
        ),
        (f"{'ic8' * 2000} {PROBLEM}", ["6000 characters are no problem or option", str(SHAPE)]),
    ],
)
def test_batch_file(tmp_path: Path, text: str, rows: list[str]) -> None:
    assert summary(resolve([write(tmp_path, batch=text)], no_warning)) == rows


def test_batch_rows_name_their_word_and_their_place(tmp_path: Path) -> None:
    text = f'# top\n{PROBLEM}n"first"\n\nic8ih2oc8kh5 ic1iw5oc1kw3 {PROBLEM} --dir=BWD_D\n{PROBLEM}n"last"\n'
    rows = resolve([write(tmp_path, batch=text)], no_warning)
    assert [(row.source, row.name) for row in rows] == [
        (f'{PROBLEM}n"first"', "first"),
        ("ic8ih2oc8kh5", None),
        ("ic1iw5oc1kw3", None),
        (PROBLEM, None),
        (f'{PROBLEM}n"last"', "last"),
    ]
    places = [row.reason and row.reason.split(": ")[0] for row in rows]
    assert places == [None, f"{tmp_path}/batch:4", f"{tmp_path}/batch:4", None, f"{tmp_path}/batch:5"]
    assert "1-D" in (rows[2].reason or "")
    assert [row.shape is None for row in rows] == [False, True, True, False, False]


def test_included_files_are_found_beside_the_including_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "deep").write_text(PROBLEM)
    workload = write(
        tmp_path,
        outer=f"--mb=2 --batch=inner.txt {PROBLEM} --batch=inner/middle",
        **{"inner.txt": f"{PROBLEM} --mb=3", "inner/middle": "--batch=deep --batch=deep"},
    )
    monkeypatch.chdir("/")
    assert [row.shape.mb for row in resolve([workload], no_warning) if row.shape] == [2, 3, 3, 3]


def test_settings_end_with_the_workload(tmp_path: Path) -> None:
    first, second = write(tmp_path, a=f"{PROBLEM} --mb=7"), write(tmp_path, b=PROBLEM)
    assert summary(resolve([first, second], no_warning)) == [str(SHAPE)] * 2


def test_other_options_are_named_once(tmp_path: Path) -> None:
    text = f"--stag=axb {PROBLEM}\n--stag=any -v5\n--attr-post-ops=relu {PROBLEM}"
    warnings: list[str] = []
    rows = resolve([write(tmp_path, batch=text), write(tmp_path, batch=text)], warnings.append)
    assert [row.reason for row in rows] == [None] * 4
    path = tmp_path / "batch"
    assert warnings == [
        f"{path}:1: --stag is ignored",
        f"{path}:2: -v5 is ignored",
        f"{path}:3: --attr-post-ops is ignored",
    ]


@pytest.mark.parametrize(
    ("workload", "says"),
    [
        ("", "the descriptor is empty"),
        ("ic64ih56", "oc is missing"),
        ("resnet81", "unknown network 'resnet81', did you mean resnet18? (known: resnet18, resnet50"),
        ("zzz", "mobilenet_v1, mobilenet_v2); a descriptor looks like ic64ih56oc64"),
        ("resnet81/conv1", "unknown network 'resnet81', did you mean resnet18?"),
        ("resnet18/layer3.0.conv3", "unknown resnet18 layer 'layer3.0.conv3', did you mean layer3.0.conv2?"),
        ("resnet18/", "unknown resnet18 layer '' (`tvmconv list layers resnet18` names all)"),
        ("@/no/such/file", "cannot read the batch file /no/such/file: No such file or directory"),
        ("@", "cannot read the batch file .: Is a directory"),
        (__file__, f"write @{__file__} to read it as a benchdnn batch file"),
    ],
)
def test_refuses_with_one_sentence(workload: str, says: str) -> None:
    with pytest.raises(ValueError) as refusal:
        resolve([workload], no_warning)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"empty": "# nothing\n--mb=2\n"}, "holds no problem: write one descriptor a line"),
        ({"a": "--batch=b", "b": f"{PROBLEM} --batch=a"}, "includes itself: "),
        ({"a": f"{PROBLEM} --batch=gone"}, "cannot read the batch file "),
        ({"a": f"{PROBLEM} --batch={'b' * 4000}"}, "File name too long"),
        ({"a": f"{PROBLEM} --batch=b\0"}, "a file's name has no NUL"),
        ({f"a{level}": f"--batch=a{level + 1} " * 2 for level in range(10)} | {"a10": "#"}, "after 1000 other files"),
        ({f"a{level}": f"--batch=a{level + 1}" for level in range(20)}, "more than 16 levels deep"),
        pytest.param(
            {"a": f"--mb={'1,' * 400} " + f"{PROBLEM} " * 300},
            "asks for more than 100000 problems",
            marks=pytest.mark.slow,
        ),
        ({"a": "--batch=b " * 5, "b": "#" * 1_000_000}, "has more than 4194304 bytes"),
    ],
)
def test_refuses_batch_files_that_lead_nowhere(tmp_path: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        resolve([write(tmp_path, **files)], no_warning)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "nothing was written to the pipe within 0.1 s"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, but a file or a pipe is expected"),
        (Path.mkdir, "Is a directory"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**40), "has more than 4194304 bytes"),
    ],
)
def test_refuses_what_is_no_batch_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], says: str
) -> None:
    monkeypatch.setattr(input_file, "_PIPE_SECONDS", 0.1)
    make(tmp_path / "batch")
    for workload in (f"@{tmp_path}/batch", write(tmp_path, outer="--batch=batch")):
        with pytest.raises(ValueError, match=f"{tmp_path}/batch.*{says}"):
            resolve([workload], no_warning)


@pytest.mark.parametrize(
    ("writes", "says"), [(PROBLEM, None), ("yes", "more than"), ("sleep", "not closed within 0.5 s")]
)
def test_reads_a_batch_from_a_pipe(monkeypatch: pytest.MonkeyPatch, writes: str, says: str | None) -> None:
    monkeypatch.setattr(input_file, "_PIPE_SECONDS", 0.5 if writes == "sleep" else 20.0)
    commands = {"yes": ["yes"], "sleep": ["sh", "-c", f"echo {PROBLEM}; exec sleep 20"]}
    with subprocess.Popen(commands.get(writes, ["echo", PROBLEM]), stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        workload = f"@/dev/fd/{writer.stdout.fileno()}"
        if says:
            with pytest.raises(ValueError, match=says):
                resolve([workload], no_warning)
        else:
            assert summary(resolve([workload], no_warning)) == [str(SHAPE)]
        writer.kill()


def test_a_nul_costs_one_row(tmp_path: Path) -> None:
    bad, good = resolve([write(tmp_path, batch=f"{PROBLEM}\0 {PROBLEM}")], no_warning)
    assert "is not understood from '\\x00' on" in (bad.reason or "") and good.shape == SHAPE


def test_a_word_that_never_ends(tmp_path: Path) -> None:
    """A backslash joins the pieces."""
    (row,) = resolve([write(tmp_path, batch="1\\\n" * 300_000)], no_warning)
    assert row.reason == f"{tmp_path}/batch:1: 300000 characters are no problem or option"


def test_refuses_a_binary_batch_file(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\x7fELF\xff\xfe")
    with pytest.raises(ValueError, match="is not a text file"):
        resolve([f"@{tmp_path / 'binary'}"], no_warning)

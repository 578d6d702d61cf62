"""Kernel files: nothing in them is trusted before it is checked, and what cannot be used is one sentence at load."""

from __future__ import annotations

import copy
import json
import os
import pickle
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tvmconv
from tvmconv.runtime.kernel import Kernel, load, read
from tvmconv.runtime.kernel_file.soname import named
from tvmconv.target.isa import AVX2
from tvmconv.verify.reference import Case, integer_case
from tvmconv.workload.shape import ConvShape

SHAPE = ConvShape.parse("mb2ic12ih9oc40kh3ph1")


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return tvmconv.build(SHAPE, "indirect")


@pytest.fixture(scope="module")
def case() -> Case:
    return integer_case(SHAPE, seed=5)


def test_a_replaced_file_is_loaded_anew(tmp_path: Path) -> None:
    path = tmp_path / "layer.so"
    for tile in ("6x16", "4x16", "2x32"):
        tvmconv.build("ic16ih8oc16kh3ph1", "indirect", tile=tile).save(path)
        kernel = tvmconv.load(path)
        case = integer_case(kernel.shape)
        assert kernel.description["tile"].startswith(tile)
        np.testing.assert_array_equal(kernel.prepare(case.w)(case.x), case.plain)


Damage = Callable[[bytes], bytes]

NO_KERNELS: list[tuple[Damage, str]] = [
    (lambda content: content[: len(content) // 2], "truncated"),
    (lambda content: b"", "not a kernel file"),
    (lambda content: b"text, not a program", "not a kernel file"),
    (lambda content: content.replace(b".tvmconv\0", b".tvmcxnv\0"), "not made by tvmconv"),
    (lambda content: content.replace(b'"schema": 1', b'"schema": 9'), "schema 9"),
]
FOREIGN: list[tuple[Damage, str]] = [
    (lambda content: content.replace(b'"ssse3"', b'"sse9x"'), r'lacks sse9x; build it with target="native"'),
    (lambda content: content.replace(b'"x86_64-unk', b'"aarch6-unk'), "was made for aarch6; this machine is "),
]


@pytest.mark.parametrize(("damage", "sentence"), [*NO_KERNELS, *FOREIGN])
def test_load_refuses_what_cannot_run_here(kernel: Kernel, tmp_path: Path, damage: Damage, sentence: str) -> None:
    path = tmp_path / "layer.so"
    path.write_bytes(damage(kernel.path.read_bytes()))
    with pytest.raises(ValueError, match=sentence) as error:
        load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("damage", "sentence"), FOREIGN)
def test_a_kernel_for_another_machine_can_be_kept(
    kernel: Kernel, case: Case, tmp_path: Path, damage: Damage, sentence: str
) -> None:
    """Nothing but running it needs the machine."""
    (tmp_path / "layer.so").write_bytes(damage(kernel.path.read_bytes()))
    foreign = read(tmp_path / "layer.so")
    foreign.save(tmp_path / "copy.so")
    assert (tmp_path / "copy.so").read_bytes() == named((tmp_path / "layer.so").read_bytes(), "copy.so")
    assert foreign.header() == kernel.header()
    assert (foreign.packed_bytes, foreign.workspace_bytes()) == (kernel.packed_bytes, kernel.workspace_bytes())
    with pytest.raises(ValueError, match=sentence):
        foreign.prepare(case.w)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="no other target of this machine's architecture")
def test_build_for_a_machine_with_more_features(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmconv.runtime.kernel.host_features", lambda: frozenset(AVX2.features))
    kernel = tvmconv.build(SHAPE, "indirect", target="x86-64-v4")
    kernel.save(tmp_path / "layer.so")
    for refused in (lambda: kernel.prepare(case.w), lambda: load(tmp_path / "layer.so")):
        with pytest.raises(ValueError, match=r"was made for x86-64-v4, and this machine lacks avx512f, .*avx512vl;"):
            refused()


def described(kernel: Kernel, path: Path, description: object) -> Path:
    """A copy of a kernel's file with another description, as text or as a value."""
    content, old = kernel.path.read_bytes(), json.dumps(kernel.description).encode()
    text = description if isinstance(description, bytes) else json.dumps(description).encode()
    assert content.count(old) == 1 and len(text) <= len(old)
    path.write_bytes(content.replace(old, text.ljust(len(old), b"\0")))
    return path


MISSING = object()
CRAFTED: list[tuple[str, Any, str]] = [
    ("packed_bytes", 0, "says packed_bytes 0"),
    ("packed_bytes", 4, "its packed_bytes does not fit its description"),
    ("packed_bytes", 2**62, "its packed_bytes does not fit its description"),
    ("packed_bytes", 2**64, "says packed_bytes 18446744073709551616"),
    ("packed_bytes", True, "says packed_bytes True"),
    ("packed_bytes", float("nan"), "says packed_bytes nan"),
    ("workspace", {}, "its workspace_bytes does not fit its description"),
    ("workspace", {"indirection": -4}, "says workspace {'indirection': -4}"),
    ("workspace", {"a": 2**62, "b": 2**62}, "says workspace {"),
    ("workspace", [], "says workspace []"),
    ("prefix", "a b", "says prefix 'a b'"),
    ("prefix", f"{SHAPE}_direct", "says prefix "),
    ("prefix", f"{SHAPE}_indirect_", "no function describe"),
    ("workload", "ic1", "says workload 'ic1'"),
    ("workload", f"{SHAPE}sh1", "says workload "),
    ("workload", f"{SHAPE}".replace("mb2", "mb3"), "says x_shape [2, 9, 9, 12], and workload mb3"),
    ("x_shape", [1, 2, 3], "says x_shape [1, 2, 3]"),
    ("y_shape", 5, "says y_shape 5"),
    ("layout", "nchw", "says x_shape"),
    ("layout", {}, "says layout {}"),
    ("algorithm", "direct", "says prefix "),
    ("phases", [], "says phases []"),
    ("phases", ["run", "run"], "says phases ['run', 'run']"),
    ("phases", [[]], "says phases [[]]"),
    ("target", "a\nb", r"says target 'a\nb'"),
    ("triple", 5, "says triple 5"),
    ("triple", MISSING, "its description has no triple"),
    ("features", {"a": 1}, "says features {'a': 1}"),
    ("versions", {}, "says versions {}"),
    ("schema", True, "has a description of schema True; this tvmconv reads schema 1"),
    ("schema", MISSING, "its description has no schema"),
]
NO_DESCRIPTIONS: list[tuple[bytes, str]] = [
    (b"[]", "its description has no schema"),
    (b"[" * 600, "its description is no JSON"),
    (b'{"schema": ' + b"9" * 600 + b"}", "has a description of schema 99999"),
    (b"\xff\xfe", "its description is no JSON"),
]


@pytest.mark.parametrize(("field", "value", "sentence"), CRAFTED)
def test_a_crafted_description(kernel: Kernel, tmp_path: Path, field: str, value: Any, sentence: str) -> None:
    """Refused before anything is written: packed_bytes too small would have pack write beyond its array."""
    said = {**kernel.description, "features": [], "versions": {"tvmconv": "0"}}
    changed = {name: each for name, each in {**said, field: value}.items() if each is not MISSING}
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        load(described(kernel, tmp_path / "layer.so", changed))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize(("text", "sentence"), NO_DESCRIPTIONS)
def test_a_section_without_a_description(kernel: Kernel, tmp_path: Path, text: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        load(described(kernel, tmp_path / "layer.so", text))


def test_two_kernels_of_one_name(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = b"\0".join([json.dumps(kernel.description).encode()] * 2)
    monkeypatch.setattr("tvmconv.runtime.kernel_file.elf.section", lambda path, name: twice)
    with pytest.raises(ValueError, match="it describes one kernel twice"):
        load(kernel.path)


FLIPS = """
import os, random, signal, sys
from pathlib import Path
import numpy as np
from elftools.elf.elffile import ELFFile
import tvmconv
from tvmconv.verify.reference import integer_case

source = Path(sys.argv[1])
case = integer_case(tvmconv.load(source).shape)
with source.open("rb") as file:
    elf = ELFFile(file)
    section = elf.get_section_by_name(".tvmconv")
    tables = [(elf[f"e_{table}off"], elf[f"e_{table}num"] * elf[f"e_{table}entsize"]) for table in ("ph", "sh")]
    places = [(section["sh_offset"], section["sh_size"]), (0, 64), *tables]
content, draw = source.read_bytes(), random.Random(0)

def works_or_is_refused(path):
    try:
        kernel = tvmconv.load(path)
    except ValueError as error:
        return "\\n" not in str(error)
    kernel.header(), repr(kernel)
    return np.array_equal(kernel.prepare(case.w)(case.x), case.plain)

for turn in range(120):
    start, size = places[turn % 4]
    place, bits = start + draw.randrange(size), draw.randrange(1, 256)
    path = Path(sys.argv[2]) / f"{turn}.so"
    path.write_bytes(content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :])
    child = os.fork()
    if not child:
        signal.alarm(10)
        os._exit(not works_or_is_refused(path))
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"byte {place:#x} xor {bits}: status {status}"
"""


def test_flipped_bytes(kernel: Kernel, tmp_path: Path) -> None:
    """Of the description, the ELF header, the program headers and the section headers."""
    done = subprocess.run(
        [sys.executable, "-c", FLIPS, kernel.path, tmp_path], timeout=120, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.truncate(os.open(tmp_path / "sparse", os.O_CREAT | os.O_WRONLY), 1 << 40)
    for path, sentence in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is a pipe or a device"),
        (Path("/dev/zero"), "is a pipe or a device"),
        (tmp_path / "sparse", "is not a kernel file"),
    ):
        with pytest.raises(ValueError, match=sentence):
            load(path)


def test_the_named_file_is_the_one_that_is_loaded(
    kernel: Kernel, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the dynamic linker expands $ORIGIN in a path, and looks for a bare name in its own folders."""
    monkeypatch.chdir(tmp_path)
    for name in ("$ORIGIN/layer.so", "${LIB}:$PLATFORM.so", "layer.so"):
        Path(name).parent.mkdir(exist_ok=True)
        kernel.save(name)
        loaded = load(name)
        np.testing.assert_array_equal(loaded.prepare(case.w)(case.x), case.plain)
        assert str(Path(name).absolute()) in Path("/proc/self/maps").read_text()


def test_a_file_that_is_replaced_before_it_is_loaded(kernel: Kernel, tmp_path: Path) -> None:
    kernel.save(tmp_path / "layer.so")
    early = read(tmp_path / "layer.so")
    tvmconv.build(SHAPE, "indirect", tile="2x16").save(tmp_path / "layer.so")
    with pytest.raises(ValueError, match="its describe does not fit its description"):
        early.open()


MAKE_ANOTHER: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("another", MAKE_ANOTHER.values(), ids=MAKE_ANOTHER)
def test_kernels_and_convs_are_copied(kernel: Kernel, case: Case, another: Callable[[Any], Any]) -> None:
    conv = kernel.prepare(case.w, case.bias, case.clamp)
    made, made_of_conv = another(kernel), another(conv)
    assert (made.description, made.threads) == (kernel.description, kernel.threads)
    np.testing.assert_array_equal(made.prepare(case.w)(case.x), case.plain)
    np.testing.assert_array_equal(made_of_conv(case.x), case.fused)
    assert not np.may_share_memory(made_of_conv._own_workspace, conv._own_workspace)


def test_a_pickle_needs_no_file(kernel: Kernel, case: Case, tmp_path: Path) -> None:
    """Another process, another cache, the file gone; two threads stay two."""
    kernel.save(tmp_path / "layer.so")
    cpus = [min(os.sched_getaffinity(0))] * 2
    conv = load(tmp_path / "layer.so").prepare(case.w, threads=2, cpus=cpus)
    (tmp_path / "conv").write_bytes(pickle.dumps((conv, case)))
    (tmp_path / "layer.so").unlink()
    program = """
import pickle, sys
import numpy as np
conv, case = pickle.load(open(sys.argv[1], "rb"))
np.testing.assert_array_equal(conv(case.x), case.plain)
assert conv.threads == 2 and "tvm" not in sys.modules
"""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two threads need two CPUs")
    subprocess.run([sys.executable, "-c", program, tmp_path / "conv"], check=True, timeout=60)


def test_what_a_kernel_is_called(kernel: Kernel, case: Case) -> None:
    target = kernel.description["target"]
    text = f"<tvmconv.Kernel of {SHAPE} by indirect, nhwc, for {target}: {kernel.path}>"
    assert repr(kernel) == text
    assert repr(kernel.prepare(case.w)) == f"<tvmconv.Conv on 1 thread of {text}>"

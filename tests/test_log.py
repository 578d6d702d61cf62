"""Tuning logs: files that survive their writers, what is refused and why, and which record counts."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tuning import KEY, WORKLOAD, key, record, written
from tvmconv import cli
from tvmconv.compiler.builder import Request
from tvmconv.database.log import SHIPPED, Key, Log, Versions, folders, new_log
from tvmconv.database.log.check import unusable
from tvmconv.database.log.merge import merged
from tvmconv.support.jsonlines import BadFile
from tvmconv.target.tile import Tile
from tvmconv.workload.shape import ConvShape

# Appends records for ever, each with the number that it is told and its own count; says so after each.
_WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.tuning import record
from tvmconv.database.log import Log

log, base = Log(Path(sys.argv[1])), record()
for trial in range(int(sys.argv[3])):
    log.append(replace(base, seed=int(sys.argv[2]), trial=trial))
    print(trial, flush=True)
"""


def writer(path: Path, seed: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(path), str(seed), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.jsonl"
    records = [record(protocol={"samples": 3}), record("4x16", None, stage="final", default=True), record(device="µ")]
    assert Log(path).records() == []
    written(path, *records)
    assert Log(path).records() == records
    line = json.loads(path.read_text().splitlines()[0])
    assert (line["key"]["workload"], line["key"]["threads"], line["key"]["epilogue"]) == (WORKLOAD, 1, "bias+clamp")
    assert line["versions"] == vars(Versions.here())


def test_the_versions_are_those_of_the_compiler() -> None:
    import tvm

    assert Versions.here().llvm == str(tvm.target.codegen.llvm_version_major())


@pytest.mark.parametrize("cut", [1, 2, 300, len(record().line()) - 1])
def test_a_torn_last_line_is_repaired(tmp_path: Path, cut: int) -> None:
    path, notes = tmp_path / "log.jsonl", []
    whole = written(path, record(trial=1), record(trial=2)).read_bytes()
    path.write_bytes(whole[:-cut])
    log = Log(path, notes.append)
    assert [found.trial for found in log.records()] == [1]
    assert path.read_bytes() == whole[:-cut]
    log.append(record(trial=3))
    assert [found.trial for found in log.records()] == [1, 3]
    assert notes == [
        f"{path}:2 was cut off in the middle of writing, and is {fate}" for fate in ("left out", "removed")
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("some text", "{}", "[1]", "", '{"kind": "result"}', '{"key": {"workload": "x"}}'),
        record().line().decode().strip().replace('"threads": 1', '"threads": "1"'),
        record().line().decode().strip().replace('"status": "ok"', '"status": "good"'),
        record().line().decode().strip().replace('"2x16"', '"2by16"'),
        record().line().decode().strip().replace('"median": 0.001', '"median": NaN'),
        json.dumps(json.loads(record().line()) | {"protocol": None}),
        json.dumps(json.loads(record().line()) | {"seconds": [1]}),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    path = written(tmp_path / "log.jsonl", record())
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(BadFile, match=r"log\.jsonl:2 is not a tuning record: remove the line"):
        Log(path).records()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("a letter to my mother")
    for use in (lambda: Log(path).append(record()), lambda: Log(path).records()):
        with pytest.raises(BadFile, match=r"log\.jsonl is not a tuning log"):
            use()
    assert path.read_text() == "a letter to my mother"


def test_a_killed_writer_loses_nothing_that_it_had_written(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    process = writer(path, 7, 10**6)
    assert process.stdout
    said = [process.stdout.readline() for _ in range(5)]
    process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait(30)
    written(path, record(seed=8))
    found = Log(path).records()
    assert [item.trial for item in found if item.seed == 7][: len(said)] == [*range(len(said))]
    assert found[-1].seed == 8


def test_two_may_write_at_once(tmp_path: Path) -> None:
    path, count = tmp_path / "log.jsonl", 60
    processes = [writer(path, seed, count) for seed in (1, 2)]
    for process in processes:
        process.communicate(timeout=60)
    found = Log(path).records()
    assert {seed: [item.trial for item in found if item.seed == seed] for seed in (1, 2)} == {
        1: [*range(count)],
        2: [*range(count)],
    }


def test_a_merge_loses_nothing_that_is_written_meanwhile(tmp_path: Path) -> None:
    path, count = written(tmp_path / "log.jsonl", record(seed=0)), 60
    process = writer(path, 1, count)
    while process.poll() is None:
        assert cli.main(["log", "merge", "-q", "-o", str(path), str(path)]) == 0
    assert [item.trial for item in Log(path).records() if item.seed == 1] == [*range(count)]


def test_a_log_under_two_names_is_merged(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", record())
    (tmp_path / "other.jsonl").hardlink_to(path)
    assert cli.main(["log", "merge", "-q", "-o", str(path), str(path), str(tmp_path / "other.jsonl")]) == 0
    assert len(Log(path).records()) == 1


def test_a_full_disk_leaves_no_half_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "log.jsonl", record())
    before, write, room = path.read_bytes(), os.write, [100, 0]

    def full(descriptor: int, data: bytes) -> int:
        if not (most := room.pop(0)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:most])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        written(path, record())
    assert error.value.filename == str(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"status": "ok", "seconds": None, "gflops": None}, "has its time"),
        ({"status": "error"}, "has no time"),
        ({"stage": "last"}, "its stage one of"),
        ({"tile": "big"}, "is not MRxNR"),
        ({"seconds": {"median": 1.0}}, "median, p20, p80, n"),
        ({"seconds": {"median": 0.0, "p20": 1.0, "p80": 1.0, "n": 1}}, "all above 0"),
    ],
)
def test_a_record_cannot_contradict_itself(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        record(**change)


def test_a_key_is_of_all_that_decides_but_the_tile() -> None:
    shape = ConvShape.parse(WORKLOAD)
    asked = Request(shape, "indirect", "x86-64-v3")
    assert Key.of(asked, 2) == Key.of(asked.check(), 2) == Key.of(replace(asked, tile=Tile.parse("4x16")), 2)
    assert Key.of(asked, 2).differences(Key.of(asked, 1)) == {"threads": "for threads 2"}
    assert Key.of(Request(shape, "direct", layout="nchw"), 1).layout == "nchw"
    assert Key.of(Request(shape, target="pixel6/big"), 1).mcpu == "cortex-x1"


OLD = replace(Versions.here(), llvm="21")
NEW_SCHEMA = replace(Versions.here(), schema=99)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"versions": OLD}, "LLVM 21"),
        ({"key": key(target="z80")}, "unknown target"),
        ({"key": key(mcpu="skylake")}, "the core skylake"),
        ({"key": key(features=(*KEY.features, "amx"))}, "CPU features .* amx"),
        ({"key": Key.of(Request(ConvShape.parse(WORKLOAD), target="pixel6"), 1)}, "cannot run pixel6"),
        ({"key": key(algorithm="gemm")}, "1x1 kernels"),
        ({"key": key(workload=WORKLOAD[3:])}, "descriptor is"),
    ],
)
def test_what_cannot_be_used_here(changes: dict[str, Any], sentence: str | None) -> None:
    reason = unusable(record(**changes))
    assert reason is sentence or re.search(str(sentence), str(reason))


def test_merging_keeps_each_once_in_order_of_time(tmp_path: Path) -> None:
    a, b, c = (record(trial=trial, time=f"2026-01-0{day}") for trial, day in ((1, 3), (2, 1), (3, 1)))
    (tmp_path / "all.jsonl").write_bytes(b"".join(merged([a, b, c, a])))
    assert Log(tmp_path / "all.jsonl").records() == [b, c, a]


def test_where_logs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert new_log("pixel6/big", "resnet18") == tmp_path / "tvmconv/tuning_logs/pixel6_big/resnet18.jsonl"
    assert new_log("native", "models/a.onnx", tmp_path).name == "models_a.onnx.jsonl"
    assert folders() == (tmp_path / "tvmconv/tuning_logs", SHIPPED)
    assert folders(Path("here")) == (Path("here"), SHIPPED)
    assert SHIPPED.is_dir()
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert folders()[0] == Path("/home/me/.local/share/tvmconv/tuning_logs")

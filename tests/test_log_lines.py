"""Tuning logs with anything in them, or that are no files: what is wrong is named, and nothing else is lost."""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tuning import KEY, WORKLOAD, record, written
from tvmconv import cli
from tvmconv.database.log import Log, Logs, locked
from tvmconv.database.log.format import line


def with_field(place: str, text: str) -> str:
    """A record's line in which the field, "key.threads" for example, has another text of JSON."""
    content = json.loads(record().line())
    part = content
    *outer, last = place.split(".")
    for name in outer:
        part = part[name]
    part[last] = "HERE"
    return json.dumps(content).replace('"HERE"', text)


# Fields, and texts of JSON that none of them can have.
DAMAGES = [
    (("seconds.median", "seconds.n", "gflops", "trial", "key.threads", "tile"), "1" + "0" * 400),
    (("seconds.p20", "gflops", "trial", "protocol", "protocol.a", "reason", "versions.space"), "NaN"),
    (("seconds.median", "gflops", "protocol.a", "trial", "key.features"), "1e999"),
    (("seconds.median", "gflops", "key.threads"), "-0"),
    (("seconds.median", "gflops"), "5e-324"),
    (("key.features", "protocol", "seconds", "tile", "versions", "key"), '[["x"]]'),
    (("key.workload", "key.mcpu", "tile", "reason", "device", "cpu", "time", "searcher", "protocol.a"), '"\\ud800"'),
    (("key.workload", "cpu", "time", "device"), r'"\u001b[2J"'),
    (("protocol", "protocol.a", "reason", "new"), "[" * 10_000 + "]" * 10_000),
    (("protocol.a", "new"), '{"a":' * 900 + "1" + "}" * 900),
    (("key", "versions", "seconds", "protocol", "default", "trial", "stage", "status"), '"text"'),
    (("key.features", "tile", "default", "cpu", "time", "versions.tvm", "protocol"), "1"),
    (("trial", "key.threads", "seed", "versions.schema"), "true"),
    (("tile",), f'"{"9" * 50}x16"'),
]


PLACES = sorted({place for places, _ in DAMAGES for place in places} - {"new"})
VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(-2, 20), st.floats(), st.text()),
    *(st.lists(st.text(max_size=3), max_size=3), st.dictionaries(st.sampled_from(("median", "n")), st.integers())),
)


@settings(max_examples=300)
@given(st.sampled_from(PLACES), VALUES)
def test_the_quick_reader_takes_only_what_the_thorough_one_takes(place: str, value: Any) -> None:
    """Its rules are types for msgspec, those of the other the table of fields."""
    text = with_field(place, json.dumps(value)).encode()
    with suppress(*line._UNREADABLE):
        quick = line._decoded(text)
        assert quick == line._parse_whole(text)


@pytest.mark.parametrize(
    ("place", "text"),
    [(place, text) for places, text in DAMAGES for place in places],
    ids=lambda text: text if len(text) < 30 else f"{text[:20]}… {len(text)}",
)
def test_a_damaged_field_is_told_by_file_and_line(
    tmp_path: Path, place: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "log.jsonl", record())
    path.write_text(f"{path.read_text()}{with_field(place, text)}\n")
    assert cli.main(["log", "best", str(path)]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert re.fullmatch(rf"tvmconv: {re.escape(str(path))}:2 is not a tuning record: remove the line.*\n", err)


@pytest.mark.parametrize(
    "line",
    [
        *(b"\0", b"\xff\xfe", record().line()[:-1] + b"\0", record().line()[:-1].replace(b"nhwc", b"nh\xffwc")),
        record().line()[:-1] + b" " * (3 << 20),
        record().line()[:-1].replace(b'"tile"', b'"tail"'),
        record().line()[:-1].replace(b', "cpu"', b', "cpus": 1, "cpu"'),
    ],
)
def test_no_line_ends_a_command(tmp_path: Path, line: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """verify goes on without the file; check names the line."""
    path = written(tmp_path / KEY.target / "log.jsonl", record())
    path.write_bytes(path.read_bytes() + line + b"\n")
    assert cli.main(["show", WORKLOAD, "-a", "indirect", "--log-dir", str(tmp_path)]) == 0
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and f"this tuning log is not used: {path}:2 is not a tuning record" in err
    assert cli.main(["log", "check", str(path)]) == 1
    assert "line 2 is not a tuning record" in capsys.readouterr().out


def test_names_that_come_twice_and_other_ends_of_lines_are_read(tmp_path: Path) -> None:
    """The last of two counts, as everywhere in JSON."""
    path = tmp_path / "log.jsonl"
    line = record(trial=1).line()[:-1]
    path.write_bytes(line + b"\r\n" + line[:-1] + b', "trial": 2}\n' + line[:-1] + b', "key": ' + line[8:300])
    assert [item.trial for item in Log(path).records()] == [1, 2]


def test_what_is_no_plain_file_is_left_out_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / KEY.target / "net.jsonl", record("2x16")).parent
    (folder / "a.jsonl").mkdir()
    os.mkfifo(folder / "b.jsonl")
    warnings: list[str] = []
    best = Logs([tmp_path], warn=warnings.append).best(KEY).best
    assert best and best.record.tile == "2x16"
    assert warnings == [
        f"this tuning log is not used: {folder / 'a.jsonl'} is a folder: name a plain file",
        f"this tuning log is not used: {folder / 'b.jsonl'} is a device or another special file: name a plain file",
    ]
    assert cli.main(["log", "show", str(tmp_path)]) == 0
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == [
        str(folder / name) for name in ("a.jsonl", "b.jsonl")
    ]
    for what in ("show", "best", "check", "merge"):
        output = ["-o", str(tmp_path / "merged")] if what == "merge" else []
        assert cli.main(["log", what, *output, str(folder / "b.jsonl")]) == 1
        assert "b.jsonl is a device or another special file" in capsys.readouterr().err


def test_nobody_waits_for_ever_for_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "log.jsonl", record())
    monkeypatch.setattr(locked, "_PATIENCE", 0.1)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert cli.main(["log", "show", str(path)]) == 1
        assert f"{path}: another process keeps it locked" in capsys.readouterr().err
        with pytest.raises(OSError, match="another process keeps it locked"):
            written(path, record())


def test_a_file_may_be_cut_while_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", *(record(trial=trial) for trial in range(200)))
    lines = Log(path).lines()
    assert next(lines).number == 1
    os.truncate(path, path.stat().st_size // 2 + 1)
    assert 50 < sum(1 for _ in lines) < 150

"""Which record of a key counts, and why others are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tuning import KEY, WORKLOAD, key, record, written
from tvmconv.compiler.builder import Request
from tvmconv.database.log import Foreign, Key, Log, Logs, Record, Sourced, Versions, decide
from tvmconv.database.log.merge import merged
from tvmconv.workload.shape import ConvShape

OLD = replace(Versions.here(), llvm="21")
NEW_SCHEMA = replace(Versions.here(), schema=99)


def found_in(folder: Path, *records: Record, **options: Any) -> Logs:
    written(folder / KEY.target / "net.jsonl", *records)
    return Logs([folder], **options)


def final(tile: str, milliseconds: float, **changes: Any) -> Record:
    return record(tile, milliseconds, **{"stage": "final", "time": "then", **changes})


def restless(tile: str, milliseconds: float, **changes: Any) -> Record:
    """A record of 15 turns, whose p20 and p80 are 10 % apart."""
    times = {"median": 1.0, "p20": 0.95, "p80": 1.05}
    return record(
        tile, seconds={name: milliseconds * 1e-3 * part for name, part in times.items()} | {"n": 15}, **changes
    )


# Records, the tile of the one that counts.
PRECEDENCE: list[tuple[list[Record], str | None]] = [
    ([record("2x16", 2.0), record("4x16", 1.0), record("3x16", 3.0)], "4x16"),
    ([record("2x16", 1.0), record("4x16", 1.0, default=True)], "4x16"),
    # The default, unless another is faster by more than chance, of which restless times show how much there is.
    ([record("2x16", 1.0), record("4x16", 1.03, default=True)], "2x16"),
    ([restless("2x16", 1.0), restless("4x16", 1.03, default=True)], "4x16"),
    ([restless("2x16", 1.0), restless("4x16", 1.2, default=True)], "2x16"),
    ([record("2x16", 2.0, stage="final"), record("4x16", 3.0, stage="final"), record("3x16", 1.0)], "2x16"),
    # Of two final comparisons the later: their times cannot be compared.
    (
        [
            *(record("2x16", 1.0, stage="final"), record("4x16", 2.0, stage="final")),
            *(record("2x16", 9.0, stage="final", time="9999"), record("4x16", 8.0, stage="final", time="9999")),
        ],
        "4x16",
    ),
    # Also where a tile that was in both turned out to be wrong.
    (
        [
            *(record(tile, time, stage="final", time="9998") for tile, time in (("2x16", 2.0), ("5x16", 1.0))),
            *(record(tile, time, stage="final", time="9999") for tile, time in (("2x16", None), ("4x16", 8.0))),
        ],
        "4x16",
    ),
    ([record("2x16", 1.0), record("2x16", None), record("4x16", 2.0)], "4x16"),
    ([record("2x16", None)], None),
    ([record("2x16", 1.0, key=key(threads=2)), record("3x16", 2.0)], "3x16"),
    ([record("2x16", 1.0, versions=OLD), record("3x16", 2.0)], "3x16"),
    ([record("2x16", 1.0, cpu="Z80"), record("3x16", 2.0)], "3x16"),
    ([record("2x16", 1.0), record("3x16", 2.0, protocol={"samples": 9}, time="9999")], "3x16"),
    # On another CPU large gains count alone, of finals more than a trial here; a device is what it was tuned for.
    ([final("2x16", 1.0, cpu="Z80"), final("4x16", 1.15, cpu="Z80", default=True), record("3x16", 2.0)], "2x16"),
    ([final("2x16", 1.0, cpu="Z80"), final("4x16", 1.05, cpu="Z80", default=True), record("3x16", 2.0)], "3x16"),
    ([final("2x16", 1.0, cpu="Z80")], "2x16"),
    ([record("2x16", 1.0, cpu="Z80"), record("4x16", 1.05, cpu="Z80", default=True)], "4x16"),
    ([record("2x16", 1.0, cpu="Z80"), record("4x16", 1.15, cpu="Z80", default=True)], "2x16"),
    ([record("2x16", 1.0, cpu="Z80", device="zx"), record("4x16", 1.05, cpu="Z80", device="zx", default=True)], "2x16"),
]


@pytest.mark.parametrize(("records", "tile"), PRECEDENCE)
def test_which_record_counts(tmp_path: Path, records: list[Record], tile: str | None) -> None:
    best = found_in(tmp_path, *records).best(KEY).best
    assert (best.record.tile if best else None) == tile


def test_a_small_gain_on_another_cpu_is_said_and_not_taken(tmp_path: Path) -> None:
    said: list[str] = []
    phones = Key.of(Request(ConvShape.parse(WORKLOAD), "indirect", "pixel6"), 1)
    for made_for, tile in ((KEY, "4x16"), (phones, "2x16")):
        finals = [
            final("2x16", 1.0, key=made_for, cpu="Z80"),
            final("4x16", 1.05, key=made_for, cpu="Z80", default=True),
        ]
        written(tmp_path / made_for.target / "net.jsonl", *finals)
        best = Logs([tmp_path], said.append).best(made_for).best
        assert best
        assert best.record.tile == tile, "of a phone's tiles no CPU here knows better"
    assert len(said) == 1
    assert "2x16 gained 5.0% on Z80: less than 10%" in said[0]


def test_ones_own_logs_come_before_the_shipped(tmp_path: Path) -> None:
    for place, tile, milliseconds in (("own", "2x16", 5.0), ("shipped", "4x16", 1.0)):
        written(tmp_path / place / KEY.target / "net.jsonl", record(tile, milliseconds, time=place))
    for order, tile in ((("own", "shipped"), "2x16"), (("shipped", "own"), "4x16")):
        best = Logs([tmp_path / place for place in order]).best(KEY).best
        assert best
        assert best.record.tile == tile
    assert decide([Sourced(record(), Path("a"), 1)], "any")


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([record(versions=OLD)], "net.jsonl: it was made with LLVM 21; here is LLVM 22"),
        ([record(key=key(threads=2))], "there is one for threads 2"),
        (
            [record(key=key(threads=n)) for n in range(2, 7)],
            "one for threads 2; one for threads 3; one for threads 4, and 2",
        ),
        ([record(key=key(target="z80", mcpu="z80", features=()))], "there is one for target z80"),
        ([record(key=key(features=(*KEY.features, "amx")))], "there is one for CPU features with amx"),
        ([record(milliseconds=None)], "none of them has a time; wrong: 3 of 720 outputs are wrong"),
        ([], "`tvmconv tune` makes one"),
    ],
)
def test_what_is_refused_is_said(tmp_path: Path, records: list[Record], sentence: str) -> None:
    notes: list[str] = []
    logs = found_in(tmp_path, *records, note=notes.append)
    assert logs.best(KEY).best is logs.best(KEY).best is None
    assert sentence in logs.why_not(KEY)
    assert notes == [logs.why_not(KEY)] * bool(records)


def test_another_schema_is_kept_and_refused(tmp_path: Path) -> None:
    path, notes = tmp_path / KEY.target / "net.jsonl", []
    newer = json.loads(record(versions=NEW_SCHEMA).line()) | {"key": {"workload": "of another form"}}
    path.parent.mkdir()
    path.write_text(json.dumps(newer) + "\n")
    written(path, record())
    assert [type(entry) for entry in Log(path).entries()] == [Foreign, Record]
    assert Logs([tmp_path], notes.append).best(KEY).best
    assert "1 lines of schema 99 are refused" in notes[0]
    assert [*merged(Log(path).entries())][1] == path.read_bytes().splitlines(keepends=True)[0]


def test_a_damaged_file_is_told_and_the_others_are_used(tmp_path: Path) -> None:
    warnings: list[str] = []
    logs = found_in(tmp_path, record(), warn=warnings.append)
    (tmp_path / KEY.target / "bad.jsonl").write_text("mother\n")
    assert logs.best(KEY).best
    assert logs.best(KEY).best
    assert len(warnings) == 1
    assert "bad.jsonl:1 is not a tuning record" in warnings[0]

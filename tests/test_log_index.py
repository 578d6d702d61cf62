"""Large tuning logs: an index that is never believed more than the file, and what commands cost."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tuning import KEY, key, record, written
from tvmconv import cli
from tvmconv.database.log import Logs, Versions, file, lookup
from tvmconv.database.log.format import line

NEW_SCHEMA = replace(Versions.here(), schema=99)


class Indexing:
    """Logs that are read by an index, however small. parsed: how many lines have been."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.path, self.cache = folder, folder / KEY.target / "net.jsonl", folder / "cache"
        self.parsed = 0
        monkeypatch.setenv("XDG_CACHE_HOME", str(self.cache))
        monkeypatch.setattr(lookup, "_LARGE", 0)
        monkeypatch.setattr(file, "parse", self._parse)

    def _parse(self, text: bytes) -> line.Entry:
        self.parsed += 1
        return line.parse(text)

    def best(self, expected: int, warn: Callable[[str], None] = pytest.fail) -> str | None:
        """The tile that counts, which it takes so many lines to find."""
        self.parsed = 0
        best = Logs([self.folder], warn=warn).best(KEY).best
        assert self.parsed == expected
        return best.record.tile if best else None


def test_a_large_log_is_read_by_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Indexing(tmp_path, monkeypatch)
    others = [record(key=key(threads=threads)) for threads in range(2, 50)]
    written(log.path, *others, record("2x16", 2.0), record(versions=NEW_SCHEMA))
    assert log.best(50 + 1) == log.best(1) == "2x16"
    written(log.path, record("4x16", 1.0))
    assert log.best(1 + 2) == log.best(2) == "4x16"
    text = log.path.read_bytes()
    log.path.write_bytes(text.replace(b'"4x16"', b'"3x16"'))
    assert log.best(51 + 2) == log.best(2) == "3x16"
    os.truncate(log.path, len(text) - 20)
    assert log.best(50 + 1) == log.best(1) == "2x16"
    (tmp_path / "new").write_bytes(record("5x16").line())
    (tmp_path / "new").rename(log.path)
    assert log.best(1 + 1) == log.best(1) == "5x16"
    log.path.write_bytes(record("5x16").line() + b"mother\n")
    warnings: list[str] = []
    assert log.best(2, warnings.append) is log.best(1, warnings.append) is None
    assert all(f"{log.path}:2 is not a tuning record" in warning for warning in warnings)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[" * 10_000, b'{"keys": [1]}', b'{"end": 1e999, "keys": [], "starts": [], "foreign": []}']
)
def test_an_index_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    log = Indexing(tmp_path, monkeypatch)
    written(log.path, record("2x16"), record("3x16", key=key(threads=2)))
    assert log.best(2 + 1) == "2x16"
    (place,) = log.cache.rglob("*.json")
    kept = place.read_text()
    place.write_bytes(content)
    assert log.best(2 + 1) == "2x16"
    second = json.loads(kept)["starts"][1][0]
    for starts in (f"[[{second}], [0]]", "[[-1], [0]]", '[["0"], [0]]', "[[1e999], [0]]"):
        place.write_text(re.sub(r'"starts": \[\[.*?\]\]', f'"starts": {starts}', kept))
        assert Logs([tmp_path], warn=pytest.fail).best(KEY).best
    shutil.rmtree(log.cache)
    log.cache.write_text("no folder")
    assert log.best(2 + 1) == log.best(2 + 1) == "2x16"


def test_the_best_of_a_large_log_costs_little_more_than_to_parse_it(tmp_path: Path) -> None:
    """As seconds of this process, whatever else the machine does."""
    path, keys = tmp_path / "net.jsonl", [key(threads=threads) for threads in range(1, 41)]
    path.write_bytes(b"".join(record(key=own, trial=trial).line() for own in keys for trial in range(100)))

    def seconds(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    parsed = seconds(lambda: [json.loads(text) for text in path.read_bytes().splitlines()])
    assert seconds(lambda: cli.main(["log", "best", "-q", "--json", str(path)])) < 8 * parsed + 0.2

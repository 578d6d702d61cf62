"""The result file: what it keeps, what it takes for the same measurement, what it repairs and what it refuses."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tvmconv.database import rows as record
from tvmconv.database.rows import ResultFile, Row
from tvmconv.support.jsonlines import BadFile

CONTEXT: Row = record.context(["bench", "resnet18"], llvm="22", peak_gflops=150.0)


def result(**changes: Any) -> Row:
    row = {
        **{
            "kind": "result",
            "source": "resnet18",
            "name": None,
            "count": 1,
            "workload": "mb1ic8ih6oc20oh6kh3ph1",
            "algorithm": "indirect",
        },
        **{"peer": None, "layout": "nhwc", "target": "x86-64-v4", "device": "local", "threads": 1, "cpus": [0]},
        **{"schedule": "hand", "tile": "6x64", "cold": False, "status": "ok", "gflops": 123.4},
    }
    return {**row, **changes}


def opened(path: Path, context: Row = CONTEXT) -> ResultFile:
    file = ResultFile(path)
    file.begin(context)
    return file


def written(path: Path, *rows: Row, context: Row = CONTEXT) -> None:
    with opened(path, context) as file:
        for row in rows:
            file.append(row)


def test_what_was_measured_is_known_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    written(path, result(), result(algorithm=None, peer="onednn", schedule=None, tile=None))
    later = opened(
        path, {**CONTEXT, "argv": ["bench", "mb1ic8ih6oc20oh6kh3ph1"], "time": "later", "peak_gflops": 140.0}
    )
    renamed = {"source": "elsewhere", "name": "conv", "count": 3}
    assert later.known([result(**renamed, status="skipped", gflops=None)]) == [result(**renamed)]
    assert later.known([result(algorithm=None, peer="onednn", schedule=None, tile=None, layout="blocked")])


def test_results_of_several_runs_are_not_known_together(tmp_path: Path) -> None:
    path, names = tmp_path / "results.jsonl", ("direct", "gemm", "indirect")
    written(path, result(algorithm="direct"), result(algorithm="gemm", gflops=1.0))
    written(path, result(algorithm="gemm", gflops=2.0), result(algorithm="indirect"))
    direct, gemm, indirect = (result(algorithm=name) for name in names)
    later = opened(path)
    assert [row["gflops"] for row in later.known([direct, gemm]) or ()] == [123.4, 1.0]
    assert [row["gflops"] for row in later.known([gemm, indirect]) or ()] == [2.0, 123.4]
    assert later.known([direct, indirect]) is None


def test_only_what_is_new_is_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    written(path, result())
    before = path.read_text()
    written(path, result(name="another"))
    assert path.read_text() == before
    written(path, result(gflops=124.0))
    assert path.read_text().count('"result"') == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"workload": "mb2ic8ih6oc20oh6kh3ph1"},
        {"algorithm": "direct"},
        {"algorithm": None, "peer": "indirect"},
        {"target": "x86-64-v3"},
        {"threads": 2},
        {"cpus": [1]},
        {"schedule": "tuned"},
        {"tile": "8x32"},
        {"cold": True},
        {"kernel": "mb1ic8ih6oc20oh6kh3ph1_indirect-0123456789abcdef"},
        {"peer_package": "torch 9"},
    ],
)
def test_another_measurement_is_not_known(tmp_path: Path, changes: Row) -> None:
    path = tmp_path / "results.jsonl"
    written(path, result())
    assert opened(path).known([result(**changes)]) is None


@pytest.mark.parametrize(
    "changes", [{"tvm": "0.28"}, {"tvmconv": "9"}, {"llvm": "23"}, {"cpu": "another"}, {"features": ["sse2"]}]
)
def test_another_machine_or_version_is_measured_again(tmp_path: Path, changes: Row) -> None:
    path = tmp_path / "results.jsonl"
    written(path, result())
    assert opened(path, {**CONTEXT, **changes}).known([result()]) is None


@pytest.mark.parametrize("status", ["mismatch", "error", "skipped"])
def test_what_failed_is_tried_again(tmp_path: Path, status: str) -> None:
    path = tmp_path / "results.jsonl"
    written(path, result(status=status))
    assert opened(path).known([result()]) is None


def test_each_result_belongs_to_the_context_before_it(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    written(path, result(algorithm="direct"), context={**CONTEXT, "tvm": "0.26"})
    written(path, result(algorithm="gemm"))
    later = opened(path)
    assert later.known([result(algorithm="gemm")])
    assert later.known([result(algorithm="direct")]) is None


def test_nothing_is_written_if_nothing_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    written(path, result())
    before = path.read_bytes()
    written(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("status", ["rejected", "skipped", "mismatch", "error"])
def test_the_same_failure_is_written_once(tmp_path: Path, status: str) -> None:
    path = tmp_path / "results.jsonl"
    for reason in ("why", "why", "another reason"):
        written(path, result(status=status, reason=reason))
    assert [row["reason"] for row in record.read(path) if row["kind"] == "result"] == ["why", "another reason"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Lets no file grow beyond so many bytes, as a full disk would not. pytest's own output may be a larger file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_grow_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with largest_file(1000), pytest.raises(OSError, match="cannot be written") as raised:
        ResultFile(path)
    assert raised.value.filename == str(path) and not path.exists()
    with largest_file(8000):
        written(path, result())
    before = path.read_bytes()
    with largest_file(len(before) + 10), pytest.raises(OSError, match="cannot be written"):
        ResultFile(path)
    assert path.read_bytes() == before


def test_a_disk_that_is_full_meanwhile_costs_a_layer_and_no_line(tmp_path: Path) -> None:
    """Rows that were measured together are kept together: what is measured again does not stand there twice."""
    path = tmp_path / "results.jsonl"
    first, second = ([result(workload=name, algorithm=each) for each in ("direct", "gemm")] for name in "ab")
    with opened(path) as file:
        file.append(*first)
        most = path.stat().st_size + len(record.line(second[0])) + 5
        with largest_file(most), pytest.raises(OSError, match="cannot be written"):
            file.append(*second)
    assert record.read(path) == [CONTEXT, *first]
    with opened(path) as file:
        assert file.known(first) == first and file.known(second) is None
        file.append(*first)
        file.append(*second)
    assert [row for row in record.read(path) if row["kind"] == "result"] == [*first, *second]


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_torn_last_line_is_repaired(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "results.jsonl"
    written(path, result(algorithm="gemm"), result(algorithm="direct"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with opened(path) as later:
        assert later.known([result(algorithm="gemm")])
        assert later.known([result(algorithm="direct")]) is None
        later.append(result(algorithm="direct"))
    kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
    assert kinds == ["context", "result", "context", "result"]


@pytest.mark.parametrize("content", ["just text\n", "just text", '{"kind": "other"}\n', "[1]\n", "\n", '{"mine": 1}'])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(content)
    with pytest.raises(BadFile, match=r"results\.jsonl.* tvmconv's results: give another"):
        ResultFile(path)
    assert path.read_text() == content


def test_a_row_is_one_line_of_valid_json() -> None:
    assert record.line({"kind": "result", "reason": "a\nb – c"}).count("\n") == 1
    with pytest.raises(ValueError, match="not JSON compliant"):
        record.line({"kind": "result", "max_error": float("nan")})

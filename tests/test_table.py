"""Tables on a terminal: whatever its width, no word is broken; in a pipe each row is a line."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable, Sequence

import pytest
from rich.console import RenderableType

from tests.timed_rows import timed
from tests.tuning import key, record
from tvmconv import cli
from tvmconv.cli.scripts.claims import claims_table
from tvmconv.cli.scripts.scaling import scaling_table
from tvmconv.cli.scripts.searchers import searchers_table
from tvmconv.database.log import Record
from tvmconv.database.rows import Row
from tvmconv.report import log, tables, tune
from tvmconv.report.bench import bench_table

Capture = pytest.CaptureFixture[str]

LONG = "mb1g1ic1024ih112iw224oc1024oh56ow112kh7kw7sh2sw2ph3pw3"
NAME = "/model/backbone/layer3/layer3.0/downsample/downsample.0/Conv_output"
PATH = "/home/somebody/kernels of/a network/layer3.0.downsample.0-winograd.so"
SHORT = "mb1ic64ih56oc64oh56kh3ph1"
TIME = {"median": 0.00123456, "p20": 0.0012, "p80": 0.0013, "n": 11, "statistic": "median"}
ALGORITHMS = ("indirect", "im2row", "kn2col-as", "winograd")
PEERS = ("onednn", "onnxruntime", "openvino", "xnnpack", "torch-conv2d")

COMMON: Row = {
    **{"threads": 1, "target": "x86-64-v4", "layout": "nhwc", "device": "local", "tile": "14x32_kc256_mc112_pf4"},
    **{"chosen_by": "user", "schedule": "tuned", "flops": 231211008, "peak_gflops": 180.0, "stage": "final"},
}


def layers(**figures: object) -> list[Row]:
    """Two layers by each algorithm; one of them rejects the second."""
    rows = [
        {**timed(name, count, 0.00123456, 123456, algorithm=one), "workload": workload, **COMMON, **figures}
        for name, workload, count in (("conv1", SHORT, 3), (NAME, LONG, 1))
        for one in ALGORITHMS
    ]
    rows[-1] |= {"status": "rejected", "reason": "winograd takes 3x3 kernels of stride 1 without dilation alone"}
    return rows


def peers() -> list[Row]:
    return [
        {**timed(row["name"], row["count"], 0.00223456, None, peer=peer), "workload": row["workload"], **COMMON}
        for row in (layers()[0], layers()[4])
        for peer in PEERS
    ]


def by_layer(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row["name"]))


def logged(row: Row, trial: int) -> Row:
    own = {"searcher": "evolutionary", "trial": trial, "trials": 100, "gain": 1.234, "withheld": None, "cpu": "Z80"}
    chosen = {"auto": "winograd", "by_hand": "direct", "default_seconds": TIME}
    return {**row, **own, **chosen, "file": PATH, "records": 3, "key": f"{LONG} winograd nhwc"}


def logged_record(row: Row, trial: int) -> Record:
    own = key(workload=row["workload"], algorithm=row["algorithm"])
    return record(row["tile"], 1.23456, own, searcher="evolutionary", trial=trial)


def with_symbols(row: Row) -> Row:
    return {**row, "path": PATH, "symbols": [f"{row['workload']}_{row['algorithm']}_describe"]}


ESTIMATE = {
    **{"hot_loop_peak_fraction": 0.987, "hot_loop_stack_accesses": 0, "hot_loop_model": "cortex-a76"},
    **{"hot_loop_bottleneck": "the load units", "instructions_per_flop": 0.0731},
}
GB_PER_S = {"copy_gb_per_s": 10.0, "copy_share": 0.5, "run_peak_fraction": 0.9, "gemm_peak_fraction": 0.8}
BOTH = {"seconds": {"indirect": TIME, "im2row": TIME, "indirect.1": TIME, "im2row.2": TIME}, "ratio": 1.2}
FOUND = [
    {"searcher": one, "gain": 1.0 + seed / 7, "alike": True, "trials": 100, "failed": 3, "search_seconds": 60.0}
    for one in ("random", "evolutionary", "metaschedule")
    for seed in range(3)
]

TABLES: dict[str, Callable[[], RenderableType]] = {
    "list": lambda: tables.listing(
        [{"name": NAME, "count": 3, "workload": LONG, "gflop": 0.231, "summary": "a GEMM for each tap " * 4, "x": None}]
    ),
    "verify": lambda: tables.verify_table(layers()),
    "show": lambda: tables.layer_tables(layers()),
    "show --workspace": lambda: tables.workspace_table(layers()),
    "show --estimate": lambda: tables.estimate_table(layers(**ESTIMATE)),
    "bench": lambda: bench_table(by_layer([*layers(), *peers()])),
    "compile": lambda: tables.compile_table([with_symbols(row) for row in layers()]),
    "import": lambda: tables.import_table([{**row, "seconds": TIME, "matched_by": "its sizes"} for row in peers()]),
    "tune": lambda: tune.tune_table(
        [
            {**row, "default": TIME, "by_hand": "direct", "gain": 1.2, "trials": {"done": 100, "failed": 3}}
            for row in layers()
        ]
    ),
    "log show": lambda: log.show_table([logged_record(row, trial) for trial, row in enumerate(layers())]),
    "log best": lambda: log.best_table([logged(row, 1) for row in layers()]),
    "log check": lambda: log.check_table([logged(row, 1) for row in layers()]),
    "indirect_vs_im2row": lambda: claims_table(
        [{**row, "rival": "im2row", **BOTH, **GB_PER_S, "alike": False} for row in layers()]
    ),
    "thread_scaling": lambda: scaling_table(
        [{**row, **BOTH, "threads": 2, "algorithm": "im2row", "alone": "indirect", "alike": True} for row in layers()],
        bound=1.9,
    ),
    "compare_searchers": lambda: searchers_table([{**row, "found": FOUND} for row in layers()]),
}
# What people copy.
PRECIOUS = (LONG, NAME, PATH, SHORT, *(f"{LONG}_{name}_*" for name in ALGORITHMS), *ALGORITHMS, *PEERS, COMMON["tile"])
WORD = re.compile(r"[^\s:]+")


def printed(text: RenderableType, width: int, capture: Capture, patch: pytest.MonkeyPatch) -> list[str]:
    """The lines on a terminal of so many columns."""
    patch.setattr(sys.stdout, "isatty", lambda: True)
    for name, value in (("COLUMNS", str(width)), ("TERM", "xterm"), ("NO_COLOR", "1")):
        patch.setenv(name, value)
    tables.show(text)
    return re.sub(r"\x1b\[[0-9;]*m", "", capture.readouterr().out).splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("name", TABLES)
def test_no_word_is_broken(name: str, width: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.show(TABLES[name]())
    piped = capsys.readouterr().out
    lines = printed(TABLES[name](), width, capsys, monkeypatch)
    words = {word for line in lines for word in WORD.findall(line)}
    missing = {word for word in WORD.findall(piped) if "─" not in word} - words
    assert not missing
    text = "\n".join(lines)
    assert [item for item in PRECIOUS if item in piped and item not in text] == []
    too_long = [line.strip() for line in lines if len(line) > width]
    assert [line for line in too_long if line not in PRECIOUS and max(map(len, line.split())) <= width - 4] == []


@pytest.mark.parametrize("name", TABLES)
def test_in_a_pipe_nothing_is_folded(name: str, capsys: Capture) -> None:
    tables.show(TABLES[name]())
    rows = [line for line in capsys.readouterr().out.splitlines() if NAME in line or LONG in line]
    assert rows
    if name == "compile":
        assert all(PATH in line and "winograd" not in line.split()[1] for line in rows)
        assert len(rows) == 3  # one is rejected


def test_columns_that_do_not_fit_are_a_table_of_their_own(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = by_layer([*layers(), *peers()])
    lines = printed(bench_table([row for row in rows if row["name"] != NAME]), 80, capsys, monkeypatch)
    headers = [line.split() for line in lines if line.startswith("layer")]
    assert len(headers) > 1
    assert [name for header in headers for name in header[1:]] == [*ALGORITHMS, *PEERS]
    assert sum("conv1 ×3" in line for line in lines) == len(headers)


def test_the_doctor(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    assert cli.main(["rpc", "doctor", "--tracker", address, "--device", "pixel6"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert any(address in line for line in lines)


def rejected(algorithm: str, reason: str, workload: str) -> Row:
    return {
        **timed("a", 1, 1.0, algorithm=algorithm, status="rejected", reason=reason),
        **{"workload": workload, "source": workload},
    }


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"unnamed": ("direct", "gemm")}, ["– nobody does", "– does not take the layer; -v says why"]),
        ({}, ["– takes 1x1 alone", "– nobody does"]),
    ],
)
@pytest.mark.parametrize("table", [tables.verify_table, tables.workspace_table, bench_table])
def test_rejections_that_are_expected_are_no_news(
    table: Callable[..., RenderableType], options: Row, shown: list[str], capsys: Capture
) -> None:
    """Each reason once. What no algorithm takes, and an algorithm that was named, are told all the same."""
    rows = [
        *(
            row
            for workload in ("one", "other")
            for row in (
                {**timed("a", 1, 1.0, algorithm="direct"), "workload": workload, "source": workload},
                rejected("gemm", "takes 1x1 alone", workload),
            )
        ),
        *(rejected(algorithm, "nobody does", "third") for algorithm in ("direct", "gemm")),
    ]
    tables.show(table(rows, **options))
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("– ")] == shown


@pytest.mark.parametrize(
    ("argv", "is_told"),
    [([], False), (["-a", "all"], False), (["-v"], True), (["-a", "direct,gemm"], True)],
    ids=["default", "all", "verbose", "named"],
)
def test_who_is_told_why(argv: list[str], is_told: bool, capsys: Capture) -> None:
    cli.main(["show", "ic8ih6oc20kh3ph1", "--workspace", *argv])
    assert ("gemm takes 1x1 kernels" in capsys.readouterr().out) == is_told

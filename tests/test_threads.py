"""Kernels on several threads: exact, evenly shared, and nothing that the rest of the process would notice."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tvmconv
from tvmconv.algorithms import algorithm
from tvmconv.algorithms.microkernel.program import Phase
from tvmconv.compiler.builder import Request
from tvmconv.runtime.arrays import as_layout
from tvmconv.runtime.kernel import Conv
from tvmconv.runtime.thread_pool import Pool, shared
from tvmconv.verify.reference import Case, integer_case
from tvmconv.workload.networks import NETWORKS
from tvmconv.workload.resolve import resolve
from tvmconv.workload.shape import ConvShape

CPUS = sorted(os.sched_getaffinity(0))
TWICE = [CPUS[0], CPUS[-1]]  # on a machine with one CPU they share it
SHAPE = ConvShape.parse("mb2ic12ih9oc40kh3ph1")
TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32)
PARALLEL_FOR = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, TASK, ctypes.c_void_p, ctypes.c_int32)


class CPool(ctypes.Structure):
    """tvmconv_pool of tvmconv.h."""

    _fields_ = (("parallel_for", PARALLEL_FOR), ("ctx", ctypes.c_void_p))


@pytest.fixture(scope="module")
def case() -> Case:
    return integer_case(SHAPE, seed=3)


@pytest.fixture(scope="module")
def conv(case: Case) -> Conv:
    return tvmconv.build(SHAPE, "im2row").prepare(case.w, case.bias, case.clamp, threads=2, cpus=TWICE)


def helpers() -> set[int]:
    """The kernel's numbers of this process's helper threads."""
    return {t.native_id for t in threading.enumerate() if t.name.startswith("tvmconv-") and t.native_id}


@pytest.mark.parametrize(
    ("workload", "name", "tile", "layout"),
    [
        ("ic5ih7oc9kh3ph1", "indirect", "3x16", "nhwc"),
        ("ic64ih9oc70kh3ph1", "indirect", "6x16_mc20_kc16_st1", "nhwc"),  # blocks of rows and of K, tails in both
        ("g2mb3ic20ih9oc90kh3sh2ph1", "indirect", None, "nhwc"),
        ("mb2ic12ih9oc40kh5dh1ph4", "im2row", None, "nhwc"),
        ("mb5ic70ih3oc100kh1", "gemm", "4x16_kc14", "nhwc"),
        ("mb2ic20ih9oc72kh3ph1", "winograd", "3x16_mc10", "nhwc"),
        ("mb2ic6ih8oc40kh3ph1", "direct", None, "nhwc"),
        ("g2mb2ic64ih11oc140kh3ph1", "direct", "6x16_mc24_kc16_st1", "nhwc"),
        ("g37mb3ic37ih6oc37kh3ph1", "direct", None, "nhwc"),  # depthwise: panels overlap
        ("ic1ih1oc1kh1", "direct", None, "nhwc"),
        ("g2mb2ic12ih9oc40kh3ph1", "kn2col", None, "nhwc"),
        ("mb2ic12ih9oc40kh3ph1", "kn2col-as", None, "nhwc"),
        ("g2mb2ic12ih9oc40kh3ph1", "direct", None, "nchw"),
        ("mb2ic40ih19oc40kh3ph1", "im2col", "4x16_mc96_kc20", "nchw"),
        ("mb2ic12ih9oc40kh3ph1", "kn2row", None, "nchw"),
        ("mb2ic12ih9oc40kh3ph1", "kn2row-as", None, "nchw"),
        ("mb2ic12ih9oc40kh3ph1", "kn2row-aa", None, "nchw"),
    ],
)
def test_exact(workload: str, name: str, tile: str | None, layout: str) -> None:
    kernel = tvmconv.build(workload, name, tile=tile, layout=layout)
    case = integer_case(kernel.shape)
    x = np.ascontiguousarray(as_layout(case.x, "nhwc", layout))
    for cpus in (TWICE, [*TWICE, CPUS[0]]):
        conv = kernel.prepare(case.w, case.bias, case.clamp, threads=len(cpus), cpus=cpus)
        for _ in range(20):
            y = np.full(kernel.y_shape, np.nan, np.float32)
            np.testing.assert_array_equal(as_layout(conv(x, out=y), layout, "nhwc"), case.fused)


def phases() -> Iterator[Phase]:
    """Those of the networks' layers that are large enough for threads."""
    for layer in resolve(list(NETWORKS), lambda warning: None):
        for name in ("gemm", "im2row", "indirect"):
            if layer.shape and layer.shape.flops > 50e6 and not algorithm(name).rejects(layer.shape):
                tile = Request(layer.shape, name).check().tile
                assert tile
                yield algorithm(name).view(layer.shape, tile).partition.phase("run")


@pytest.mark.parametrize("threads", [2, 4, 8])
def test_work_is_shared_evenly(threads: int) -> None:
    """Each thread begins with a run of neighbouring tasks: none is much longer than the others."""
    for phase in phases():
        bounds = [phase.units * (i * phase.tasks // threads) // phase.tasks for i in range(threads + 1)]
        largest = max(behind - first for first, behind in pairwise(bounds))
        assert largest <= 1.1 * phase.units / threads + 1, phase


def test_one_thread_takes_all_units_at_once() -> None:
    assert Phase("run", 5).tasks == 5
    assert Phase("run", 5000).tasks == 48


@pytest.mark.parametrize("threads", [2, 3])
def test_every_task_runs_once(threads: int) -> None:
    pool = shared(threads, (CPUS * threads)[:threads])
    assert pool
    pool.start()
    parallel_for = CPool.from_address(pool.address.value or 0)
    for tasks in (0, 1, 2, 3, 48, 1000):
        runs = [0] * tasks

        def task(arg: int, i: int, runs: list[int] = runs) -> None:
            runs[i] += 1

        for repeat in range(1, 20):
            assert parallel_for.parallel_for(parallel_for.ctx, TASK(task), None, tasks) == 0
            assert runs == [repeat] * tasks
    assert parallel_for.parallel_for(parallel_for.ctx, TASK(task), None, 1 << 20) != 0


def test_a_pool_that_fails(conv: Conv, case: Case) -> None:
    refusing = CPool(PARALLEL_FOR(lambda ctx, task, arg, n: 1), None)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (case.x, conv.packed, np.empty_like(case.fused))]
    with pytest.raises(ValueError, match=r"_run: the thread pool failed$"):
        conv.kernel.call("run", *pointers, conv.new_workspace().ctypes.data_as(ctypes.c_void_p), ctypes.byref(refusing))


def test_threads_do_not_grow_with_callers(conv: Conv, case: Case) -> None:
    """Nor with kernels: they share the pool, and calls at the same time get what is theirs."""
    another = tvmconv.build(SHAPE, "indirect").prepare(case.w, case.bias, case.clamp, threads=2, cpus=TWICE)
    conv(case.x)
    before = helpers()

    def many_calls(seed: int) -> None:
        workspace = conv.new_workspace()
        for _ in range(100):
            np.testing.assert_array_equal(conv(case.x, workspace=workspace), case.fused)
            np.testing.assert_array_equal(another(case.x), case.fused)

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(many_calls, range(4)))
    assert another.pool is conv.pool
    assert helpers() == before


def test_affinity_is_the_callers_affair(case: Case) -> None:
    """Helpers may use what the caller may use, each a CPU of its own if that is asked for, or all of them are used."""
    kernel = tvmconv.build(SHAPE, "indirect")
    before = helpers()
    anywhere = {frozenset(CPUS)} if len(CPUS) > 2 else {frozenset([CPUS[-1]])}
    for threads, cpus, expected in ((min(2, len(CPUS)), None, anywhere), (4, [CPUS[0]] * 4, {frozenset([CPUS[0]])})):
        conv = kernel.prepare(case.w, threads=threads, cpus=cpus)
        np.testing.assert_array_equal(conv(case.x), case.plain)
        new, before = helpers() - before, helpers()
        assert {frozenset(os.sched_getaffinity(helper)) for helper in new} <= expected
        assert sorted(os.sched_getaffinity(0)) == CPUS


def test_helpers_sleep_without_work(conv: Conv, case: Case) -> None:
    conv(case.x)
    for helper in helpers():
        end = time.monotonic() + 10
        while Path(f"/proc/self/task/{helper}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < end, "a helper without work is still awake"
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ({"threads": 0}, ValueError, "threads=0: at least one thread has to compute"),
        ({"threads": True}, TypeError, "threads=True is not a whole number"),
        ({"threads": 1.5}, TypeError, "threads=1.5 is not a whole number"),
        ({"threads": "2"}, TypeError, "threads='2' is not a whole number"),
        ({"threads": 1000}, ValueError, f"threads=1000: this process may use {len(CPUS)} CPU"),
        ({"threads": 2, "cpus": TWICE[:1]}, ValueError, "cpus has 1 CPU, and each thread needs one; use threads=1"),
        ({"threads": 3, "cpus": TWICE}, ValueError, "cpus has 2 CPUs, and each thread needs one; use 1 … 2"),
        ({"threads": 2, "cpus": [9999, 9998]}, ValueError, "cpus: no CPUs 9999, 9998 for this process, it may use "),
        ({"threads": 2, "cpus": [CPUS[0], -1]}, ValueError, "cpus: no CPU -1 for this process, it may use "),
        ({"threads": 1, "cpus": [9999]}, ValueError, "cpus: no CPU 9999 for this process, it may use "),
        ({"threads": 1, "cpus": []}, ValueError, "cpus is empty"),
        ({"threads": 2, "cpus": "11"}, TypeError, "cpus='11' is not a list of CPU numbers"),
        ({"threads": 1, "cpus": 0}, TypeError, "cpus=0 is not a list of CPU numbers"),
        ({"threads": 1, "cpus": [0.0]}, TypeError, "cpus=[0.0] is not a list of CPU numbers"),
    ],
)
def test_refusals(conv: Conv, case: Case, arguments: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=re.escape(sentence)):
        conv.kernel.prepare(case.w, **arguments)


def test_build_refuses_no_threads() -> None:
    with pytest.raises(ValueError, match="at least one thread"):
        tvmconv.build(SHAPE, threads=0)


def test_a_pinned_caller_may_name_other_cpus(case: Case) -> None:
    kernel = tvmconv.build(SHAPE, "indirect")

    def pinned() -> Conv:
        os.sched_setaffinity(0, TWICE[:1])  # of this thread alone
        return kernel.prepare(case.w, threads=2, cpus=TWICE)

    with ThreadPoolExecutor(1) as caller:
        assert caller.submit(pinned).result().threads == 2


def test_build_sets_the_number_that_prepare_uses(case: Case) -> None:
    threads = min(2, len(CPUS))
    kernel = tvmconv.build(SHAPE, "indirect", threads=threads)
    assert kernel.prepare(case.w).threads == threads
    assert kernel.prepare(case.w, threads=1).threads == 1


PROGRAM = f"""
import os, signal, sys, threading
import numpy as np
import tvmconv
from tvmconv.verify.reference import integer_case

kernel = tvmconv.load(sys.argv[1])
case = integer_case(kernel.shape)
conv = kernel.prepare(case.w, threads=2, cpus={TWICE})
y = np.empty_like(case.plain)
call = conv.bind(case.x, y)

def is_exact(run):
    y.fill(np.nan)
    run()
    return np.array_equal(y, case.plain)

def busy():
    mine = conv.bind(case.x, np.empty_like(y), conv.new_workspace())
    while True:
        mine()

assert is_exact(call)
threading.Thread(target=busy, daemon=True).start()
"""


@pytest.mark.parametrize(
    "end",
    [
        "",  # in the middle of calls: the interpreter ends, and does not wait for helpers
        """
for _ in range(20):
    child = os.fork()  # in the middle of calls of another thread
    if not child:
        signal.alarm(20)
        alone, again = is_exact(call), is_exact(lambda: conv(case.x, out=y))
        helpers = [t for t in threading.enumerate() if t.name.startswith("tvmconv-")]
        os._exit(0 if alone and again and len(helpers) == 1 else 3)
    assert os.waitpid(child, 0)[1] == 0
assert is_exact(call)
""",
    ],
    ids=["exit", "fork"],
)
def test_the_process_may_end_or_fork_at_any_time(conv: Conv, end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + end, conv.kernel.path], timeout=60, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pool_may_be_made_without_starting_it() -> None:
    before = helpers()
    Pool([frozenset(CPUS)] * 2).reset()
    assert helpers() == before

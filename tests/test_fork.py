"""A process may fork whatever its threads are doing with kernels: the child's calls end, and are right."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tvmconv

PROGRAM = """
import os, signal, sys, threading, time
import numpy as np
import tvmconv
from tvmconv.verify.reference import integer_case

kernel, threads = tvmconv.load(sys.argv[1]), int(sys.argv[2])
case = integer_case(kernel.shape)
cpus = [min(os.sched_getaffinity(0))] * threads
conv = kernel.prepare(case.w, threads=threads, cpus=cpus)
shared = conv.new_workspace()
y = np.empty_like(case.plain)
bound = conv.bind(case.x, y, shared)

def for_ever(act):
    while True:
        act()

def load_and_prepare():
    tvmconv.load(sys.argv[1]).prepare(case.w, threads=threads, cpus=cpus)

for act in (lambda: conv(case.x), lambda: conv.new_workspace(shared), load_and_prepare):
    threading.Thread(target=for_ever, args=(act,), daemon=True).start()

def is_right():
    y.fill(np.nan)
    bound()
    others = [conv(case.x), conv(case.x, workspace=shared), tvmconv.load(sys.argv[1]).prepare(case.w)(case.x)]
    return all(np.array_equal(result, case.plain) for result in (y, *others))

for _ in range(10):
    time.sleep(0.003)
    child = os.fork()
    if not child:
        signal.alarm(10)
        os._exit(not is_right())
    status = os.waitpid(child, 0)[1]
    if status:
        os._exit(status & 0x7F or 3)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_a_child_of_a_process_with_busy_threads(threads: int) -> None:
    kernel = tvmconv.build("mb2ic12ih19oc40kh3ph1", "indirect")
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, kernel.path, str(threads)]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

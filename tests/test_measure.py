"""The measuring protocol, with contestants that take a known time and fail on demand; and the probe."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contestants import CASE, CPU, CPUS, HERE, SHAPE, fake, run
from tests.processes import is_running
from tests.waiting import until
from tvmconv.compiler.builder import Request
from tvmconv.measure import probe
from tvmconv.measure.contestant import Turn, core_time
from tvmconv.measure.interleaved import Best, Rules
from tvmconv.target.targets import native
from tvmconv.tune.runner import LocalTrialRunner, try_all
from tvmconv.workload.shape import ConvShape

pytestmark = pytest.mark.alone
# How much longer a call may seem to take where others use the same core.
CROWDED = 2.5


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process and those of the contestants find fake_contestant.py."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{HERE.parent}")


@contextmanager
def busy_process() -> Iterator[None]:
    """Meanwhile another process wants the CPU that contestants are given."""
    busy = f"import os; os.sched_setaffinity(0, [{CPU}]); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline()
        try:
            yield
        finally:
            other.kill()


@pytest.mark.parametrize(
    ("tile", "share", "counted"), [(100.0, 1.0, 1.0), (80.0, 1.0, 0.8), (100.0, 0.5, 0.5), (120.0, 1.0, 1.2)]
)
def test_a_slow_core_counts_for_what_it_offers(tile: float, share: float, counted: float) -> None:
    turn = Turn(seconds=3.0, peak=100.0, tile=tile, share=share)
    assert turn.at_full_speed(100.0) == pytest.approx(3.0 * counted)


def test_a_trial_on_a_crowded_core_takes_as_long_as_on_a_quiet_one() -> None:
    asked = Request(ConvShape.parse("ic64ih28oc64kh3ph1"), "direct").check()
    nothing_known = {asked.algorithm: math.inf}
    with LocalTrialRunner(1, [CPU], 1, asked.made_for.isa) as runner:
        ((_, quiet),) = try_all(runner, [asked], nothing_known)
        with busy_process():
            ((_, crowded),) = try_all(runner, [asked], nothing_known)
    assert quiet.median / 1.6 < crowded.median < quiet.median * 1.6, "the clock on the wall says 2 and more"


def test_times_are_those_of_the_calls() -> None:
    outcome = run(fake(seconds=0.0005), fake(seconds=0.002), rules=Rules(samples=5, min_time=0.006))
    for measurement, expected in zip(outcome.measurements, (0.0005, 0.002), strict=True):
        assert measurement.status == "ok" and measurement.seconds
        seconds = measurement.seconds
        assert expected <= seconds.p20 <= seconds.median <= seconds.p80
        assert seconds.p20 < expected * CROWDED
        assert (seconds.n, measurement.version, measurement.layout) == (5, f"1.2.3 on CPUs {[CPU]}", "nhwc")
        assert measurement.max_error == 0.0
    assert outcome.best.peak_gflops > outcome.best.tile_gflops * 0.9 > 1


def test_contestants_have_processes_of_their_own_that_are_gone_afterwards(tmp_path: Path) -> None:
    logs = [tmp_path / "one", tmp_path / "other"]
    run(*(fake(log=log) for log in logs))
    pids = {int(log.read_text()) for log in logs}
    assert len(pids - {os.getpid()}) == 2
    assert not any(map(is_running, pids))


FAILURES = {
    "crash": ("error", "its process crashed (SIGSEGV)"),
    "raise": ("error", "the fake was told to fail"),
    "unable": ("rejected", "the fake cannot do that"),
    "wrong": ("mismatch", "y is wrong: its largest error is 1, and 0 is allowed"),
    "silent": ("mismatch", "y is wrong: its largest error is nan, and 0 is allowed"),
}


# One call is made at set-up, then in each of three turns one to warm up and several that are timed.
@pytest.mark.parametrize("at_call", [1, 5])
def test_a_failure_is_a_result_and_the_others_go_on(at_call: int) -> None:
    *bad, good = run(*(fake(fault=fault, at_call=at_call) for fault in FAILURES), fake()).measurements
    assert [(measurement.status, measurement.reason) for measurement in bad] == list(FAILURES.values())
    assert not any(measurement.seconds for measurement in bad)
    assert good.status == "ok" and good.seconds and good.seconds.n == 3


def test_a_contestant_that_hangs_is_given_up(tmp_path: Path) -> None:
    log = tmp_path / "log"
    rules = Rules(samples=2, min_time=0.002, patience=2)
    bad, good = run(fake(fault="hang", at_call=2, log=log), fake(), rules=rules).measurements
    assert (bad.status, bad.reason) == ("error", "its process did not answer within 2 s")
    assert good.status == "ok"
    assert not is_running(int(log.read_text()))


def test_what_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = fake()
    monkeypatch.setenv("PYTHONPATH", str(HERE.parent))  # where the class of the entry is not
    (measurement,) = run(entry).measurements
    assert measurement.status == "error"
    assert "No module named 'fake_contestant'" in str(measurement.reason)


def test_a_small_error_is_within_the_tolerance() -> None:
    largest = float(abs(CASE.fused).max())
    inside, outside = run(
        fake(fault="wrong", tolerance=1.01 / largest), fake(fault="wrong", tolerance=0.99 / largest)
    ).measurements
    assert (inside.status, inside.max_error) == ("ok", 1.0)
    assert outside.status == "mismatch"


def test_slow_rounds_are_repeated_up_to_a_limit_and_then_accepted_and_said() -> None:
    rules = Rules(samples=2, min_time=0.002)
    (measurement,) = run(fake(), best=Best(tile_gflops=1e6), rules=rules).measurements
    assert measurement.status == "ok" and measurement.seconds
    assert (measurement.seconds.n, measurement.repeated, measurement.slow) == (2, 6, 2)
    assert measurement.reason == "in 2 of 2 rounds the core had less than 90% to offer"


def test_rounds_in_which_others_use_the_core_do_not_count() -> None:
    with busy_process():
        (measurement,) = run(fake(), rules=Rules(samples=2, min_time=0.05)).measurements
    assert measurement.repeated == 6 and measurement.slow == 2


def test_no_round_begins_after_the_time_is_over() -> None:
    (measurement,) = run(fake(), rules=Rules(samples=1000, min_time=0.002, max_time=0.1)).measurements
    assert measurement.status == "ok" and measurement.seconds
    assert 1 <= measurement.seconds.n < 100


def test_cold_runs_are_timed_one_by_one() -> None:
    (measurement,) = run(fake(seconds=0.0005), rules=Rules(samples=3, min_time=0.004, cold=True)).measurements
    assert measurement.seconds and 0.0005 <= measurement.seconds.p20 < 0.0005 * CROWDED


def test_what_a_profiler_says_counts_if_it_is_less() -> None:
    less, more = run(fake(own=0.0001), fake(own=0.1)).measurements
    assert less.seconds and less.seconds.p20 == less.seconds.p80 == 0.0001
    assert less.whole_call and less.whole_call >= 0.0005
    assert more.seconds and 0.0005 <= more.seconds.median < 0.1
    assert more.whole_call is None


def test_a_profiler_is_not_believed_where_others_had_the_core() -> None:
    """They may have had it between two convolutions, of which the profiler saw nothing."""
    with busy_process():
        (crowded,) = run(fake(seconds=0.0005, own=0.0001), rules=Rules(samples=1, min_time=0.05)).measurements
    awake, asleep = run(fake(), fake(own=0.0001, asleep=True)).measurements
    for measurement in (crowded, asleep):
        assert measurement.slow == measurement.seconds.n
        assert measurement.whole_call == measurement.seconds.median >= 0.0005
    assert asleep.offered < 0.5 < awake.offered <= 1


def test_overhead_is_a_call_on_the_smallest_problem() -> None:
    smallest = (fake(seconds=0.0002), fake(own=0.0001), None)
    plain, profiled, none = run(fake(), fake(), fake(), smallest=smallest).measurements
    assert plain.overhead and 0.0002 <= plain.overhead < 0.0002 * CROWDED
    assert (profiled.overhead, none.overhead) == (0.0001, None)


def test_progress_counts_the_turns_of_those_still_alive() -> None:
    heard: list[tuple[int, int]] = []
    run(fake(), fake(fault="raise"), progress=lambda done, wanted: heard.append((done, wanted)))
    assert len(heard) >= 3
    assert all(0 <= done <= wanted == 3 for done, wanted in heard)


def test_an_interrupt_leaves_no_process_behind(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def interrupt(done: int, wanted: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(fake(log=log), progress=interrupt)
    assert not is_running(int(log.read_text()))


def test_a_contestant_dies_with_its_parent(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = f"""
import os, signal, threading, time
from pathlib import Path
from fake_contestant import Fake
from tvmconv.measure.interleaved import Conditions, measure
from tvmconv.verify.reference import integer_case
from tvmconv.workload.shape import ConvShape
from tvmconv.target.targets import native

log = Path({str(log)!r})

def die_when_it_has_started():
    while not log.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=die_when_it_has_started).start()
shape = ConvShape.parse({str(SHAPE)!r})
entry = Fake(log=log, fault="hang")
measure([entry], shape, integer_case(shape, 0), Conditions(native().isa, [{CPU}]))
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=30, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(log.read_text())
    until(lambda: not is_running(pid), 2)


@pytest.mark.skipif(len(CPUS) < 2, reason="there is one CPU")
def test_each_core_is_probed_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """All multiply-adds count, and the slowest core's tiles for each."""
    for name in ("fma_peak", "tile_speed"):
        monkeypatch.setattr(probe, name, lambda isa: 1.0 + sum(os.sched_getaffinity(0)))
    cores = probe.Cores(CPUS[:2])
    assert cores.fma_peak(native().isa) == 2 + sum(CPUS[:2])
    assert cores.tile_speed(native().isa) == 2 * (1 + CPUS[0])
    assert sorted(os.sched_getaffinity(0)) == CPUS


@pytest.mark.skipif(len(CPUS) < 2, reason="there is one CPU")
def test_contestants_may_use_all_cpus_given() -> None:
    outcome = run(fake(), cpus=CPUS[:2], threads=2)
    assert (outcome.measurements[0].status, outcome.measurements[0].version) == ("ok", f"1.2.3 on CPUs {CPUS[:2]}")
    assert outcome.best.peak_gflops > outcome.best.tile_gflops * 0.9 > 1


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not count what threads wait")
def test_a_process_that_waits_for_a_core_does_not_have_it() -> None:
    def share_of_spinning() -> float:
        os.sched_setaffinity(0, [CPU])  # of this thread
        began, had = time.perf_counter(), core_time(2)
        while time.perf_counter() < began + 0.3:
            pass
        return (core_time(2) - had) / (time.perf_counter() - began)

    with busy_process(), ThreadPoolExecutor(1) as thread:
        assert 0 <= thread.submit(share_of_spinning).result() < 0.9

"""Trials on remote devices: on one, or on all that serve a key.

Kernels are built here while others are measured there. Each trial has a session of its own, so that a kernel which
harms the server's process harms no other trial; a device that is gone is told from a kernel that is at fault.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tvmconv.compiler.builder import Request
from tvmconv.measure.entries import KernelEntry
from tvmconv.measure.interleaved import Best, Conditions, Rules, measure
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.client.remote_measure import SessionGroup
from tvmconv.rpc.client.verify import verify
from tvmconv.rpc.errors import DeviceError
from tvmconv.tune.builder_pool import Compilers, trial_folder
from tvmconv.tune.outcome import Measured, Outcome, failed, measured_outcome
from tvmconv.tune.runner import MEASURE_CONFIG, MeasureConfig
from tvmconv.verify.check import Check, cached_case
from tvmconv.verify.reference import Case, integer_case

RETURN = 60.0  # seconds that a device which has gone may take to come back, on top of those that its tracker is given
_PROBED = 30.0  # seconds of the session that asks whether it is there
_ATTEMPTS = 3  # of a trial with which the device goes away
_MAX_TIME = 20.0  # seconds of a trial after which no other round begins


class RemoteTrialRunner:
    """Devices: `remote`, and as many more clients of its key as the tracker has servers of it, all of the same `cpu`.
    For a `with` statement.

    Raises DeviceError where no device can be had any more.
    """

    def __init__(
        self, remote: Remote, cpu: str, threads: int, jobs: int, config: MeasureConfig = MEASURE_CONFIG
    ) -> None:
        self.device, self.cpu = remote.where.name, cpu
        self._remotes = remote.all_of_its_key()
        self._threads, self._config = threads, config
        self._compilers = Compilers(jobs)
        self._free: SimpleQueue[Remote] = SimpleQueue()
        self._closed = threading.Event()
        self._best = Best()

    def __enter__(self) -> RemoteTrialRunner:
        self._compilers.__enter__()
        # Linux ends a client when the thread that started it ends: these threads live as long as their clients.
        self._pool = ThreadPoolExecutor(len(self._remotes))
        for remote in self._remotes:
            self._free.put(remote)
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        self._compilers.__exit__(*error)
        for remote in self._remotes:
            remote.kill()
        self._pool.shutdown(cancel_futures=True)

    @property
    def protocol(self) -> Mapping[str, Any]:
        return {**asdict(self._config), "check": "exact, before and after", "through": "rpc"}

    def go_on(self, protocols: Sequence[Mapping[str, Any]]) -> None:
        """Its protocol has nothing that could be chosen."""

    def build(self, requests: Sequence[Request], folder: Path) -> Generator[Path | Outcome, None, None]:
        return self._compilers.build(requests, folder)

    def measured(
        self, requests: Sequence[Request], built: Iterable[Path | Outcome], best: Mapping[str, float]
    ) -> Generator[Measured, None, None]:
        case = cached_case(requests[0].shape)
        running: dict[Future[Outcome], int] = {}
        try:
            for number, (request, kernel) in enumerate(zip(requests, built, strict=True)):
                running[self._pool.submit(self._trial, request, kernel, case)] = number
                done = [each for each in running if each.done()]
                yield from ((running.pop(each), each.result()) for each in done)
            for each in as_completed(list(running)):
                yield running.pop(each), each.result()
        finally:
            for each in running:
                each.cancel()

    def finals(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Measures the finals on one device, verified there in every way; repeats them if the device was away
        meanwhile."""
        remote, before = self._remotes[0], self._remotes[0].absences
        with trial_folder() as folder:
            built = list(self.build(requests, folder))
            outcomes = self._compared(remote, requests[0], built)
            failed_any = any(outcome.status == "error" for outcome in outcomes)
            if failed_any and self._was_away(remote, before):
                outcomes = self._compared(remote, requests[0], built)
        yield from outcomes

    def _compared(self, remote: Remote, first: Request, built: Sequence[Path | Outcome]) -> list[Outcome]:
        """For each kernel its time beside the others, or why it has none."""
        checks = [Check(file, first.shape, self._threads) for file in built if isinstance(file, Path)]
        said = {check.kernel: verdict for check, verdict in zip(checks, verify(checks, remote), strict=True)}
        right = [file for file, verdict in said.items() if verdict.exact]
        times = self._measure(remote, first, right, integer_case(first.shape), self._config.final)
        known = {file: failed(verdict.status, verdict.reason) for file, verdict in said.items()}
        known |= dict(zip(right, times, strict=True))
        return [known[file] if isinstance(file, Path) else file for file in built]

    def _trial(self, request: Request, built: Path | Outcome, case: Case) -> Outcome:
        """One trial on a free device, repeated if the device was away. Raises DeviceError."""
        if isinstance(built, Outcome):
            return built
        remote = self._free.get()
        try:
            for _ in range(_ATTEMPTS):
                before = remote.absences
                rules = Rules(self._config.samples, self._config.min_time, _MAX_TIME)
                (outcome,) = self._measure(remote, request, [built], case, rules)
                if outcome.status != "error" or self._closed.is_set() or not self._was_away(remote, before):
                    return outcome
            return Outcome("error", f"the device went away with it, {_ATTEMPTS} times")
        finally:
            self._free.put(remote)

    def _was_away(self, remote: Remote, absences: int) -> bool:
        """Whether the device is missing now, or was since `absences` were counted; when this returns, it is there.
        Raises DeviceError where it does not come back."""
        is_missed, end = False, time.monotonic() + RETURN
        while True:
            try:
                remote.begin(_PROBED)
                remote.leave()
                return is_missed or remote.absences > absences
            except DeviceError:
                if time.monotonic() >= end or self._closed.wait(1):
                    raise
                is_missed = True

    def _measure(
        self, remote: Remote, request: Request, kernels: Sequence[Path], case: Case, rules: Rules
    ) -> list[Outcome]:
        group = SessionGroup(remote, request.made_for, request.shape, rules.max_time, probed=not remote.where.emulated)
        outcome = measure(
            [KernelEntry(kernel) for kernel in kernels],
            request.shape,
            case,
            Conditions(request.made_for.isa, remote.cpus, self._threads, rules, group.contestant),
            best=self._best,
        )
        self._best = outcome.best
        return [measured_outcome(result) for result in outcome.measurements]

"""Trials on this machine: kernels built by warm workers, then verified and timed one by one on otherwise idle cores.

One bad candidate costs one outcome: it is built and run in processes that are killed at its own deadline.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tvmconv.compiler.builder import Request
from tvmconv.database.rows import here
from tvmconv.measure.contestant import Failure
from tvmconv.measure.entries import KernelEntry
from tvmconv.measure.interleaved import Best, Conditions, Rules, measure
from tvmconv.support.worker import WorkerLost, patience
from tvmconv.support.worker_pool import WorkerPool
from tvmconv.target.devices import LOCAL
from tvmconv.target.isa import Isa
from tvmconv.tune.builder_pool import Compilers, trial_folder
from tvmconv.tune.outcome import Measured, Outcome, failed, measured_outcome
from tvmconv.tune.timing_process import FullSpeed, Try
from tvmconv.verify.reference import integer_case

_TIMING_PROCESS = "tvmconv.tune.timing_process"
_PATIENCE = 20.0  # seconds that a trial may take, on top of those that its layer's size is worth
_FULL_SPEED = "full_speed_gflops"


@dataclass(frozen=True)
class MeasureConfig:
    """How long to measure: turns of a trial, twice as many where they differ or seem to be the fastest, and seconds of
    each; a trial is given up when it is `hopeless` times as slow as the best one so far; the same of finals, and the
    seconds after which no other of their rounds begins."""

    samples: int = 4
    min_time: float = 0.015
    hopeless: float = 1.5
    final_samples: int = 15
    final_min_time: float = 0.03
    final_max_time: float = 20.0

    @property
    def final(self) -> Rules:
        return Rules(self.final_samples, self.final_min_time, self.final_max_time, own_time=True)


MEASURE_CONFIG = MeasureConfig()


class TrialRunner(Protocol):
    """Makes trials of a layer's kernels. device, cpu: where, as a record has it."""

    device: str
    cpu: str

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The way trials are measured, as records have it: only equal ones are comparable."""

    def go_on(self, protocols: Sequence[Mapping[str, Any]]) -> None:
        """Trials are to be comparable with earlier ones, made here by these protocols: the last that can be met."""

    def build(self, requests: Sequence[Request], folder: Path) -> Generator[Path | Outcome, None, None]:
        """For each, in order, its kernel's file in `folder`, or the outcome of one that could not be built.

        Raises OSError where that is the disk's fault, and no candidate's.
        """

    def measured(
        self, requests: Sequence[Request], built: Iterable[Path | Outcome], best: Mapping[str, float]
    ) -> Generator[Measured, None, None]:
        """One outcome for each kernel of one layer, with its number, as soon as it is known: in order, but where there
        are several devices. built: what became of building them; best: seconds of the fastest one so far, for each of
        their algorithms."""

    def finals(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Kernels of one layer measured side by side, interleaved, as bench does it; outcomes in order."""


def try_all(
    runner: TrialRunner, requests: Sequence[Request], best: Mapping[str, float]
) -> Generator[Measured, None, None]:
    """Kernels of one layer, built and measured: as TrialRunner.measured."""
    with trial_folder() as folder, closing(runner.build(requests, folder)) as built:
        yield from runner.measured(requests, built, best)


class LocalTrialRunner:
    """This machine: `jobs` compilers, one process that measures, on `cpus`. To be used in a `with` statement.

    Nothing is compiled while something is measured. The protocol says by which full speed trials are counted, of cores
    with the vectors of `isa`.
    """

    device = LOCAL

    def __init__(
        self, threads: int, cpus: Sequence[int], jobs: int, isa: Isa, config: MeasureConfig = MEASURE_CONFIG
    ) -> None:
        self.cpu = str(here()["cpu"])
        self._threads, self._cpus, self._isa, self._config = threads, tuple(cpus), isa, config
        self._compilers, self._timing_process = Compilers(jobs), WorkerPool(_TIMING_PROCESS, 1)
        self._best = Best()
        self._full_speed: float | None = None

    def __enter__(self) -> LocalTrialRunner:
        self._timing_process.start(1)
        self._speed()  # while nothing else runs
        self._compilers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._compilers.__exit__(*error)
        self._timing_process.close()

    @property
    def protocol(self) -> Mapping[str, Any]:
        return self._protocol(self._speed())

    def go_on(self, protocols: Sequence[Mapping[str, Any]]) -> None:
        for protocol in protocols:
            speed = protocol.get(_FULL_SPEED)
            if isinstance(speed, float) and speed > 0 and protocol == self._protocol(speed):
                self._full_speed = speed

    def _protocol(self, full_speed: float) -> dict[str, Any]:
        return {**asdict(self._config), "check": "exact, before and after", _FULL_SPEED: full_speed}

    def build(self, requests: Sequence[Request], folder: Path) -> Generator[Path | Outcome, None, None]:
        return self._compilers.build(requests, folder)

    def measured(
        self, requests: Sequence[Request], built: Iterable[Path | Outcome], best: Mapping[str, float]
    ) -> Generator[Measured, None, None]:
        fastest = dict(best)
        kernels = list(built)  # all of them before the first is measured
        for number, (request, kernel) in enumerate(zip(requests, kernels, strict=True)):
            own = fastest[request.algorithm]
            outcome = kernel if isinstance(kernel, Outcome) else self._timed(request, kernel, own)
            fastest[request.algorithm] = min(own, outcome.median)
            yield number, outcome

    def finals(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        shape = requests[0].shape
        with trial_folder() as folder:
            built = list(self.build(requests, folder))
            measured = measure(
                [KernelEntry(file) for file in built if isinstance(file, Path)],
                shape,
                integer_case(shape),
                Conditions(self._isa, self._cpus, self._threads, self._config.final),
                best=self._best,
            )
        self._best = measured.best
        results = iter(measured.measurements)
        for file in built:
            yield file if isinstance(file, Outcome) else measured_outcome(next(results))

    def _timed(self, request: Request, kernel: Path, best: float) -> Outcome:
        attempt = Try(
            kernel,
            request.shape,
            self._threads,
            self._cpus,
            self._isa,
            self._config.samples,
            self._config.min_time,
            best,
            self._config.hopeless,
            self._speed(),
        )
        answer = self._asked(attempt, patience(_PATIENCE, request.shape.flops))
        if isinstance(answer, WorkerLost):
            return Outcome("error", f"the kernel {answer}")
        if isinstance(answer, Failure):
            return failed(answer.status, answer.reason)
        return Outcome("ok", seconds=answer)

    def _speed(self) -> float:
        """The full speed of the cores, in GFLOP/s, measured once for all trials."""
        if self._full_speed is None:
            answer = self._asked(FullSpeed(self._cpus, self._isa), _PATIENCE)
            if not isinstance(answer, float):
                raise RuntimeError(f"the speed of CPUs {self._cpus} cannot be measured: {answer}")
            self._full_speed = round(answer, 2)
        return self._full_speed

    def _asked(self, question: Try | FullSpeed, limit: float) -> Any:
        (answer,) = self._timing_process.ask_each([question], lambda _: limit)
        return answer

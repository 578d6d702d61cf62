"""A pool of worker processes: answers in order, and a worker that is lost is replaced."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, TypeVar

from tvmconv.support.worker import Worker, WorkerLost

_Message = TypeVar("_Message")


class WorkerPool:
    """Up to `jobs` workers of `module`, started when there is work for them and kept for what comes next.

    To be closed, or used in a `with` statement: no process outlives it.
    """

    def __init__(self, module: str, jobs: int) -> None:
        self._module, self._jobs = module, jobs
        self._idle: list[Worker] = []
        self._busy: dict[Worker, int] = {}

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, workers: int) -> None:
        """Has so many workers begin to import what they need, if there are not as many."""
        missing = min(workers, self._jobs) - len(self._idle) - len(self._busy)
        self._idle.extend(Worker(self._module) for _ in range(missing))

    def close(self) -> None:
        for worker in (*self._idle, *self._busy):
            worker.kill()
        self._idle.clear()
        self._busy.clear()

    def ask_each(
        self, messages: Sequence[_Message], patience: Callable[[_Message], float]
    ) -> Generator[Any | WorkerLost, None, None]:
        """One answer to each message, in order, each as soon as it is known.

        `patience` gives the seconds that a message may take. A worker that dies or is late is replaced, and its answer
        is the WorkerLost that says why. Workers that are busy when the generator is closed end with it.
        """
        queue = deque(enumerate(messages))
        answers: dict[int, Any | WorkerLost] = {}
        self.start(len(messages))
        try:
            for index in range(len(messages)):
                while index not in answers:
                    while self._idle and queue:
                        worker = self._idle.pop()
                        self._busy[worker], message = queue.popleft()
                        worker.send(message, patience(message))
                    for worker in _answering(self._busy):
                        answers[self._busy.pop(worker)] = self._receive(worker)
                yield answers.pop(index)
        finally:
            for worker in self._busy:
                worker.kill()
            self._busy.clear()

    def _receive(self, worker: Worker) -> Any | WorkerLost:
        """The answer; the worker, or a new one in the place of one that is lost, can take the next message."""
        try:
            answer = worker.receive()
        except WorkerLost as lost:
            worker.kill()
            answer, worker = lost, Worker(self._module)
        self._idle.append(worker)
        return answer


def ask_each(
    module: str, messages: Sequence[_Message], jobs: int, patience: Callable[[_Message], float]
) -> Generator[Any | WorkerLost, None, None]:
    """As WorkerPool.ask_each, with a pool for these messages alone: no process outlives the generator."""
    with WorkerPool(module, jobs) as pool, closing(pool.ask_each(messages, patience)) as answers:
        yield from answers


def _answering(busy: Iterable[Worker]) -> list[Worker]:
    """Wait until a worker answers, dies or is late; those that did."""
    patience = min(worker.deadline for worker in busy) - time.monotonic()
    ready = wait([worker.connection for worker in busy], max(0.0, patience))
    return [worker for worker in busy if worker.connection in ready or time.monotonic() >= worker.deadline]

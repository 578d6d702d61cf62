"""Some workers of one kind that share many questions: answers in order, whatever becomes of one worker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from multiprocessing.connection import wait
from typing import Any, TypeVar

from tvmconv.worker import Worker, WorkerLost

_Message = TypeVar("_Message")


def ask_each(
    module: str, messages: Sequence[_Message], jobs: int, patience: Callable[[_Message], float]
) -> Generator[Any | WorkerLost, None, None]:
    """One answer to each message, in order, each as soon as it is known; `jobs` workers of `module` share them.

    `patience` gives the seconds that a message may take. A worker that dies or is late is replaced, and its answer is
    the WorkerLost that says why. No process outlives the generator.
    """
    queue = deque(enumerate(messages))
    answers: dict[int, Any | WorkerLost] = {}
    idle: list[Worker] = []
    busy: dict[Worker, int] = {}
    try:
        idle.extend(Worker(module) for _ in range(min(jobs, len(messages))))
        for index in range(len(messages)):
            while index not in answers:
                while idle and queue:
                    worker = idle.pop()
                    busy[worker], message = queue.popleft()
                    worker.send(message, patience(message))
                for worker in _answering(busy):
                    answers[busy.pop(worker)], survivor = _receive(worker, module)
                    idle.append(survivor)
            yield answers.pop(index)
    finally:
        for worker in (*idle, *busy):
            worker.kill()


def _answering(busy: Iterable[Worker]) -> list[Worker]:
    """Wait until a worker answers, dies or is late; those that did."""
    patience = min(worker.deadline for worker in busy) - time.monotonic()
    ready = wait([worker.connection for worker in busy], max(0.0, patience))
    return [worker for worker in busy if worker.connection in ready or time.monotonic() >= worker.deadline]


def _receive(worker: Worker, module: str) -> tuple[Any | WorkerLost, Worker]:
    """The answer, and the worker that can take the next message: a new one if this one is lost."""
    try:
        return worker.receive(), worker
    except WorkerLost as lost:
        worker.kill()
        return lost, Worker(module)

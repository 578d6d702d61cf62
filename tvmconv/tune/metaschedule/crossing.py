"""Passes exceptions and Ctrl-C through TVM's C++, which turns most into RuntimeError."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from tvmconv.support.interruption import SIGNALS


class Crossing:
    """One call of what calls back, as a `with` statement. Ctrl-C, SIGTERM and SIGHUP wait until it returns, or until it
    is `back`."""

    def __init__(self) -> None:
        self._waiting: int | None = None  # the signal that came
        self._raised: BaseException | None = None
        self._outside: dict[signal.Signals, Any] = {}  # the handlers, which are the main thread's alone

    def __enter__(self) -> Crossing:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self._outside = {number: handler for number, handler in handlers.items() if callable(handler)}
        self._hold_back()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_through()
        raised, self._raised = self._raised, None
        if raised:
            raise raised from None
        self._deliver()

    @contextmanager
    def back(self) -> Iterator[None]:
        """For callbacks: signals interrupt again, and exceptions are raised from the `with` statement."""
        try:
            self._let_through()
            self._deliver()
            yield
        except BaseException as error:
            self._raised = self._raised or error
            raise
        finally:
            self._hold_back()

    def _hold_back(self) -> None:
        for number in self._outside:
            signal.signal(number, self._wait)

    def _let_through(self) -> None:
        for number, handler in self._outside.items():
            signal.signal(number, handler)

    def _deliver(self) -> None:
        number, self._waiting = self._waiting, None
        if number is not None:
            signal.raise_signal(number)

    def _wait(self, number: int, *_: object) -> None:
        self._waiting = self._waiting or number

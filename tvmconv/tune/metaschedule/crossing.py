"""Exceptions and Ctrl-C across TVM's C++, which makes a RuntimeError of most that is raised where it calls back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any


class Crossing:
    """One call of what calls back, as a `with` statement. Ctrl-C waits until it returns, or until it is `back`."""

    def __init__(self) -> None:
        self._interrupted = False
        self._raised: BaseException | None = None
        self._outside: Any = None  # the handler of SIGINT, which is the main thread's alone

    def __enter__(self) -> Crossing:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is not None:
            self._outside = signal.signal(signal.SIGINT, self._wait)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._outside is not None:
            signal.signal(signal.SIGINT, self._outside)
        raised, self._raised = self._raised, None
        if raised:
            raise raised from None
        if self._interrupted:
            signal.raise_signal(signal.SIGINT)

    @contextmanager
    def back(self) -> Iterator[None]:
        """In a callback: Ctrl-C interrupts again, and what is raised is what the `with` statement raises."""
        try:
            if self._outside is not None:
                signal.signal(signal.SIGINT, self._outside)
            if self._interrupted:
                self._interrupted = False
                signal.raise_signal(signal.SIGINT)
            yield
        except BaseException as error:
            self._raised = self._raised or error
            raise
        finally:
            if self._outside is not None:
                signal.signal(signal.SIGINT, self._wait)

    def _wait(self, *_: object) -> None:
        self._interrupted = True

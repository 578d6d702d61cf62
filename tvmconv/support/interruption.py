"""Makes SIGTERM and SIGHUP end a command as Ctrl-C does, with its processes and temporary files."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT  # the exit code after Ctrl-C

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Terminated(KeyboardInterrupt):
    """The process was asked to end by the signal of that number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def exit_code(error: KeyboardInterrupt) -> int:
    """The exit code of a command ended by a signal: 128 plus its number, as shells have it."""
    return error.exit_code if isinstance(error, Terminated) else INTERRUPTED


@contextmanager
def terminable() -> Iterator[None]:
    """Meanwhile SIGTERM and SIGHUP raise Terminated in the main thread, once: while it ends, others change nothing.

    A signal that is ignored, as by nohup, or that the program handles itself is left as it is.
    """
    ending = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ending
        if not ending:
            ending = True
            raise Terminated(number)

    main = threading.current_thread() is threading.main_thread()
    handled = [number for number in SIGNALS[1:] if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)

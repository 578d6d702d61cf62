"""TVMScript parsed in a third of the time."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def sources_of_frames_unread() -> Iterator[None]:
    """Meanwhile inspect.getouterframes of this process tells where frames are, but not what their source says there.

    TVM's parser asks for all frames at each macro to find a variable of one of them, and at each function to see
    whether it stands in a class, as none of ours does; to look for the source files of some fifty frames takes twice as
    long as all the rest of the parser.
    """
    original = inspect.getouterframes
    inspect.getouterframes = _frames_alone
    try:
        yield
    finally:
        inspect.getouterframes = original


def _frames_alone(frame: FrameType, context: int = 1) -> list[inspect.FrameInfo]:
    """As inspect.getouterframes, without the lines around them."""
    return [
        inspect.FrameInfo(each, each.f_code.co_filename, each.f_lineno, each.f_code.co_name, None, None)
        for each in _outwards(frame)
    ]


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame:
        yield frame
        frame = frame.f_back

"""Parses whole numbers of ASCII digits; Python's int also takes 1_000, +3, ٣ and blanks."""

from __future__ import annotations

import re

from tvmconv.support.text import shortened

MOST = 2**31 - 1


def whole_number(text: str, least: int = 0, most: int = MOST) -> int:
    """The number that `text` is. Raises ValueError, with one sentence, if it is none from `least` to `most`."""
    digits = text.lstrip("0") or "0"
    if not re.fullmatch("[0-9]+", text) or (len(digits) <= len(str(least)) and int(digits) < least):
        raise ValueError(f"{shortened(text)!r} is not a whole number of at least {least}")
    if len(digits) > len(str(most)) or int(digits) > most:
        raise ValueError(f"{shortened(text)!r} is above {most}, the largest number that is taken")
    return int(digits)

"""Parses lists of CPUs such as 0,2-3."""

from __future__ import annotations

import re

from tvmconv.support.text import shortened


def cpu_list(text: str) -> tuple[int, ...]:
    """The numbers of a list such as 0,2-3, each once, in its order. Raises ValueError."""
    cpus: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part, re.ASCII)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"{shortened(text)!r} is not a list of CPUs such as 0,2-3")
        cpus += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(dict.fromkeys(cpus))

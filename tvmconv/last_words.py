"""What a program or an error says last, where progress and tracebacks come before what is wrong."""

from __future__ import annotations


def last_words(text: str) -> str | None:
    """The last line of a text that is not blank; None where there is none."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else None

"""Text of messages: the last line of an output, and suggestions for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def last_line(text: str) -> str | None:
    """The last line of a text that is not blank; None where there is none."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else None


_LONGEST = 80


def shortened(text: str, longest: int = _LONGEST) -> str:
    """`text`, with … for what is beyond `longest` characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def unknown(kind: str, name: str, known: Sequence[str], listing: str | None = None) -> str:
    """Says that there is no `kind` of that name, which known one it resembles, and which there are.

    `listing` is a command that names them all, for those that are too many for a line.
    """
    close = difflib.get_close_matches(name, known, n=1)
    guess = f", did you mean {close[0]}?" if close else ""
    where = f"`{listing}` names all" if listing else f"known: {', '.join(known)}"
    return f"unknown {kind} {shortened(name)!r}{guess} ({where})"

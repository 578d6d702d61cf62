"""The sentence for a name that there is not, the same wherever names are looked up."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def unknown(kind: str, name: str, known: Sequence[str], listing: str | None = None) -> str:
    """Says that there is no `kind` of that name, which known one it resembles, and which there are.

    `listing` is a command that names them all, for those that are too many for a line.
    """
    close = difflib.get_close_matches(name, known, n=1)
    guess = f", did you mean {close[0]}?" if close else ""
    where = f"`{listing}` names all" if listing else f"known: {', '.join(known)}"
    return f"unknown {kind} {name!r}{guess} ({where})"

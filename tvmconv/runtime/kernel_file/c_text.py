"""Arbitrary text, such as a layer's name, made safe for generated C."""

from __future__ import annotations

import re

_LONGEST = 200  # characters of one text in a comment
# What ends a comment, begins another one, or begins a trigraph.
_SIGNIFICANT = re.compile(r"\*(?=/)|/(?=\*)|\?(?=\?)")


def comment(text: str) -> str:
    """The text as part of a line of a block comment: printable ASCII, other characters as Python escapes them.

    `*/`, `/*` and `??` are torn apart by blanks; a backslash at the end, which would join the next line, is followed by
    a full stop. A long text is cut.
    """
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    escaped = "".join(letter if " " <= letter <= "~" else ascii(letter)[1:-1] for letter in cut)
    return _SIGNIFICANT.sub(r"\g<0> ", escaped) + ("." if escaped.endswith("\\") else "")


def string(text: str) -> str:
    """A C string literal of the text in UTF-8. A blank stands for each character that cannot be printed."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return '"' + "".join(map(_in_string, printable.encode())) + '"'


def _in_string(byte: int) -> str:
    """A byte in a string literal: octal, which three digits end, where it is no letter or might begin a trigraph."""
    letter = chr(byte)
    return letter if " " <= letter <= "~" and letter not in '"\\?' else f"\\{byte:03o}"

"""Names of nodes: unique, printable, and typeable."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count

from tvmconv.support.text import unknown

_MOST_CHOICES = 8


def labels(names: Sequence[str]) -> list[str]:
    """A label for each node, given the nodes' names in the file, which may be equal.

    It is the safe spelling of the name if no other name is spelt like it, else the name itself if it can be printed and
    only one node has it, else the safe spelling with a number, as in conv#2. A label is no other node's name.
    """
    spelt, given = Counter(map(safe, names)), Counter(names)
    next_number: defaultdict[str, count[int]] = defaultdict(lambda: count(1))

    def label(name: str) -> str:
        spelling = safe(name)
        if spelling and spelt[spelling] == 1:
            return spelling
        if given[name] == 1 and _is_plain(name):
            return name
        base = spelling or "unnamed"
        numbered = (f"{base}#{number}" for number in next_number[base])
        return next(candidate for candidate in numbered if candidate not in given)

    return [label(name) for name in names]


def find(asked: str, names: Sequence[str], model: str) -> int:
    """The index of the node that `asked` means: its name, else its label, else another spelling of its name.

    Raises ValueError, with one sentence, if there is none or more than one.
    """
    own = labels(names)
    if asked in own and asked not in names:
        return own.index(asked)
    found = [index for index, name in enumerate(names) if name == asked]
    found = found or [index for index, name in enumerate(names) if safe(name) == safe(asked)]
    if not found:
        raise ValueError(unknown(f"{model} layer", asked, own, f"tvmconv list layers {model}"))
    if len(found) > 1:
        choices = ", ".join(shlex.quote(f"{model}/{own[index]}") for index in found[:_MOST_CHOICES])
        more = f" and {len(found) - _MOST_CHOICES} more" if len(found) > _MOST_CHOICES else ""
        raise ValueError(f"{len(found)} layers of {model} are called {asked!r}: ask for one of {choices}{more}")
    return found[0]


def safe(name: str) -> str:
    """A name that needs no quotes in a shell and has no slash: `/layer1/conv 1` is `layer1_conv_1`."""
    return re.sub(r"[^\w.+-]+", "_", unicodedata.normalize("NFC", name.strip("/ \t\r\n")))


def _is_plain(name: str) -> bool:
    """Whether a name looks like itself alone: no control character, no blank at its ends, no accent apart."""
    return name.isprintable() and name == name.strip() and unicodedata.is_normalized("NFC", name)

"""Tile: the one value that fixes a kernel's code and both of its layouts at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from tvmconv.support.text import shortened

_TEXT = re.compile(r"(?P<mr>\d{1,9})x(?P<nr>\d{1,9})(?P<rest>(?:_(?:kr|mc|kc|pf|st|vl|gc)\d{1,9})*)", re.ASCII)
OPEN = -1  # a size that is left to the schedule


@dataclass(frozen=True)
class Tile:
    """Block sizes of a GEMM of M = OH·OW rows, OC columns and K = KH·KW·IC, in elements.

    mr×nr is what one tile accumulates in registers; nr is also the width of a packed weight panel and mr the group
    size of the indirection buffer. kr channels are one step of the inner loop. mc rows are swept with one panel before
    the next block of rows, kc channels of each tap before the next block of K; 0 stands for the whole extent. pf is how
    many channels ahead of their use weights are fetched into L1 (0: left to the hardware). With st = 1 the next block
    of weights is fetched into L2 while one is used, which pays where not all of them stay there.
    gc is how many channels of a row are loaded at once, as one vector that is held until its last one is used: KR, or 1
    where each is read from memory when it is used (as where gc is left open at last).

    In NCHW the operands have swapped roles: mr counts output channels, nr and mc pixels, and vl pixels of one row, or
    of the flattened image, make up a vector.

    Of a depthwise layer, whose K is the taps alone, mr is pixels of one output row, nr channels; mc pixels (whole rows)
    and kc channels are swept before the next block; the rest has no meaning.
    """

    mr: int
    nr: int
    kr: int = OPEN
    mc: int = OPEN
    kc: int = OPEN
    pf: int = OPEN
    st: int = OPEN
    vl: int = OPEN
    gc: int = OPEN

    def __post_init__(self) -> None:
        if self.mr < 1 or self.nr < 1 or 0 in (self.kr, self.vl, self.gc) or self.st > 1:
            raise ValueError(f"tile {self}: MR, NR and KR must be at least 1, ST 0 or 1")

    @classmethod
    def parse(cls, text: str) -> Tile:
        """Reads what str() prints: MRxNR, then any of _krN _mcN _kcN _pfN _stN _vlN. Raises ValueError."""
        match = _TEXT.fullmatch(text)
        if not match:
            raise ValueError(
                f"tile {shortened(text)!r} is not MRxNR, for example 6x64 (optionally with _kr4_kc256_pf4_st1 behind)"
            )
        sizes = {name: int(size) for name, size in re.findall(r"_([a-z]+)(\d+)", match["rest"])}
        return cls(int(match["mr"]), int(match["nr"]), **sizes)

    @property
    def decided(self) -> dict[str, int]:
        """The sizes that are not left open, by name."""
        sizes = {field.name: int(getattr(self, field.name)) for field in fields(self)}
        return {name: size for name, size in sizes.items() if size != OPEN}

    def __str__(self) -> str:
        rest = "".join(f"_{name}{size}" for name, size in self.decided.items() if name not in ("mr", "nr"))
        return f"{self.mr}x{self.nr}{rest}"

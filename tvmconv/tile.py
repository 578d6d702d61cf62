"""Tile: the one value that fixes a kernel's code and both of its layouts at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_TEXT = re.compile(r"(?P<mr>\d+)x(?P<nr>\d+)(?P<rest>(?:_(?:kr|mc|nc|kc|pf|st)\d+)*)", re.ASCII)


@dataclass(frozen=True)
class Tile:
    """Block sizes of a GEMM of M = OH·OW rows, OC columns and K = KH·KW·IC, in elements.

    mr×nr is what one tile accumulates in registers; nr is also the width of a packed weight panel and mr the group
    size of the indirection buffer. kr channels are one step of the inner loop. mc rows and nc columns are swept before
    the next block of rows and columns, kc channels of each tap before the next part of K; 0 stands for the whole
    extent. pf is how many channels ahead of their use weights are fetched into L1 (0: left to the hardware). With st
    = 1 the next block of weights is fetched into L2 while one is used, which pays where not all of them stay there.
    """

    mr: int
    nr: int
    kr: int = 1
    mc: int = 0
    nc: int = 0
    kc: int = 0
    pf: int = 0
    st: int = 0

    def __post_init__(self) -> None:
        if self.mr < 1 or self.nr < 1 or self.kr < 1:
            raise ValueError(f"tile {self}: MR, NR and KR must be at least 1")

    @classmethod
    def parse(cls, text: str) -> Tile:
        """Reads what str() prints: MRxNR, then any of _krN _mcN _ncN _kcN _pfN _stN. Raises ValueError."""
        match = _TEXT.fullmatch(text)
        if not match:
            raise ValueError(
                f"tile {text!r} is not MRxNR, for example 6x64 (optionally with _kr4_mc96_kc256_pf4 behind)"
            )
        tile = cls(int(match["mr"]), int(match["nr"]))
        return replace(tile, **{name: int(size) for name, size in re.findall(r"_([a-z]+)(\d+)", match["rest"])})

    def __str__(self) -> str:
        rest = [
            ("kr", self.kr, 1),
            ("mc", self.mc, 0),
            ("nc", self.nc, 0),
            ("kc", self.kc, 0),
            ("pf", self.pf, 0),
            ("st", self.st, 0),
        ]
        return f"{self.mr}x{self.nr}" + "".join(f"_{name}{size}" for name, size, default in rest if size != default)

"""Tile: the one value that fixes a kernel's code and both of its layouts at once; NchwTile: what it means in NCHW."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from tvmconv.support.text import shortened

_TEXT = re.compile(r"(?P<mr>\d{1,9})x(?P<nr>\d{1,9})(?P<rest>(?:_(?:kr|mc|kc|pf|st|vl|gc)\d{1,9})*)", re.ASCII)
OPEN = -1  # a size that is left to the schedule
SPELLED = {"prefetch_distance": "pf", "stream_l2": "st", "lanes": "vl", "a_vector": "gc"}  # others by their names


@dataclass(frozen=True)
class Tile:
    """Block sizes of a GEMM of M = OH·OW rows, OC columns and K = KH·KW·IC, in elements.

    mr×nr is what one tile accumulates in registers; nr is also the width of a packed weight panel and mr the group
    size of the indirection buffer. kr channels are one step of the inner loop. mc rows are swept with one panel before
    the next block of rows, kc channels of each tap before the next block of K; 0 stands for the whole extent.
    Weights are fetched into L1 prefetch_distance (PF) channels ahead of their use (0: left to the hardware). With
    stream_l2 = 1 (ST) the next block of weights is fetched into L2 while one is used, which pays where not all of them
    stay there.
    a_vector (GC) is how many channels of a row are loaded at once, as one vector that is held until its last one is
    used: KR, or 1 where each is read from memory when it is used (as where it is left open at last). lanes (VL) is the
    length of the vectors of phases that are no matrix product.

    This is the spelling of NCHW's tiles, too; NchwTile says what the sizes are there.

    Of a depthwise layer, whose K is the taps alone, mr is pixels of one output row, nr channels; mc pixels (whole rows)
    and kc channels are swept before the next block; the rest has no meaning.
    """

    mr: int
    nr: int
    kr: int = OPEN
    mc: int = OPEN
    kc: int = OPEN
    prefetch_distance: int = OPEN
    stream_l2: int = OPEN
    lanes: int = OPEN
    a_vector: int = OPEN

    def __post_init__(self) -> None:
        if self.mr < 1 or self.nr < 1 or 0 in (self.kr, self.lanes, self.a_vector) or self.stream_l2 > 1:
            raise ValueError(f"tile {self}: MR, NR and KR must be at least 1, ST 0 or 1")

    @classmethod
    def parse(cls, text: str) -> Tile:
        """Reads what str() prints: MRxNR, then any of _krN _mcN _kcN _pfN _stN _vlN. Raises ValueError."""
        match = _TEXT.fullmatch(text)
        if not match:
            raise ValueError(
                f"tile {shortened(text)!r} is not MRxNR, for example 6x64 (optionally with _kr4_kc256_pf4_st1 behind)"
            )
        names = {spelled: name for name, spelled in SPELLED.items()}
        sizes = {names.get(name, name): int(size) for name, size in re.findall(r"_([a-z]+)(\d+)", match["rest"])}
        return cls(int(match["mr"]), int(match["nr"]), **sizes)

    @property
    def panel(self) -> int:
        """Output channels of a packed panel of weights."""
        return self.nr

    @property
    def decided(self) -> dict[str, int]:
        """The sizes that are not left open, by name."""
        sizes = {field.name: int(getattr(self, field.name)) for field in fields(self)}
        return {name: size for name, size in sizes.items() if size != OPEN}

    def __str__(self) -> str:
        named = {SPELLED.get(name, name): size for name, size in self.decided.items()}
        rest = "".join(f"_{name}{size}" for name, size in named.items() if name not in ("mr", "nr"))
        return f"{self.mr}x{self.nr}{rest}"


@dataclass(frozen=True)
class NchwTile:
    """Block sizes in NCHW: of a GEMM of OC rows, M = OH·OW columns and K = IC·KH·KW, in elements.

    channels×pixels is what one tile accumulates in registers; channels is also the width of a packed weight panel.
    kr channels are one step of the inner loop. block pixels are swept with one panel before the next block of pixels,
    kc channels of each tap before the next block of K; 0 stands for all. lanes pixels of one row, or of the flattened
    image, make up a vector.
    """

    channels: int
    pixels: int
    kr: int
    block: int
    kc: int
    lanes: int

    @classmethod
    def of(cls, tile: Tile) -> NchwTile:
        """The tile in NCHW's terms."""
        return cls(tile.mr, tile.nr, kr=tile.kr, block=tile.mc, kc=tile.kc, lanes=tile.lanes)

    @property
    def panel(self) -> int:
        """Output channels of a packed panel of weights."""
        return self.channels

    @property
    def spelled(self) -> Tile:
        """The tile as the command and tuning logs spell it. Nothing is fetched ahead."""
        sizes = {"kr": self.kr, "mc": self.block, "kc": self.kc, "lanes": self.lanes}
        return Tile(self.channels, self.pixels, prefetch_distance=0, stream_l2=0, **sizes)

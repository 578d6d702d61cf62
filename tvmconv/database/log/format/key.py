"""The key of a tuning record: all that decides which tile is best, except the tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvmconv.database.log.format.fields import KEY

if TYPE_CHECKING:
    from tvmconv.compiler.builder import Request

EPILOGUE = "bias+clamp"

_WORDS = {"mcpu": "core", "features": "CPU features"}


@dataclass(frozen=True)
class Key:
    """The key of a record. workload: canonical descriptor; target: its name; mcpu: LLVM's name of the core that the
    code is made for; features: what a CPU must have to run it, as /proc/cpuinfo names them. Raises ValueError, with one
    sentence, for fields that no line can have."""

    workload: str
    layout: str
    dtype: str
    epilogue: str
    algorithm: str
    target: str
    mcpu: str
    features: tuple[str, ...]
    threads: int

    def __post_init__(self) -> None:
        KEY.check(self)

    @classmethod
    def of(cls, request: Request, threads: int) -> Key:
        """The key of a request, checked or not, whatever its schedule and tile. Raises ValueError for names that there
        are not."""
        target = request.made_for
        return cls(
            workload=str(request.shape),
            layout=request.defined_by.layout,
            dtype=request.dtype.name,
            epilogue=EPILOGUE,
            algorithm=request.algorithm,
            target=target.name,
            mcpu=target.mcpu,
            features=target.features,
            threads=threads,
        )

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.workload}, {self.algorithm} in {self.layout}, {self.target}, {threads}"

    def differences(self, other: Key) -> dict[str, str]:
        """The differences from another key by field, in words: "for threads 2"."""
        mine, yours = vars(self), vars(other)
        return {name: _difference(name, mine[name], yours[name]) for name in mine if mine[name] != yours[name]}


def _difference(name: str, mine: Any, yours: Any) -> str:
    if name == "features":
        more, less = (" ".join(sorted(set(a) - set(b))) for a, b in ((mine, yours), (yours, mine)))
        changes = " and ".join(filter(None, (more and f"with {more}", less and f"without {less}")))
        return f"for CPU features {changes or 'in another order'}"
    return f"for {_WORDS.get(name, name)} {mine}"

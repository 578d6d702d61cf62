"""Another tool's profile of one network: its convolutions in execution order, and their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class Geometry:
    """The sizes of a convolution that a tool prints; padding and dilation are not among them."""

    ic: int
    ih: int
    iw: int
    oc: int
    oh: int
    ow: int
    kh: int
    kw: int
    sh: int
    sw: int

    def is_of(self, shape: ConvShape) -> bool:
        """Whether a problem has these sizes."""
        return all(value == getattr(shape, name) for name, value in vars(self).items())


@dataclass(frozen=True)
class Times:
    """Seconds of one operator or network: of each run that was timed, or their `average` alone, over `n` runs."""

    runs: tuple[float, ...] = ()
    average: float = 0.0
    n: int | None = None

    @classmethod
    def averaged(cls, several: Sequence[Times]) -> Times:
        """The mean over operators that are the same layer, run by run where the runs are known."""
        if all(times.runs for times in several):
            return cls(tuple(mean(run) for run in zip(*(times.runs for times in several), strict=False)))
        return cls(average=mean(times.average for times in several), n=several[0].n)


@dataclass(frozen=True)
class Op:
    """A convolution as it ran. depthwise: None where the tool does not tell; foreign: why its time says nothing."""

    name: str
    times: Times
    depthwise: bool | None = None
    geometry: Geometry | None = None
    foreign: str | None = None


@dataclass(frozen=True)
class Profile:
    """One network as `peer` (tflite, ncnn) ran it. threads: None where the tool does not say; whole: its own time."""

    peer: str
    network: str | None
    ops: tuple[Op, ...]
    threads: int | None = None
    whole: Times | None = None

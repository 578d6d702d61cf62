"""oneDNN, as benchdnn times it.

Weights and bias are put into the layout that the primitive chooses once, y and the scratchpad are allocated once, the
clamp is a post-op, a run is one call. x and y lie in whichever of oneDNN's layouts is fastest for the layer, reorders
not counted. f32 throughout: no narrower type may stand in. The algorithm is `direct`: the x86-64 library has no
Winograd convolution of f32, so its `auto` is the same.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvmconv.measure.peers import dnnl
from tvmconv.measure.peers.dnnl import BIAS, DST, SCRATCHPAD, SRC, WEIGHTS, DnnlError, Handle, Library
from tvmconv.measure.peers.fitting import cropped
from tvmconv.measure.probe import seconds_of
from tvmconv.verify.reference import Case
from tvmconv.workload.shape import ConvShape

PACKAGE = "onednn-cpu-gomp"

# Axes are numbered as oneDNN does: N, C, H, W; OIHW; with groups GOIHW.
_NCHW, _NHWC = (0, 1, 2, 3), (0, 2, 3, 1)

# What a primitive chooses the layout of; the bias has only one.
_ARGUMENTS = (SRC, WEIGHTS, DST, SCRATCHPAD)

# Calls of each layout before the fastest is chosen, by its best one.
_TRIAL_ROUNDS = 5


def start(shape: ConvShape, case: Case, threads: int) -> Convolution:
    """The convolution in the layout in which it is fastest. Raises ValueError where the library cannot be loaded."""
    library = _load()
    _openmp().omp_set_num_threads(threads)
    variants = _variants(library, *cropped(shape, case))
    rounds = [[seconds_of(variant.run) for variant in variants] for _ in range(_TRIAL_ROUNDS)]
    best = [min(times) for times in zip(*rounds, strict=True)]
    return variants[best.index(min(best))]


class Convolution:
    """A convolution primitive with all of its memory."""

    def __init__(self, library: Library, plan: Handle, shape: ConvShape, case: Case, layout: str) -> None:
        self.version, self.layout = library.version, layout
        self.implementation = library.implementation(plan)
        self._library, self._shape = library, shape
        self._places = {argument: _Place(library, library.descriptor(plan, argument)) for argument in _ARGUMENTS}
        self._places[BIAS] = _Place(library, library.dense((shape.oc,), (0,)))

        x_sizes, w_sizes, y_sizes = _sizes(shape)
        self._plain_y = library.dense(y_sizes, _NHWC)
        library.reorder((library.dense(x_sizes, _NHWC), case.x), self._places[SRC].pair)
        library.reorder((library.dense(w_sizes, range(len(w_sizes))), case.w), self._places[WEIGHTS].pair)
        self._places[BIAS].content.view(np.float32)[:] = case.bias

        arguments = library.arguments({key: library.memory(*place.pair) for key, place in self._places.items()})
        primitive = library.create("primitive_create", plan)
        self._execute = functools.partial(
            library.c.dnnl_primitive_execute, primitive, library.stream, len(arguments), arguments
        )
        self._wait = functools.partial(library.c.dnnl_stream_wait, library.stream)

    def run(self) -> None:
        if status := self._execute() or self._wait():
            raise DnnlError(f"dnnl_primitive_execute: status {status}")

    def poison_output(self) -> None:
        self._places[DST].content.fill(0xFF)  # every float NaN

    def y(self) -> NDArray[np.float32]:
        result = np.empty(self._shape.y_shape, np.float32)
        self._library.reorder(self._places[DST].pair, (self._plain_y, result))
        return result

    def memory(self) -> list[tuple[int, int]]:
        return [(place.content.ctypes.data, place.content.nbytes) for place in self._places.values()]


class _Place:
    """A memory descriptor and memory for it."""

    def __init__(self, library: Library, descriptor: Handle) -> None:
        self.pair = descriptor, library.allocate(descriptor)
        self.content = self.pair[1]


@dataclass(frozen=True)
class _Layout:
    """Layout of x and y: axes in order, or a format tag of oneDNN's."""

    name: str
    order: tuple[int, ...] | None = None
    tag: int = dnnl.ANY

    def descriptor(self, library: Library, sizes: tuple[int, ...]) -> Handle:
        return library.dense(sizes, self.order) if self.order else library.by_tag(sizes, self.tag)


_LAYOUTS = (
    _Layout("nhwc", _NHWC),
    _Layout("nChw16c", tag=dnnl.BLOCKS_OF_16),
    _Layout("nChw8c", tag=dnnl.BLOCKS_OF_8),
    _Layout("nchw", _NCHW),
)
_CHOSEN = _Layout("any")


def _variants(library: Library, shape: ConvShape, case: Case) -> list[Convolution]:
    """The convolution in every pair of layouts that is worth a trial. Raises DnnlError if there is none."""
    plans: dict[str, Handle] = {}
    failures = []
    for layout in (_CHOSEN, *_LAYOUTS):
        try:
            plan = _plan(library, shape, case, layout)
        except DnnlError as error:
            failures.append(error)
        else:
            plans.setdefault(_layout_of(library, plan, shape), plan)
    if not plans:
        raise failures[0]
    return [Convolution(library, plan, shape, case, name) for name, plan in _optimised(library, plans).items()]


def _optimised(library: Library, plans: dict[str, Handle]) -> dict[str, Handle]:
    """The implementations that are not oneDNN's reference code, which is slower by orders of magnitude; the first one
    if all are."""
    fast = {name: plan for name, plan in plans.items() if not library.implementation(plan).startswith("ref")}
    return fast or dict([next(iter(plans.items()))])


def _layout_of(library: Library, plan: Handle, shape: ConvShape) -> str:
    """The layout of x and y, in that order where they differ: few channels in and many out may well."""
    x_sizes, _, y_sizes = _sizes(shape)
    x, y = (
        next((layout.name for layout in _LAYOUTS if library.same(chosen, layout.descriptor(library, sizes))), "other")
        for chosen, sizes in ((library.descriptor(plan, SRC), x_sizes), (library.descriptor(plan, DST), y_sizes))
    )
    return x if x == y else f"{x}→{y}"


def _plan(library: Library, shape: ConvShape, case: Case, layout: _Layout) -> Handle:
    x_sizes, w_sizes, y_sizes = _sizes(shape)
    return library.direct_convolution(
        layout.descriptor(library, x_sizes),
        library.by_tag(w_sizes, dnnl.ANY),
        library.dense((shape.oc,), (0,)),
        layout.descriptor(library, y_sizes),
        dnnl.dims(shape.sh, shape.sw),
        dnnl.dims(shape.dh, shape.dw),
        dnnl.dims(shape.ph, shape.pw),
        dnnl.dims(shape.pb, shape.pr),
        library.strict(case.clamp),
    )


def _sizes(s: ConvShape) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """x, w and y as oneDNN counts their axes."""
    w = (s.oc, s.icg, s.kh, s.kw) if s.g == 1 else (s.g, s.ocg, s.icg, s.kh, s.kw)
    return (s.mb, s.ic, s.ih, s.iw), w, (s.mb, s.oc, s.oh, s.ow)


@functools.cache
def _load() -> Library:
    """The package's library, by its full name: `onednn`, with a GPU half, installs another one under the short ones."""
    found = [file for file in files(PACKAGE) or () if file.name.startswith("libdnnl.so.")]
    path = Path(str(max(found, key=lambda file: len(file.name)).locate())).resolve()
    try:
        return Library(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be loaded: {error}; is your system's package libgomp1 installed?") from None


def _openmp() -> ctypes.CDLL:
    return ctypes.CDLL("libgomp.so.1")  # what libdnnl has loaded already

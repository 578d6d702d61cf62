"""Matches layers to a profile's operators: by sizes, by name, or by order where that is unambiguous."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tvmconv.bench.importers.profile import Op, Profile
from tvmconv.workload.resolve import Layer
from tvmconv.workload.shape import ConvShape

_MOST_STEPS = 20_000  # of the search for an order: networks that have one take some hundreds

_NO_ORDER = (
    "the file tells neither the sizes nor the names of WORKLOAD's layers, nor is there just one order in which these "
    "could have run: name a batch file (@FILE) with one line for each convolution, in order"
)


@dataclass(frozen=True)
class Match:
    """A layer and the operators that it is, `how` says by what; without operators `how` is the reason why.

    `layer` None: operators that are none of the layers.
    """

    layer: Layer | None
    ops: tuple[Op, ...]
    how: str


def match(profile: Profile, layers: Sequence[Layer]) -> Iterator[Match]:
    """Each of the layers that have a shape, in order, with its operators; then each operator that is of none."""
    known = [layer for layer in layers if layer.shape]
    indices, how, reason = _assigned(profile.ops, known)
    for index, layer in enumerate(known):
        own = tuple(op for op, found in zip(profile.ops, indices, strict=True) if found == index)
        yield Match(layer, own, how if own else reason or f"no operator of the file has its {how}")
    for op, found in zip(profile.ops, indices, strict=True):
        if found is None:
            yield Match(None, (op,), reason or f"no layer of WORKLOAD has its {how}")


def _assigned(ops: Sequence[Op], layers: Sequence[Layer]) -> tuple[list[int | None], str, str | None]:
    """The index of each operator's layer, by what it was found, and why none could be."""
    if not ops:
        return [], "", "the file has no times of operators"
    if not layers:
        return [None] * len(ops), "", "no WORKLOAD was named in which to find its layer"
    if all(op.geometry for op in ops):
        return [_same_sizes(op, layers) for op in ops], "sizes", None
    by_name = [_same_name(op, layers) for op in ops]
    if any(index is not None for index in by_name):
        return by_name, "name", None
    order = _only_order(ops, [_shape(layer) for layer in layers], [layer.count for layer in layers])
    if order is None:
        return [None] * len(ops), "", _NO_ORDER
    return [*order, *[None] * (len(ops) - len(order))], "place in the order", None


def _shape(layer: Layer) -> ConvShape:
    assert layer.shape
    return layer.shape


def _same_sizes(op: Op, layers: Sequence[Layer]) -> int | None:
    for index, layer in enumerate(layers):
        if op.geometry and op.geometry.is_of(_shape(layer)) and _same_kind(op, _shape(layer)):
            return index
    return None


def _same_name(op: Op, layers: Sequence[Layer]) -> int | None:
    """Matches by a part of the operator's name, which is one path or several: [a/conv1/Relu;a/conv1/Conv2D]:0."""
    parts = op.name.translate(str.maketrans("[];:,", "/////")).split("/")
    names = [layer.name for layer in layers]
    return next((names.index(part.strip()) for part in parts if part.strip() in names), None)


def _same_kind(op: Op, shape: ConvShape) -> bool:
    return op.depthwise is None or op.depthwise == (1 < shape.g == shape.ic)


def _only_order(ops: Sequence[Op], shapes: Sequence[ConvShape], counts: Sequence[int]) -> list[int] | None:
    """The shape of each of the first operators, if there is just one order of all shapes that they could be.

    Shapes are in the order of their first occurrence and occur `counts` times. Where some do several times, an order
    is one in which each takes the channels that the one before it gives, in an image not larger; where none does, it is
    the only one. None if there are two orders, none, or too few operators.
    """
    if sum(counts) > len(ops):
        return None
    chained = max(counts) > 1
    orders: list[list[int]] = []
    steps = 0

    def extend(order: list[int], seen: int, left: list[int]) -> None:
        nonlocal steps
        steps += 1
        if len(orders) > 1 or steps > _MOST_STEPS:
            return
        if not any(left):
            orders.append(order)
            return
        for index in range(min(seen + 1, len(shapes))):
            fits = not chained or not order or _follows(shapes[order[-1]], shapes[index])
            if left[index] and fits and _same_kind(ops[len(order)], shapes[index]):
                rest = [count - (place == index) for place, count in enumerate(left)]
                extend([*order, index], max(seen, index + 1), rest)

    extend([], 0, list(counts))
    return orders[0] if len(orders) == 1 and steps <= _MOST_STEPS else None


def _follows(before: ConvShape, after: ConvShape) -> bool:
    return after.ic == before.oc and after.ih <= before.oh and after.iw <= before.ow

"""Checks whether a key's records can be used by this installation on this machine."""

from __future__ import annotations

from functools import lru_cache

from tvmconv.algorithms import algorithm
from tvmconv.database.log.format.key import Key
from tvmconv.database.log.format.record import Record
from tvmconv.target import targets
from tvmconv.workload.shape import ConvShape


def unusable(record: Record) -> str | None:
    """Why a record is of no use here, whatever is asked for; None if it can be used."""
    return record.foreign or mismatch(record.key)


@lru_cache(maxsize=1 << 13)
def mismatch(key: Key) -> str | None:
    """Why a key can be none of a kernel that runs here."""
    try:
        target, shape = targets.parse(key.target), ConvShape.parse(key.workload)
        rejected = algorithm(key.algorithm, key.layout).rejects(shape)
    except ValueError as error:
        return str(error)
    if rejected or str(shape) != key.workload:
        return rejected or f"the layer's descriptor is {shape} here"
    if target.mcpu != key.mcpu:
        return f"it is of the core {key.mcpu}; the target {target.name} is made for {target.mcpu} here"
    if target.features != key.features:
        changed = " ".join(sorted(set(target.features) ^ set(key.features)))
        return f"its CPU features are not those of the target {target.name} here: {changed or 'another order'}"
    return f"this machine cannot run {target.name}: {target.missing_here}" if target.missing_here else None

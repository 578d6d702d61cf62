"""Workspaces: memory prepared by a kernel, and the tracking of whether it still is."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np

from tvmconv.runtime.arrays import WORKSPACE_ALIGNMENT, Array, span

Prepare = Callable[[ctypes.c_void_p], None]

_LEAST_CROWDED = 64  # claims, from which on those whose owner is gone are looked for


class Workspace(np.ndarray[Any, Any]):
    """Memory that may be prepared for a kernel. A view of it, or a copy, is not."""

    claim: Claim | None = None


class Claim:
    """The `memory` that `owner` has prepared; it holds until something else uses a byte of it."""

    __slots__ = ("__weakref__", "holds", "memory", "owner")

    def __init__(self, owner: object, memory: range) -> None:
        self.owner, self.memory = owner, memory
        self.holds = False


class Claims:
    """The claims that hold in this process; no two of them overlap.

    They are found by address, since views, reshapes and other objects over one memory have nothing else in common. A
    Workspace keeps its memory, so no address of a claim that holds is used for anything else. `changes` counts the
    claims that were made or ended.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._lock = threading.Lock()
        self._sorted: list[tuple[int, int, weakref.ref[Claim]]] = []  # start and end; of claims that are gone, too
        self._crowded = _LEAST_CROWDED

    def add(self, claim: Claim) -> None:
        """Ends all others that overlap it."""
        with self._lock:
            place = self._end(claim.memory)
            self._sorted.insert(place, (claim.memory.start, claim.memory.stop, weakref.ref(claim)))
            claim.holds = True
            self.changes += 1
            if len(self._sorted) > self._crowded:
                self._sorted = [each for each in self._sorted if each[2]()]
                self._crowded = max(_LEAST_CROWDED, 2 * len(self._sorted))

    def end(self, memory: range) -> None:
        """Ends those that overlap memory that something writes to."""
        with self._lock:
            before = len(self._sorted)
            self._end(memory)
            self.changes += before != len(self._sorted)

    def end_all(self) -> None:
        """Ends all claims in a forked child, where another thread of the parent may have been preparing, or held the
        lock."""
        self._lock = threading.Lock()
        for _, _, reference in self._sorted:
            if claim := reference():
                claim.holds = False
        self._sorted = []
        self.changes += 1

    def _end(self, memory: range) -> int:
        """Returns where a claim of that memory belongs in the sorted list."""
        first = last = bisect_left(self._sorted, memory.stop, key=itemgetter(0))
        while first and self._sorted[first - 1][1] > memory.start:
            first -= 1
            if claim := self._sorted[first][2]():
                claim.holds = False
        del self._sorted[first:last]
        return first


CLAIMS = Claims()
os.register_at_fork(after_in_child=CLAIMS.end_all)


def checked_workspace(memory: Array, needed: int) -> Array:
    """Memory that a kernel may use as its workspace. Raises TypeError or ValueError."""
    usable = isinstance(memory, np.ndarray) and not isinstance(memory, np.ma.MaskedArray) and not memory.dtype.hasobject
    if not usable or not memory.flags.c_contiguous or not memory.flags.writeable:
        raise TypeError("workspace must be a contiguous, writable NumPy array, such as conv.new_workspace() makes")
    if memory.nbytes < needed:
        raise ValueError(f"workspace has {memory.nbytes} bytes; this kernel needs {needed}")
    if span(memory).start % WORKSPACE_ALIGNMENT:
        raise ValueError(
            f"workspace is not aligned to {WORKSPACE_ALIGNMENT} bytes; pass memory that is, such as of float32"
        )
    return memory


def prepared(array: Array, size: int, owner: object, prepare: Prepare) -> Workspace:
    """The array, its first `size` bytes prepared for `owner` by a call of `prepare` with their address.

    Only memory that NumPy has allocated stays prepared: other memory, such as a file's or a shared one, may be written
    to under another address, or by another process.
    """
    workspace = array.view(Workspace)
    start = span(array).start
    memory = range(start, start + size)
    if memory and _is_numpys_own(array):
        workspace.claim = _claim_of(array, owner, memory) or Claim(owner, memory)
    if memory:
        _prepare(memory, workspace.claim, prepare)
    return workspace


def keeper(workspace: Array, memory: range, owner: object, prepare: Prepare, y: range) -> Callable[[], None]:
    """A function to call before each run of `owner` that uses this memory of a workspace and writes to y.

    It prepares the workspace again if something has used its memory, and each time if that is not known.
    """
    claim = _claim_of(workspace, owner, memory)
    seen = -1  # CLAIMS.changes when all was as it has to be

    def keep() -> None:
        nonlocal seen
        if seen == CLAIMS.changes:
            return
        changes = CLAIMS.changes
        CLAIMS.end(y)
        if (claim and claim.holds) or not memory:
            seen = changes
        else:
            _prepare(memory, claim, prepare)

    return keep


def _claim_of(workspace: Array, owner: object, memory: range) -> Claim | None:
    """The claim of `owner` on this memory of a workspace, if it has one."""
    claim = workspace.claim if isinstance(workspace, Workspace) else None
    return claim if claim and claim.owner is owner and claim.memory == memory else None


def _prepare(memory: range, claim: Claim | None, prepare: Prepare) -> None:
    CLAIMS.end(memory)
    prepare(ctypes.c_void_p(memory.start))
    if claim:
        CLAIMS.add(claim)


def _is_numpys_own(array: Array) -> bool:
    """Whether NumPy has allocated the memory of an array, or of what it is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.base is None and array.flags.owndata

"""Thread pools that share the work of a kernel's call: one for each number of threads in a process."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from tvmconv.native.toolchain import library


def shared(threads: int, cpus: Sequence[int] | None = None) -> Pool | None:
    """This process's pool of so many threads, the caller among them; None for one thread.

    Its helpers may use the CPUs that the caller may use now. If there are as many of them as threads, or if `cpus` are
    given, one for each thread, each helper is pinned to its own (left to itself Linux puts a helper on its caller's CPU
    for milliseconds), and the first is for the caller, which is never moved. Raises TypeError for what are no whole
    numbers, ValueError for more threads than CPUs and for CPUs that this process may not use; zig.LinkError
    where the pool has to be compiled, and cannot be.
    """
    check_number(threads)
    allowed = sorted(os.sched_getaffinity(0)) if cpus is None else _checked(cpus)
    if threads > len(allowed):
        there = f"{len(allowed)} CPU{'' if len(allowed) == 1 else 's'}"
        found = f"this process may use {there}" if cpus is None else f"cpus has {there}, and each thread needs one"
        fitting = "threads=1" if len(allowed) == 1 else f"1 … {len(allowed)}"
        raise ValueError(f"threads={threads}: {found}; use {fitting}")
    if threads == 1:
        return None
    pinned = cpus is not None or threads == len(allowed)
    places = tuple(frozenset([allowed[thread]] if pinned else allowed) for thread in range(threads))
    with _lock:
        if places not in _pools:
            _pools[places] = Pool(places)
        return _pools[places]


def check_number(threads: int) -> None:
    """Raises TypeError for what is no whole number, ValueError for less than one thread."""
    if not _is_whole(threads):
        raise TypeError(f"threads={threads!r} is not a whole number; pass one such as 2")
    if threads < 1:
        raise ValueError(f"threads={threads}: at least one thread has to compute")


class Workers(Protocol):
    """The interface of a pool for Conv: `address` is that of a tvmconv_pool, where the kernel runs."""

    threads: int
    address: ctypes.c_void_p

    def start(self) -> None: ...


def _is_whole(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _checked(cpus: object) -> list[int]:
    """The CPUs as a list. Raises TypeError for what are no numbers, ValueError for none and for those out of reach."""
    if isinstance(cpus, str | bytes) or not isinstance(cpus, Iterable):
        raise TypeError(f"cpus={cpus!r} is not a list of CPU numbers; pass one for each thread, such as [0, 1]")
    asked = list(cpus)
    if not all(map(_is_whole, asked)):
        raise TypeError(f"cpus={asked!r} is not a list of CPU numbers; pass one for each thread, such as [0, 1]")
    if not asked:
        raise ValueError("cpus is empty; pass a CPU for each thread, such as [0, 1], or leave cpus out")
    usable = _usable()
    refused = list(dict.fromkeys(int(cpu) for cpu in asked if cpu not in usable))
    if refused:
        named = f"CPU{'' if len(refused) == 1 else 's'} {', '.join(map(str, refused))}"
        raise ValueError(f"cpus: no {named} for this process, it may use {', '.join(map(str, sorted(usable)))}")
    return [int(cpu) for cpu in asked]


def _usable() -> set[int]:
    """Every CPU that a thread of this process can be pinned to: more than the caller's own, if that is pinned.

    Linux cuts a thread's wish down to what the process is given, so that one that wishes for all of them finds out.
    """
    with ThreadPoolExecutor(1) as scratch:
        scratch.submit(os.sched_setaffinity, 0, range(os.sysconf("SC_NPROCESSORS_CONF"))).result()
        return scratch.submit(os.sched_getaffinity, 0).result()


class Pool:
    """The calling thread and helpers. Several threads may call at once: each of their jobs waits for the one before.

    `cpus` has those of each thread; the first are the caller's, and not looked at. `address` is that of a tvmconv_pool.
    """

    def __init__(self, cpus: Sequence[frozenset[int]]) -> None:
        self.threads, self._cpus = len(cpus), cpus
        memory = _library().tvmconv_pool_allocate(len(cpus))
        if not memory:
            raise MemoryError("there is no memory for a thread pool")
        self.address = ctypes.c_void_p(memory)
        self.reset()

    def reset(self) -> None:
        """Makes it a pool whose helpers do not run: the caller computes everything by itself."""
        _library().tvmconv_pool_initialize(self.address, len(self._cpus))
        self._helpers_run = False

    def start(self) -> None:
        """Starts the helpers, unless they run. They stay in C as long as the process lives, and sleep without work."""
        with _lock:
            if not self._helpers_run:
                for thread in range(1, len(self._cpus)):
                    threading.Thread(target=self._serve, args=(thread,), name=f"tvmconv-{thread}", daemon=True).start()
                self._helpers_run = True

    def _serve(self, thread: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the other threads' affair
        os.sched_setaffinity(0, self._cpus[thread])  # of this thread alone
        _library().tvmconv_pool_serve(self.address, thread)


_lock = threading.Lock()
_pools: dict[tuple[frozenset[int], ...], Pool] = {}


def _after_fork() -> None:
    """A forked child has none of its parent's threads, and starts its own when needed."""
    global _lock
    _lock = threading.Lock()
    for pool in _pools.values():
        pool.reset()


os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def _library() -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(library("pool.c", "shared")))
    loaded.tvmconv_pool_allocate.argtypes = [ctypes.c_int32]
    loaded.tvmconv_pool_allocate.restype = ctypes.c_void_p
    loaded.tvmconv_pool_initialize.argtypes = loaded.tvmconv_pool_serve.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    loaded.tvmconv_pool_initialize.restype = loaded.tvmconv_pool_serve.restype = None
    return loaded

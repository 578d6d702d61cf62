"""Diagnoses the way to a device step by step; the first step that fails says what to do.

Each step has a deadline: TrackerClient's, or Remote's.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tvmconv.compiler.builder import Request, build_all
from tvmconv.database import heuristic
from tvmconv.rpc.address import Where, default_target
from tvmconv.rpc.client import worker
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.client.tracker_client import Queue, TrackerClient, listed
from tvmconv.rpc.deploy.server_build import local_libraries
from tvmconv.rpc.device_info import Described
from tvmconv.rpc.errors import DeviceError
from tvmconv.target import targets
from tvmconv.target.isa import of_arch
from tvmconv.target.targets import Target
from tvmconv.verify.check import Check
from tvmconv.version import __version__
from tvmconv.workload.shape import ConvShape

_FREE = 20.0  # seconds that a server may take to be free: it registers anew after each session
_SESSION = 120.0  # seconds that a session may last, with its kernels
_CALL = 10.0  # seconds of a call that does nothing
_CALLS = 5

_TRIVIAL = ConvShape.parse("ic1ih1oc1kh1")
_CONVOLUTION = ConvShape.parse("ic16ih14oc32kh3ph1")


@dataclass(frozen=True)
class Finding:
    """The finding of a step, or what to do where it failed."""

    step: str
    status: Literal["ok", "failed", "skipped"]
    text: str


class _Skip(Exception):
    """There is nothing to examine in this step; the text says why."""


def examine(where: Where, say: Callable[[str], None] = lambda sentence: None) -> Iterator[Finding]:
    """Each step's finding, as soon as it is known; steps after a failure are skipped. `say` is told deadlines."""
    with Remote(where, say) as remote:
        examination = _Examination(where, remote)
        failed = False
        for name, step in examination.steps.items():
            if failed:
                yield Finding(name, "skipped", "")
                continue
            try:
                yield Finding(name, "ok", step())
            except _Skip as skip:
                yield Finding(name, "skipped", str(skip))
            except (DeviceError, ValueError) as device_error:
                failed = True
                yield Finding(name, "failed", str(device_error))


class _Examination:
    """The steps, and what they know of each other."""

    def __init__(self, where: Where, remote: Remote) -> None:
        self._where, self._remote = where, remote
        self._target: Target | None = None
        self.steps: dict[str, Callable[[], str]] = {
            "tracker": self._tracker,
            "key": self._key,
            "free slot": self._free_slot,
            "round trip": self._round_trip,
            "ABI and version": self._version,
            "CPU features": self._features,
            "trivial kernel": lambda: self._kernel(_TRIVIAL),
            "verified convolution": lambda: self._kernel(_CONVOLUTION),
        }

    def _tracker(self) -> str:
        with self._client() as tracker:
            known = tracker.queues()
        return f"{self._where.tracker} answers; it knows {listed(known) or 'no device'}"

    def _key(self) -> str:
        servers = self._queue().servers
        return f"{self._where.key} is served by {servers} {'device' if servers == 1 else 'devices'}"

    def _free_slot(self) -> str:
        end = time.monotonic() + _FREE
        while not (queue := self._queue()).free:
            if time.monotonic() > end:
                raise DeviceError(
                    "busy",
                    f"{self._where.key} serves others, for more than {_FREE:.0f} s: wait until they are done, or start "
                    "its server again",
                )
            time.sleep(0.5)
        return f"{queue.free} of {queue.servers} {'is' if queue.free == 1 else 'are'} free"

    def _round_trip(self) -> str:
        self._remote.begin(_SESSION)
        calls = []
        for _ in range(_CALLS):
            began = time.monotonic()
            self._remote.ask("a call", worker.Sense(), _CALL)
            calls.append(time.monotonic() - began)
        return f"a session began; a call takes {min(calls) * 1e3:.1f} ms there and back"

    def _version(self) -> str:
        """TVM's calls have the binary interface of one version of its FFI library."""
        there, here = self._device.tvm_ffi, _ffi_version()
        if there is None:
            raise _Skip(f"{self._device.server}, which does not tell its version")
        if there != here:
            raise DeviceError(
                "failed", f"the server has TVM's FFI {there}, and here is {here}: deploy its bundle again"
            )
        ours = f"tvmconv {__version__}"
        older = "" if self._device.server == ours else f", while here is {ours}"
        return f"{self._device.server}{older}; TVM's FFI {there}, C library {self._device.libc or 'not told'}"

    def _features(self) -> str:
        device = self._device
        if device.machine is None:
            raise _Skip(f"{device.server}, which does not tell what machine it is on: say it with -t")
        fits = _fitting(device)
        if self._where.row is None:
            self._target = fits
            return f"{device.machine}; {self._where.name} is none of `list devices`: -t {fits.name} fits"
        self._target = default_target(self._where)
        described = {"triple": self._target.triple, "features": self._target.features, "target": self._target.name}
        if reason := device.refuses(described):
            raise DeviceError("architecture", f"{reason}: -t {fits.name} fits")
        return f"{device.machine}; it has all that -t {self._target.name} needs"

    def _kernel(self, shape: ConvShape) -> str:
        """Build one by the rule, upload it, compare it on integers."""
        if self._target is None:
            raise _Skip("nobody knows what code the device takes")
        request = Request(shape, heuristic.by_rule(shape, "nhwc"), self._target.name).check()
        kernel = build_all([request], 1)[request]
        if isinstance(kernel, Exception):
            raise DeviceError("failed", f"it cannot be built here: {kernel}")
        began = time.monotonic()
        verdict = self._remote.asked("the kernel", Check(kernel, shape), self._remote.deadlines.seconds(shape))
        if not verdict.exact:
            raise DeviceError("failed", f"{shape} is wrong: {verdict.reason}; the kernel is {kernel}")
        return f"{shape} by {request.algorithm} for {self._target.name} is exact, {time.monotonic() - began:.1f} s"

    @property
    def _device(self) -> Described:
        return self._remote.described

    def _queue(self) -> Queue:
        with self._client() as tracker:
            return tracker.queue(self._where.key)

    def _client(self) -> TrackerClient:
        if self._where.tracker is None:
            raise _Skip(f"the server is called directly, at {self._where.server}")
        return TrackerClient(self._where.tracker)


def _fitting(device: Described) -> Target:
    """The best code for all cores of a device. Raises ValueError where there is none."""
    assert device.machine
    if device.features is None:
        known = of_arch(device.machine)
        return targets.parse(known[-1].target if known else "native")
    return targets.fitting(device.machine, device.features, device.parts)


def _ffi_version() -> str:
    """The FFI version of the library here; its package has another number."""
    numbers = (ctypes.c_uint32 * 3)()
    ctypes.CDLL(str(local_libraries()[0])).TVMFFIGetVersion(numbers)
    return ".".join(map(str, numbers))

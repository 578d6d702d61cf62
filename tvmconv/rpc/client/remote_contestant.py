"""A contestant on a device: its kernel and arrays are there, timed by TVM's time_evaluator."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from tvmconv.measure.contestant import SMALLEST, Mismatch, Play, Ready, Right, Setup, Turn
from tvmconv.measure.entries import KernelEntry
from tvmconv.rpc.client.kernel import RemoteKernel
from tvmconv.rpc.client.probe import DeviceProbe
from tvmconv.rpc.client.session import DeviceSession, Sensors
from tvmconv.rpc.device_info import Described
from tvmconv.runtime.arrays import as_layout
from tvmconv.runtime.kernel import read
from tvmconv.verify.reference import Case, integer_case

_REPEATS = 3  # measurements of a turn: it counts as steady if the best is near their mean
_MOST_CALLS = 1_000_000  # of a measurement
_FLUSHED = 64 << 20  # bytes that time_evaluator copies before each cold call: more than any cache here has
_OVERHEAD_SECONDS = 0.001

SLOW = 0.9  # of the best that the probe has seen: below that the device may be too warm
_COOLER, COOLING = 3.0, 15.0  # degrees Celsius by which it is to cool down, and seconds that this may take


class Placed:
    """A kernel prepared with a case's weights, its arrays on the device."""

    def __init__(self, kernel: RemoteKernel, case: Case, threads: int, session: DeviceSession) -> None:
        self._kernel, self._session, self.layout = kernel, session, kernel.layout
        conv = kernel.prepare(case.w, case.bias, clamp=case.clamp, weights="OIHW", threads=threads)
        x = np.ascontiguousarray(as_layout(case.x, "nhwc", kernel.layout))
        self._y = self._copied(np.full(kernel.y_shape, np.nan, kernel.dtype.storage))
        arrays = [self._copied(each) for each in (x, conv.packed)]
        workspace = self._copied(np.zeros(kernel.elements("workspace"), kernel.dtype.storage))
        self._module = session.module(kernel.path)
        self._module[kernel.entry("prepare")](workspace)
        self._function = "run_on" if conv.pool else "run"
        pool = [conv.pool.address.value] if conv.pool else []
        self._arguments = [*arrays, self._y, workspace, *pool]

    def seconds(self, calls: int, repeats: int = 1, cold: bool = False) -> list[float]:
        """Seconds of one call on average, once for each repeat."""
        evaluator: Any = self._module.time_evaluator(
            self._kernel.entry(self._function),
            self._session.device,
            number=calls,
            repeat=repeats,
            cache_flush_bytes=_FLUSHED if cold else 0,
        )
        return [max(1e-9, float(each)) for each in evaluator(*self._arguments).results]

    def poison_output(self) -> None:
        self._y.copyfrom(np.full(self._kernel.y_shape, np.nan, self._kernel.dtype.storage))

    def error(self, case: Case) -> float:
        """The largest error of y. Raises Mismatch unless it is 0."""
        y = as_layout(self._y.numpy().reshape(self._kernel.y_shape), self.layout, "nhwc")
        error = float(np.max(np.abs(y - case.fused)))
        if error != 0:
            raise Mismatch(f"y is wrong: its largest error is {error:g}, and 0 is allowed")
        return error

    def _copied(self, array: Any) -> Any:
        tensor = self._session.tensor(array.size, str(array.dtype))
        tensor.copyfrom(np.ascontiguousarray(array).reshape(-1))
        return tensor._create_view(array.shape, str(array.dtype))


class RemoteContestant:
    """One contestant, set up."""

    def __init__(self, setup: Setup, session: DeviceSession, device: Described, probe: DeviceProbe | None) -> None:
        self._session, self._probe, self._case = session, probe, setup.case
        self._device = device
        self._best, self._warm = 0.0, False
        small = setup.smallest
        overhead = self._overhead(small, setup.threads) if isinstance(small, KernelEntry) else None
        assert isinstance(setup.entry, KernelEntry)
        self._placed = self._place(setup.entry, setup.case, setup.threads)
        (self._call,) = self._placed.seconds(1)
        self._placed.error(setup.case)
        version = str(read(setup.entry.path).description["versions"]["tvmconv"])
        self.ready = Ready(version, self._placed.layout, overhead, session.sensors())

    def play(self, play: Play) -> Turn:
        """A turn; before it the device may cool down, if the last one was slow."""
        if self._warm:
            self._cool_down()
        self._placed.poison_output()
        peak, before = (self._probe.fma_peak(), self._probe.tile_speed()) if self._probe else (0.0, 0.0)
        calls, repeats = self._calls(play)
        times = self._placed.seconds(calls, repeats, play.cold)
        after = self._probe.tile_speed() if self._probe else 0.0
        self._call = sum(times) / len(times)
        self._best = max(self._best, before, after)
        self._warm = min(before, after) < SLOW * self._best
        share = 1.0 if play.cold else min(times) / self._call
        return Turn(self._call, peak, min(before, after), share)

    def check(self) -> Right:
        return Right(self._placed.error(self._case), self._session.sensors())

    def _calls(self, play: Play) -> tuple[int, int]:
        """Calls of one measurement, and number of measurements, that fill the turn's time."""
        wanted = max(1, math.ceil(play.seconds / self._call))
        if play.cold:
            return 1, min(wanted, 50)
        return min(_MOST_CALLS, math.ceil(wanted / _REPEATS)), _REPEATS

    def _overhead(self, entry: KernelEntry, threads: int) -> float:
        placed = self._place(entry, integer_case(SMALLEST), threads)
        (call,) = placed.seconds(1)
        return min(placed.seconds(min(_MOST_CALLS, math.ceil(_OVERHEAD_SECONDS / call)), 5))

    def _place(self, entry: KernelEntry, case: Case, threads: int) -> Placed:
        kernel = RemoteKernel(read(entry.path), self._session, self._device)
        kernel.open()
        return Placed(kernel, case, threads, self._session)

    def _cool_down(self) -> None:
        """Wait until the device is cooler, where it says how warm it is."""
        start, end = hottest(self._session.sensors()), time.monotonic() + COOLING - 5
        while start is not None and time.monotonic() < end:
            time.sleep(1)
            now = hottest(self._session.sensors())
            if now is None or now <= start - _COOLER:
                break


def hottest(sensors: Sensors | None) -> float | None:
    """The highest temperature, in degrees Celsius."""
    return max((sensors or {}).get("celsius", {}).values(), default=None)

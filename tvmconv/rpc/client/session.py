"""One session on a device, inside the process that holds it: TVM's RPC client, which may block for ever."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tvmconv.rpc.address import Address
from tvmconv.rpc.device_info import Described, parse
from tvmconv.rpc.errors import DeviceError

Sensors = Mapping[str, Mapping[str, float]]


class DeviceSession:
    """A connection that the server ends after `seconds`. What it holds on the device is freed with it."""

    def __init__(self, server: Address, key: str, seconds: float) -> None:
        """Raises DeviceError where no server answers, or not to this key."""
        from tvm import rpc

        try:
            self._remote = rpc.connect(server.host, server.port, key, session_timeout=seconds)
        except Exception as error:
            raise _refusal(error, server) from None
        self.device = self._remote.cpu(0)
        self._modules: dict[Path, Any] = {}
        self._pools: dict[int, int] = {}

    def function(self, name: str) -> Callable[..., Any] | None:
        """A global function of the server's; None where it has none of that name."""
        with contextlib.suppress(AttributeError):
            found: Callable[..., Any] = self._remote.get_function(name)
            return found
        return None

    def describe(self) -> Described:
        """The device's description. TVM's own server is asked for what the compiler in it thinks."""
        if describe := self.function("tvmconv.describe"):
            has_threads, can_pin = (self.function(f"tvmconv.{name}") is not None for name in ("pool", "pin"))
            return replace(parse(str(describe())), has_threads=has_threads, can_pin=can_pin)
        triple = self.function("target.llvm_get_system_triple")
        return Described(machine=str(triple()).partition("-")[0] if triple else None)

    def pin(self, cpus: tuple[int, ...]) -> None:
        """Have the session run on these CPUs alone, where the server can do that."""
        if cpus and (pin := self.function("tvmconv.pin")):
            pin(",".join(map(str, cpus)))

    def sensors(self) -> Sensors | None:
        """Clocks and temperatures now: {"mhz": …, "celsius": …}; None where the server has no such function."""
        sensors = self.function("tvmconv.sensors")
        if sensors is None:
            return None
        try:
            said: Sensors = json.loads(str(sensors()))
        except ValueError:
            raise DeviceError(
                "failed", "what the server says of clocks and temperatures is no JSON: start it again"
            ) from None
        return said

    def tensor(self, elements: int, element: str) -> Any:
        """New memory on the device, for so many elements of that type."""
        import tvm

        return tvm.runtime.empty((elements,), element, self.device)

    def module(self, path: Path) -> Any:
        """The file, uploaded and loaded there once."""
        if path not in self._modules:
            self._remote.upload(str(path))
            self._modules[path] = self._remote.load_module(path.name)
        return self._modules[path]

    def pool(self, threads: int) -> int:
        """The address there of a tvmconv_pool of so many threads. Raises DeviceError where the server has none."""
        if threads not in self._pools:
            make = self.function("tvmconv.pool")
            if make is None:
                raise DeviceError(
                    "failed", "TVM's own server has no threads for kernels: start tvmconv's there, or use --threads 1"
                )
            self._pools[threads] = int(make(threads))
        return self._pools[threads]


def _refusal(error: Exception, server: Address) -> DeviceError:
    """The meaning of TVM's message where it could not connect."""
    text = str(error)
    if "cannot find server that matches" in text:
        return DeviceError("unreachable", f"the server at {server} has another key: give it with --key")
    if "is not TVM RPC server" in text:
        return DeviceError("unreachable", f"what answers at {server} is no TVM RPC server: give another address")
    if "cannot obtain address" in text:
        return DeviceError("unreachable", f"there is no host of the name {server.host}: give another address")
    return DeviceError("unreachable", f"no RPC server answers at {server}: start one there with `tvmconv rpc serve`")

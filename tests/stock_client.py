"""TVM's own RPC client in a worker's process, as it may hang: one function for each thing that a test asks for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tvm import rpc
from tvm.runtime import tensor

from tvmconv.runtime.kernel import read
from tvmconv.support.worker import answer_all
from tvmconv.verify.reference import integer_case

Answer = dict[str, Any]


def serve(descriptor: int) -> None:
    answer_all(descriptor, _answer, lambda error: {"error": type(error).__name__, "message": str(error)})


def _answer(message: tuple[Any, ...]) -> object:
    name, *arguments = message
    return globals()[name](*arguments)


@contextmanager
def _session(address: str, key: str, timeout: float) -> Iterator[Any]:
    host, _, port = address.rpartition(":")
    yield rpc.connect(host.strip("[]"), int(port), key, session_timeout=timeout)


def _tracker(address: str) -> Any:
    host, _, port = address.rpartition(":")
    return rpc.connect_tracker(host, int(port))


def _requested(tracker: str, key: str, timeout: float) -> Any:
    return _tracker(tracker).request(key, session_timeout=timeout, max_retry=1)


def hello(address: str, key: str) -> float:
    """Seconds of a session with one call."""
    start = time.monotonic()
    with _session(address, key, 10) as remote:
        remote.get_function("tvmconv.sensors")()
    return time.monotonic() - start


def describe(address: str, key: str) -> Answer:
    with _session(address, key, 10) as remote:
        return {name: json.loads(remote.get_function(f"tvmconv.{name}")()) for name in ("describe", "sensors")}


def files(address: str, key: str) -> Answer:
    with _session(address, key, 10) as remote:
        remote.upload(bytearray(b"abc"), "one")
        remote.upload(bytearray(range(256)) * 1000, "two")
        listed, content = remote.listdir("."), bytes(remote.download("two"))
        remote.remove("one")
        return {"listed": sorted(listed.split(",")), "content": content, "left": remote.listdir(".")}


def upload(address: str, key: str, name: str, size: int) -> str:
    with _session(address, key, 10) as remote:
        remote.upload(bytearray(size), name)
        return str(remote.listdir("."))


def uploads(address: str, key: str, files: list[tuple[str | bytes, int]]) -> list[str]:
    """The error of each upload of a session, empty where there is none. A name in bytes is sent as it is."""
    errors = []
    with _session(address, key, 10) as remote:
        upload = remote.get_function("tvm.rpc.server.upload")
        for name, size in files:
            try:
                upload(name, bytearray(size))
                errors.append("")
            except Exception as error:
                errors.append(str(error))
    return errors


def load(address: str, key: str, path: Path) -> None:
    with _session(address, key, 10) as remote:
        remote.upload(str(path), "module.so")
        remote.load_module("module.so")


def call(address: str, key: str, name: str, *arguments: object) -> object:
    """A function of the server."""
    with _session(address, key, 10) as remote:
        return remote.get_function(name)(*arguments)


def describe_through(tracker: str, key: str) -> object:
    return json.loads(_requested(tracker, key, 10).get_function("tvmconv.describe")())


def threads(address: str, key: str, path: Path, cpus: str, count: int) -> tuple[int, int]:
    """CPUs, as bits, of a session that is pinned, and then of the threads of a pool in it."""
    with _session(address, key, 10) as remote:
        remote.upload(str(path), "module.so")
        module = remote.load_module("module.so")
        remote.get_function("tvmconv.pin")(cpus)
        pinned = module["affinity"]()
        return pinned, module["spread"](remote.get_function("tvmconv.pool")(count), count)


def fault(address: str, key: str, path: Path, name: str, timeout: float) -> object:
    """A function of faulty_module.c."""
    with _session(address, key, timeout) as remote:
        return _faulty(remote, path, name)


def fault_through(tracker: str, key: str, path: Path, name: str, timeout: float) -> object:
    """The same on a device that the tracker knows."""
    return _faulty(_requested(tracker, key, timeout), path, name)


def _faulty(remote: Any, path: Path, name: str) -> object:
    remote.upload(str(path), "module.so")
    return remote.load_module("module.so")[name]()


def convolve(address: str, key: str, path: Path) -> bool:
    """Whether a kernel's file, in NHWC, computes there what the definition says."""
    with _session(address, key, 60) as remote:
        return _is_exact(remote, path)


def convolve_through(tracker: str, key: str, path: Path) -> bool:
    """The same on a device that the tracker knows."""
    return _is_exact(_requested(tracker, key, 60), path)


def _is_exact(remote: Any, path: Path) -> bool:
    kernel = read(path)
    case = integer_case(kernel.shape)
    remote.upload(str(path), "layer.so")
    module, prefix = remote.load_module("layer.so"), kernel.description["prefix"]
    arrays = (case.x, case.w, case.bias, np.full(kernel.y_shape, np.nan, "float32"))
    x, w, bias, y = (tensor(array, remote.cpu(0)) for array in arrays)
    packed, workspace = (
        tensor(np.zeros(max(1, size // 4), "float32"), remote.cpu(0))
        for size in (kernel.packed_bytes, kernel.workspace_bytes())
    )
    module[f"{prefix}_pack"](w, bias, packed)
    module[f"{prefix}_clamp"](*case.clamp, packed)
    module[f"{prefix}_prepare"](workspace)
    module[f"{prefix}_run"](x, packed, y, workspace)
    return bool(np.array_equal(y.numpy(), case.fused))


def summary(tracker: str) -> Answer:
    return dict(_tracker(tracker).summary())


def hold(tracker: str, key: str, seconds: float) -> tuple[float, float]:
    """Have the device for a while: when that began and ended, on the clock time.monotonic()."""
    remote = _requested(tracker, key, 60)
    start = time.monotonic()
    remote.get_function("tvmconv.sensors")()
    time.sleep(seconds)
    return start, time.monotonic()

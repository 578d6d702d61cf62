"""The process that holds a session on a device: TVM's client may block in it for ever."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from tvmconv.measure.contestant import Check as CheckY
from tvmconv.measure.contestant import Failure, Mismatch, Play, Setup
from tvmconv.rpc.address import Address
from tvmconv.rpc.client.kernel import RemoteKernel
from tvmconv.rpc.client.probe import DeviceProbe
from tvmconv.rpc.client.remote_contestant import RemoteContestant
from tvmconv.rpc.client.session import DeviceSession
from tvmconv.rpc.client.tracker_client import TrackerClient
from tvmconv.rpc.device_info import Described
from tvmconv.rpc.errors import DeviceError, explain
from tvmconv.runtime.emulator import Fault
from tvmconv.runtime.kernel import Kernel, read
from tvmconv.support.worker import answer_all
from tvmconv.target.targets import Target
from tvmconv.verify.check import Check, Verdict, check_kernel
from tvmconv.verify.guard_pages import Place

# Canaries stand on both sides of each array there, so that what differs is the alignment alone.
_PLACES: tuple[Place, ...] = ("first byte", "fifth byte")


@dataclass(frozen=True)
class Import:
    """Get TVM's client ready, which takes seconds. The answer is None."""


@dataclass(frozen=True)
class Reserve:
    """Wait for a turn at a key's server. The answer is a Grant."""

    tracker: Address
    key: str
    seconds: float


@dataclass(frozen=True)
class Connect:
    """Begin a session, which the server ends after `seconds`, on these CPUs. The answer is None."""

    server: Address
    key: str
    seconds: float


@dataclass(frozen=True)
class Describe:
    """Pin the session to CPUs, any if there are none, and say what the device is. The answer is Described."""

    cpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class ForContestant:
    """A message to the contestant of that number, as measure sends it. The answer is the contestant's."""

    number: int
    message: Setup | Play | CheckY
    target: Target
    probed: bool


@dataclass(frozen=True)
class Peak:
    """The answer is the best of some probes in GFLOP/s; None for an instruction set that has none."""

    target: Target
    threads: int


@dataclass(frozen=True)
class Sense:
    """The answer is what DeviceSession.sensors says."""


@dataclass(frozen=True)
class Leave:
    """End the session. The answer is None."""


Message = Import | Reserve | Connect | Describe | Check | ForContestant | Peak | Sense | Leave
_PEAKS = 5


class _Client:
    """The state of the process between messages."""

    def __init__(self) -> None:
        self._session: DeviceSession | None = None
        self._tracker: TrackerClient | None = None
        self._device = Described()
        self._contestants: dict[int, RemoteContestant] = {}
        self._probes: dict[tuple[Target, int], DeviceProbe | None] = {}

    @property
    def session(self) -> DeviceSession:
        if self._session is None:
            raise DeviceError("lost", "there is no session")
        return self._session

    def answer(self, message: Message) -> object:
        match message:
            case Import():
                import tvm.rpc  # noqa: F401
            case Reserve(tracker, key, seconds):
                self._leave()
                with TrackerClient(tracker) as client:
                    client.queue(key)
                    return client.request(key, seconds)
            case Connect(server, key, seconds):
                self._leave()
                self._session = DeviceSession(server, key, seconds)
            case Describe(cpus):
                self._device = self.session.describe()
                self.session.pin(cpus)
                return self._device
            case Check():
                verdict, _ = check_kernel(message, load=self._load, places=_PLACES)
                return verdict
            case ForContestant(number, Setup() as setup, target, probed):
                probe = self._probe(target, setup.threads) if probed else None
                self._contestants[number] = RemoteContestant(setup, self.session, self._device, probe)
                return self._contestants[number].ready
            case ForContestant(number, Play() as play):
                return self._contestants[number].play(play)
            case ForContestant(number):
                return self._contestants[number].check()
            case Peak(target, threads):
                probe = self._probe(target, threads)
                return max(probe.fma_peak() for _ in range(_PEAKS)) if probe else None
            case Sense():
                return self.session.sensors()
            case Leave():
                self._leave()
        return None

    def _load(self, device: str, path: Path) -> Kernel:
        kernel = RemoteKernel(read(path), self.session, self._device)
        kernel.open()
        return kernel

    def _probe(self, target: Target, threads: int) -> DeviceProbe | None:
        if (target, threads) not in self._probes:
            try:
                self._probes[target, threads] = DeviceProbe(self.session, target, threads)
            except ValueError:
                self._probes[target, threads] = None
        return self._probes[target, threads]

    def _leave(self) -> None:
        """The server takes a session for over when nothing of it is held here any more."""
        self._contestants.clear()
        self._probes.clear()
        self._session = None
        gc.collect()  # an error's traceback may hold something of it


def serve(descriptor: int) -> None:
    """A worker's whole life: answer each message, or say what the device_error is."""
    answer_all(descriptor, _Client().answer, _failure)


def _failure(error: Exception) -> DeviceError | Verdict | Failure:
    if isinstance(error, Fault):
        return DeviceError("failed", f"the kernel {error}")
    if isinstance(error, Mismatch):
        return Failure("mismatch", str(error))
    return explain(error)

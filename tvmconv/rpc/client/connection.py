"""The connection to a device: sessions begun on demand, each step with a deadline and one retry."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tvmconv.rpc.address import Address, Where
from tvmconv.rpc.client import worker
from tvmconv.rpc.client.tracker_client import Grant, TrackerClient
from tvmconv.rpc.deadlines import deadlines
from tvmconv.rpc.device_info import Described
from tvmconv.rpc.errors import DeviceError
from tvmconv.support.worker import Worker, WorkerLost

IMPORT = 60.0  # seconds for TVM's client to be ready: 2 warm, some more on a busy machine
WAIT = 120.0  # seconds that a busy device is waited for
CONNECT = 15.0  # seconds for a server that is free, to answer
AGAIN = 15.0  # seconds that a device may be away after it was there: a restarted tracker's servers take 10 to register
_MARGIN = 5.0  # seconds that the client waits longer than whoever it has told a deadline


class Remote:
    """A device through RPC. Whatever happens to it, each step ends within its deadline, with an answer or DeviceError.

    `say` is called with each deadline, `warn` when the device is busy. As a context manager it leaves no process.
    """

    def __init__(
        self,
        where: Where,
        say: Callable[[str], None] = lambda sentence: None,
        warn: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.where, self.deadlines = where, deadlines(where)
        self.described = Described()
        self.cpus: tuple[int, ...] = ()
        self.sessions = 0  # begun so far: what was put into an earlier one is gone
        self.absences = 0  # how often it was missed after it had been there, also where it soon came back
        self._say, self._warn = say, warn
        self._worker: Worker | None = None
        self._open = False
        self._was_there = False  # at least once
        self._is_away = False  # it was there, and could not be had when it was last wanted

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    @property
    def is_open(self) -> bool:
        return self._open

    def all_of_its_key(self) -> list[Remote]:
        """This client, and as many more as the tracker has other servers of its key. Raises DeviceError."""
        if not self.where.tracker:
            return [self]
        with TrackerClient(self.where.tracker) as known:
            others = known.queue(self.where.key).servers - 1
        more = [Remote(self.where, self._say, self._warn) for _ in range(others)]
        for remote in more:
            remote.cpus = self.cpus
        return [self, *more]

    def start(self) -> None:
        """Have TVM's client ready, which takes seconds the first time. Raises DeviceError."""
        if self._worker is None:
            self._worker = Worker("tvmconv.rpc.client.worker")
            self._step("start TVM's client", worker.Import(), IMPORT)

    def begin(self, seconds: float) -> None:
        """A new session, which the server may end after `seconds`. Raises DeviceError."""
        self.leave()
        try:
            server = self._find()
            # A server that serves somebody else lets one wait in its queue; a tracker's that was granted is free.
            patience = CONNECT if self.where.tracker else self._wait
            try:
                self._step("connect", worker.Connect(server.server, server.match_key, seconds), patience)
            except DeviceError as device_error:
                raise self._unanswered(device_error, server.server, patience) from None
            self.described = self._step("describe", worker.Describe(self.cpus), CONNECT)
        except DeviceError as device_error:
            self._is_away = self._was_there and device_error.away
            self.absences += self._is_away
            raise
        self._open = self._was_there = True
        self._is_away = False
        self.sessions += 1

    def ask(self, what: str, message: worker.Message, seconds: float) -> Any:
        """The answer to a message in the session that there is, within so many seconds. Raises DeviceError."""
        return self._step(what, message, seconds + _MARGIN)

    def asked(self, what: str, message: worker.Message, seconds: float) -> Any:
        """The answer in a session of its own; where that was lost, in a second one. Raises DeviceError."""
        return self.twice(what, lambda: self.begin(seconds), lambda: self.ask(what, message, seconds))

    def twice(self, what: str, begin: Callable[[], None], work: Callable[[], Any]) -> Any:
        """The result of `work` in the session that `begin` begins, or in a second one. Raises DeviceError."""
        first: DeviceError | None = None
        while True:
            try:
                begin()
            except DeviceError as device_error:
                raise self._lost_link(what, first, device_error) if first else device_error from None
            try:
                return work()
            except DeviceError as device_error:
                if not device_error.worth_another_try:
                    raise
                self.leave()
                if first:
                    raise self._again(what, device_error) from None
                self._say(f"{what} on {self.where.name}: {device_error}; again in a new session")
                first = device_error

    def leave(self) -> None:
        """End the session, so that others can have the device."""
        if self._open and self._worker:
            try:
                self._step("leave", worker.Leave(), CONNECT)
            except DeviceError:
                self.kill()
        self._open = False

    def kill(self) -> None:
        """End the session, and the process that holds it, whatever it does."""
        if self._worker:
            self._worker.kill()
        self._worker, self._open = None, False

    def _find(self) -> Grant:
        """A server whose turn it is to serve us. Raises DeviceError."""
        if self.where.tracker:
            self._look(self.where.tracker)  # which needs no TVM, so that a wrong key is said at once
        self.start()
        if self.where.server:
            return Grant(self.where.server, self.where.key)
        assert self.where.tracker
        turn = worker.Reserve(self.where.tracker, self.where.key, self._wait)
        grant: Grant = self._step("wait for a turn", turn, self._wait + 2 * _MARGIN)
        return grant

    @property
    def _wait(self) -> float:
        """Seconds that a busy device is waited for: not each time anew, once it has been in vain."""
        return CONNECT if self._is_away else WAIT

    def _look(self, tracker: Address) -> None:
        """Asks the tracker for servers of the key, for some seconds if there was one before. Raises DeviceError."""
        is_expected = self.where.emulated or self._was_there
        end = time.monotonic() + (AGAIN if is_expected and not self._is_away else 0)
        while True:
            try:
                with TrackerClient(tracker) as known:
                    queue = known.queue(self.where.key)
                break
            except DeviceError as device_error:
                if time.monotonic() >= end:
                    raise
                self.absences += self._was_there
                self._say(f"{device_error}; asking again")
                time.sleep(1)
        if not queue.free:
            others = f", and {queue.pending} more clients wait" if queue.pending else ""
            self._warn(f"{self.where.name} is busy{others}: waiting for it, {self._wait:.0f} s at most")

    def _step(self, what: str, message: worker.Message, seconds: float) -> Any:
        """One message and its answer. Raises DeviceError; if the process was lost, the next begin starts a new one."""
        if self._worker is None:
            raise DeviceError("lost", "there is no session")
        self._say(f"{self.where.name}: {what}, {seconds:.0f} s at most")
        started = time.monotonic()
        try:
            answer = self._worker.ask(message, seconds)
        except WorkerLost as lost:
            self.kill()
            if time.monotonic() - started >= seconds:
                raise DeviceError("silent", f"no answer within {seconds:.0f} s") from None
            raise DeviceError("failed", f"TVM's client {lost}") from None
        if isinstance(answer, DeviceError):
            raise answer
        return answer

    def _unanswered(self, device_error: DeviceError, server: Address, seconds: float) -> DeviceError:
        if device_error.kind != "silent":
            return device_error
        if self.where.tracker:
            sentence = f"the tracker named a server at {server}, which cannot be reached within {seconds:.0f} s"
            return DeviceError("unreachable", f"{sentence}: forward its port, or give the server --custom-addr")
        return DeviceError(
            "busy", f"no answer from {server} within {seconds:.0f} s: it serves somebody else, or cannot be reached"
        )

    def _lost_link(self, what: str, first: DeviceError, then: DeviceError) -> DeviceError:
        """The error where a step failed, and then the device could not be reached again."""
        return DeviceError("unreachable", f"{what}: the link to {self.where.name} was lost ({first}), and then {then}")

    def _again(self, what: str, device_error: DeviceError) -> DeviceError:
        """The second failure, in a new session: the device is there, so it is what was done that fails."""
        reasons = {
            "lost": "crashed twice, the second time in a new session",
            "silent": f"gave {device_error}, twice: it hangs, and the server does not end it",
            "timeout": "was ended by the server at the session's deadline, twice: it loops, or is far too slow",
        }
        if device_error.kind in reasons:
            return DeviceError(device_error.kind, f"{what} on {self.where.name} {reasons[device_error.kind]}")
        return device_error

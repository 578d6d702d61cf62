"""A device, seen from here: sessions that are begun when they are needed, every step with a deadline, retried once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tvmconv.rpc.address import Address, Where
from tvmconv.rpc.client import worker
from tvmconv.rpc.client.tracker_client import Grant, TrackerClient
from tvmconv.rpc.deadlines import pace
from tvmconv.rpc.device_info import Described
from tvmconv.rpc.errors import Trouble
from tvmconv.support.worker import Worker, WorkerLost

IMPORT = 60.0  # seconds for TVM's client to be ready: 2 warm, some more on a busy machine
WAIT = 120.0  # seconds that a busy device is waited for
CONNECT = 15.0  # seconds for a server that is free, to answer
AGAIN = 15.0  # seconds that a device may be away after it was there: a restarted tracker's servers take 10 to register
_MARGIN = 5.0  # seconds that the client waits longer than whoever it has told a deadline


class Remote:
    """A device through RPC. Whatever happens to it, each step ends within its deadline, with an answer or Trouble.

    `say` hears each deadline, `warn` that the device is busy. As a context manager it leaves no process behind.
    """

    def __init__(
        self,
        where: Where,
        say: Callable[[str], None] = lambda sentence: None,
        warn: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.where, self.pace = where, pace(where)
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
        """This client, and as many more as the tracker has other servers of its key. Raises Trouble."""
        if not self.where.tracker:
            return [self]
        with TrackerClient(self.where.tracker) as known:
            others = known.queue(self.where.key).servers - 1
        more = [Remote(self.where, self._say, self._warn) for _ in range(others)]
        for remote in more:
            remote.cpus = self.cpus
        return [self, *more]

    def start(self) -> None:
        """Have TVM's client ready, which takes seconds the first time. Raises Trouble."""
        if self._worker is None:
            self._worker = Worker("tvmconv.rpc.client.worker")
            self._step("start TVM's client", worker.Import(), IMPORT)

    def begin(self, seconds: float) -> None:
        """A new session, which the server may end after `seconds`. Raises Trouble."""
        self.leave()
        try:
            server = self._find()
            # A server that serves somebody else lets one wait in its queue; a tracker's that was granted is free.
            patience = CONNECT if self.where.tracker else self._wait
            try:
                self._step("connect", worker.Connect(server.server, server.match_key, seconds), patience)
            except Trouble as trouble:
                raise self._unanswered(trouble, server.server, patience) from None
            self.described = self._step("describe", worker.Describe(self.cpus), CONNECT)
        except Trouble as trouble:
            self._is_away = self._was_there and trouble.away
            self.absences += self._is_away
            raise
        self._open = self._was_there = True
        self._is_away = False
        self.sessions += 1

    def ask(self, what: str, message: worker.Message, seconds: float) -> Any:
        """The answer to a message in the session that there is, within so many seconds. Raises Trouble."""
        return self._step(what, message, seconds + _MARGIN)

    def asked(self, what: str, message: worker.Message, seconds: float) -> Any:
        """The answer in a session of its own; where that was lost, in a second one. Raises Trouble."""
        return self.twice(what, lambda: self.begin(seconds), lambda: self.ask(what, message, seconds))

    def twice(self, what: str, begin: Callable[[], None], work: Callable[[], Any]) -> Any:
        """What `work` gives in the session that `begin` begins, and where that fails, in a new one. Raises Trouble."""
        first: Trouble | None = None
        while True:
            try:
                begin()
            except Trouble as trouble:
                raise self._lost_link(what, first, trouble) if first else trouble from None
            try:
                return work()
            except Trouble as trouble:
                if not trouble.worth_another_try:
                    raise
                self.leave()
                if first:
                    raise self._again(what, trouble) from None
                self._say(f"{what} on {self.where.name}: {trouble}; again in a new session")
                first = trouble

    def leave(self) -> None:
        """End the session, so that others can have the device."""
        if self._open and self._worker:
            try:
                self._step("leave", worker.Leave(), CONNECT)
            except Trouble:
                self.kill()
        self._open = False

    def kill(self) -> None:
        """End the session, and the process that holds it, whatever it does."""
        if self._worker:
            self._worker.kill()
        self._worker, self._open = None, False

    def _find(self) -> Grant:
        """A server whose turn it is to serve us. Raises Trouble."""
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
        """Who serves the key? One that was there a moment ago, or has just started, gets another. Raises Trouble."""
        is_expected = self.where.emulated or self._was_there
        end = time.monotonic() + (AGAIN if is_expected and not self._is_away else 0)
        while True:
            try:
                with TrackerClient(tracker) as known:
                    queue = known.queue(self.where.key)
                break
            except Trouble as trouble:
                if time.monotonic() >= end:
                    raise
                self.absences += self._was_there
                self._say(f"{trouble}; asking again")
                time.sleep(1)
        if not queue.free:
            others = f", and {queue.pending} more clients wait" if queue.pending else ""
            self._warn(f"{self.where.name} is busy{others}: waiting for it, {self._wait:.0f} s at most")

    def _step(self, what: str, message: worker.Message, seconds: float) -> Any:
        """One message and its answer. Raises Trouble, and where the process was lost the next begin makes a new one."""
        if self._worker is None:
            raise Trouble("lost", "there is no session")
        self._say(f"{self.where.name}: {what}, {seconds:.0f} s at most")
        started = time.monotonic()
        try:
            answer = self._worker.ask(message, seconds)
        except WorkerLost as lost:
            self.kill()
            if time.monotonic() - started >= seconds:
                raise Trouble("silent", f"no answer within {seconds:.0f} s") from None
            raise Trouble("failed", f"TVM's client {lost}") from None
        if isinstance(answer, Trouble):
            raise answer
        return answer

    def _unanswered(self, trouble: Trouble, server: Address, seconds: float) -> Trouble:
        if trouble.kind != "silent":
            return trouble
        if self.where.tracker:
            sentence = f"the tracker named a server at {server}, which cannot be reached within {seconds:.0f} s"
            return Trouble("unreachable", f"{sentence}: forward its port, or give the server --custom-addr")
        return Trouble(
            "busy", f"no answer from {server} within {seconds:.0f} s: it serves somebody else, or cannot be reached"
        )

    def _lost_link(self, what: str, first: Trouble, then: Trouble) -> Trouble:
        """What failed once, and then the device could not be had any more."""
        return Trouble("unreachable", f"{what}: the link to {self.where.name} was lost ({first}), and then {then}")

    def _again(self, what: str, trouble: Trouble) -> Trouble:
        """The second failure, in a new session: the device is there, so it is what was done that fails."""
        reasons = {
            "lost": "crashed twice, the second time in a new session",
            "silent": f"gave {trouble}, twice: it hangs, and the server does not end it",
            "timeout": "was ended by the server at the session's deadline, twice: it loops, or is far too slow",
        }
        if trouble.kind in reasons:
            return Trouble(trouble.kind, f"{what} on {self.where.name} {reasons[trouble.kind]}")
        return trouble

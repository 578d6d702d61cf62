"""Contestants on a device for `measure`: all in one session, set up again if that is lost."""

from __future__ import annotations

from tvmconv.measure.contestant import Check, Failure, Play, Setup
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.client.remote_contestant import COOLING
from tvmconv.rpc.client.worker import ForContestant
from tvmconv.rpc.errors import DeviceError
from tvmconv.target.targets import Target
from tvmconv.workload.shape import ConvShape

_ROUNDS = 4  # at most, for each that counts: those repeated
_STEPS = 3  # of a contestant that are not turns: set up twice, check


class SessionGroup:
    """The contestants of one layer in one session. `seconds` is how long all their turns together may take."""

    def __init__(self, remote: Remote, target: Target, shape: ConvShape, seconds: float, probed: bool = True) -> None:
        self.remote, self._target, self._probed = remote, target, probed
        self._step, self._playing = remote.deadlines.seconds(shape), seconds
        self._contestants: set[ContestantProxy] = set()
        self._taken = 0

    def contestant(self) -> ContestantProxy:
        """One more contestant, as measure sees a process of one."""
        self._taken += 1
        contestant = ContestantProxy(self, self._taken)
        self._contestants.add(contestant)
        return contestant

    def give_up(self, contestant: ContestantProxy) -> None:
        """When nobody is left, others can have the device."""
        self._contestants.discard(contestant)
        if not self._contestants:
            self.remote.leave()

    def begin(self) -> None:
        """The session, if there is none. Raises DeviceError."""
        if not self.remote.is_open:
            self.remote.begin(self._playing + _STEPS * self._taken * self._step)

    def ask(self, what: str, contestant: ContestantProxy, message: Setup | Play | Check) -> object:
        """The contestant's answer. Raises DeviceError."""
        extra = COOLING + _ROUNDS * message.seconds if isinstance(message, Play) else 0.0
        addressed = ForContestant(contestant.number, message, self._target, self._probed)
        return self.remote.ask(what, addressed, self._step + extra)


class ContestantProxy:
    """A contestant of a group. Its answers are those of a process of tvmconv.measure.contestant."""

    def __init__(self, group: SessionGroup, number: int) -> None:
        self.number = number
        self._group = group
        self._setup: Setup | None = None
        self._session = 0  # in which it was set up

    def ask(self, message: Setup | Play | Check, patience: float) -> object:
        """`patience` is measure's, for this machine; a device has deadlines of its own."""
        if isinstance(message, Setup):
            self._setup = message
        try:
            return self._group.remote.twice("the kernel", self._group.begin, lambda: self._work(message))
        except DeviceError as device_error:
            return Failure("error", str(device_error))

    def kill(self) -> None:
        self._group.give_up(self)

    def _work(self, message: Setup | Play | Check) -> object:
        assert self._setup
        if self._session != self._group.remote.sessions and not isinstance(message, Setup):
            self._set_up(self._setup)
        return self._set_up(message) if isinstance(message, Setup) else self._group.ask("a turn", self, message)

    def _set_up(self, setup: Setup) -> object:
        answer = self._group.ask("set a kernel up", self, setup)
        self._session = self._group.remote.sessions
        return answer

"""Contestants on a device, for measure: all in one session, set up again in the next one if that is lost."""

from __future__ import annotations

from tvmconv.measure.contestant import Check, Failure, Play, Setup
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.client.remote_contestant import COOLING
from tvmconv.rpc.client.worker import Seated
from tvmconv.rpc.errors import Trouble
from tvmconv.target.targets import Target
from tvmconv.workload.shape import ConvShape

_ROUNDS = 4  # at most, for each that counts: those repeated
_STEPS = 3  # of a contestant that are not turns: set up twice, check


class Stage:
    """Where the contestants of one layer play. `seconds` is how long all their turns together may take."""

    def __init__(self, remote: Remote, target: Target, shape: ConvShape, seconds: float, probed: bool = True) -> None:
        self.remote, self._target, self._probed = remote, target, probed
        self._step, self._playing = remote.pace.seconds(shape), seconds
        self._seats: set[TakenSeat] = set()
        self._taken = 0

    def contestant(self) -> TakenSeat:
        """One more contestant, as measure sees a process of one."""
        self._taken += 1
        seat = TakenSeat(self, self._taken)
        self._seats.add(seat)
        return seat

    def give_up(self, seat: TakenSeat) -> None:
        """When nobody is left, others can have the device."""
        self._seats.discard(seat)
        if not self._seats:
            self.remote.leave()

    def begin(self) -> None:
        """The session, if there is none. Raises Trouble."""
        if not self.remote.is_open:
            self.remote.begin(self._playing + _STEPS * self._taken * self._step)

    def ask(self, what: str, seat: TakenSeat, message: Setup | Play | Check) -> object:
        """The contestant's answer. Raises Trouble."""
        extra = COOLING + _ROUNDS * message.seconds if isinstance(message, Play) else 0.0
        seated = Seated(seat.number, message, self._target, self._probed)
        return self.remote.ask(what, seated, self._step + extra)


class TakenSeat:
    """A contestant of a stage. Its answers are those of a process of tvmconv.measure.contestant."""

    def __init__(self, stage: Stage, number: int) -> None:
        self.number = number
        self._stage = stage
        self._setup: Setup | None = None
        self._session = 0  # in which it was set up

    def ask(self, message: Setup | Play | Check, patience: float) -> object:
        """`patience` is measure's, for this machine; a device has a pace of its own."""
        if isinstance(message, Setup):
            self._setup = message
        try:
            return self._stage.remote.twice("the kernel", self._stage.begin, lambda: self._work(message))
        except Trouble as trouble:
            return Failure("error", str(trouble))

    def kill(self) -> None:
        self._stage.give_up(self)

    def _work(self, message: Setup | Play | Check) -> object:
        assert self._setup
        if self._session != self._stage.remote.sessions and not isinstance(message, Setup):
            self._set_up(self._setup)
        return self._set_up(message) if isinstance(message, Setup) else self._stage.ask("a turn", self, message)

    def _set_up(self, setup: Setup) -> object:
        answer = self._stage.ask("set a kernel up", self, setup)
        self._session = self._stage.remote.sessions
        return answer

"""A client of TVM's tracker, with deadlines: which keys are served, and requests for a server.

TVM's own client retries a dead port for a minute, and waits for ever for a key that nobody serves.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tvmconv.rpc.address import Address
from tvmconv.rpc.errors import DeviceError

# tvm/rpc/base.py of TVM 0.27: RPC_TRACKER_MAGIC and TrackerCode.
_MAGIC = 0x2F271
_SUCCESS, _REQUEST, _SUMMARY = 0, 4, 6
_LONGEST = 64 << 20  # bytes of an answer: a summary has some 80 for each server
_PIECE = 1 << 16  # bytes read at a time: memory is taken for what has arrived, not for what a length promises
_LISTED = 20  # keys in a sentence
_PATIENCE = 5.0  # seconds for an answer that needs nobody's turn


@dataclass(frozen=True)
class Queue:
    """The queue of one key: registered servers, those that are free, and waiting clients."""

    servers: int
    free: int
    pending: int


def listed(queues: Mapping[str, Queue]) -> str:
    """The keys that a tracker knows, in words."""
    return first_of([f"{key} ({queue.free} of {queue.servers} free)" for key, queue in queues.items()])


def first_of(words: Sequence[str]) -> str:
    """A list for a sentence: of many words, the first ones."""
    more = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more


@dataclass(frozen=True)
class Grant:
    """A server that waits for its client, which has to show the match key."""

    server: Address
    match_key: str


class TrackerClient:
    """A connection to a tracker. Its methods raise DeviceError, whose sentence says what to do."""

    def __init__(self, address: Address) -> None:
        self._address = address
        try:
            self._socket = socket.create_connection((address.host, address.port), _PATIENCE)
        except OSError as error:
            raise DeviceError(
                "unreachable",
                f"no tracker answers at {address} ({error.strerror or error}): start one with `tvmconv rpc tracker`, "
                "or give its address with --tracker",
            ) from None
        try:
            self._greet()
        except BaseException:
            self._socket.close()
            raise

    def _greet(self) -> None:
        magic = struct.pack("<i", _MAGIC)
        try:
            self._socket.sendall(magic)
            is_tracker = self._receive(len(magic), _PATIENCE) == magic
        except DeviceError as device_error:
            if device_error.kind == "silent":
                raise
            is_tracker = False
        if not is_tracker:
            raise self._nonsense()

    def __enter__(self) -> TrackerClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._socket.close()

    def queues(self) -> Mapping[str, Queue]:
        """The keys that are served now."""
        answer = self._ask([_SUMMARY], _PATIENCE)
        try:
            summary = answer[1]
            servers = Counter(str(server["key"]).removeprefix("server:") for server in summary["server_info"])
            waiting = summary["queue_info"]
            return {key: _queue(count, waiting.get(key, {})) for key, count in sorted(servers.items())}
        except (LookupError, TypeError, AttributeError, ValueError):
            raise self._nonsense() from None

    def queue(self, key: str) -> Queue:
        """The queue of a key. Raises DeviceError if nobody serves it."""
        queues = self.queues()
        if key in queues:
            return queues[key]
        others = f"only {listed(queues)}: name one of them"
        nothing = "nor anything else: start a server on the device"
        raise DeviceError(
            "nobody", f"nobody serves {key} at the tracker {self._address}, {others if queues else nothing}"
        )

    def request(self, key: str, seconds: float) -> Grant:
        """A turn at one of the key's servers, waited for so long."""
        try:
            answer = self._ask([_REQUEST, key, "", 1], seconds)
        except DeviceError as device_error:
            if device_error.kind != "silent":
                raise
            raise DeviceError("busy", f"{key} is busy: no server of it became free within {seconds:.0f} s") from None
        try:
            status, (host, port, match_key) = answer
            server = Address(str(host), _whole(port))
        except (TypeError, ValueError):
            raise self._nonsense() from None
        if status != _SUCCESS or not 0 < server.port < 65536:
            raise self._nonsense()
        return Grant(server, str(match_key))

    def _ask(self, message: object, seconds: float) -> Any:
        text = json.dumps(message).encode()
        deadline = time.monotonic() + seconds
        try:
            self._socket.settimeout(_PATIENCE)
            self._socket.sendall(struct.pack("<i", len(text)) + text)
        except OSError as error:
            raise self._gone(error) from None
        (length,) = struct.unpack("<i", self._receive(4, seconds))
        if not 0 < length <= _LONGEST:
            raise self._nonsense()
        try:
            return json.loads(self._receive(length, max(_PATIENCE, deadline - time.monotonic())))
        except (ValueError, RecursionError):
            raise self._nonsense() from None

    def _receive(self, size: int, seconds: float) -> bytes:
        """Exactly so many bytes within so many seconds."""
        data, deadline = bytearray(), time.monotonic() + seconds
        try:
            while len(data) < size:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                part = self._socket.recv(min(size - len(data), _PIECE))
                if not part:
                    raise self._gone("it ended the connection")
                data += part
        except TimeoutError:
            raise DeviceError("silent", f"the tracker {self._address} did not answer within {seconds:.0f} s") from None
        except OSError as error:
            raise self._gone(error) from None
        return bytes(data)

    def _gone(self, error: OSError | str) -> DeviceError:
        reason = error if isinstance(error, str) else error.strerror or error
        return DeviceError("unreachable", f"the tracker {self._address} is gone ({reason}): start it again")

    def _nonsense(self) -> DeviceError:
        return DeviceError("unreachable", f"what answers at {self._address} is no TVM tracker: give another --tracker")


def _queue(servers: int, info: Mapping[str, Any]) -> Queue:
    return Queue(servers, _whole(info.get("free", 0)), _whole(info.get("pending", 0)))


def _whole(value: object) -> int:
    """A number of the tracker's answer. Raises ValueError for what is none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a whole number")
    return value

"""What a tracker may answer: a lot, in pieces, or nonsense, which is one sentence within the deadline."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from tests.fake_tracker import FakeTracker
from tvmconv.rpc.address import Address, Where
from tvmconv.rpc.client import connection, tracker_client
from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.client.tracker_client import Grant, Queue, TrackerClient
from tvmconv.rpc.errors import DeviceError


def client(tracker: FakeTracker) -> TrackerClient:
    return TrackerClient(Address("127.0.0.1", tracker.port))


def summary(servers: int, free: object = 1) -> bytes:
    keys = [f"device{number}" for number in range(servers)]
    known = [{"key": f"server:{key}", "addr": ["127.0.0.1", 9090]} for key in keys]
    queues = {key: {"free": free, "pending": 0} for key in keys}
    return json.dumps([0, {"queue_info": queues, "server_info": known}]).encode()


@pytest.mark.parametrize(("servers", "least"), [(2_100, 200_000), (180_000, 17 << 20)])
def test_a_long_summary(servers: int, least: int) -> None:
    answer = summary(servers)
    assert len(answer) >= least
    with FakeTracker(answer=answer) as tracker, client(tracker) as asked:
        assert asked.queue(f"device{servers - 1}") == Queue(servers=1, free=1, pending=0)


def test_many_keys_are_said_in_a_line() -> None:
    with FakeTracker(answer=summary(2_100)) as tracker, client(tracker) as asked:
        with pytest.raises(DeviceError, match=r"only device0 .* and 2080 more: name one of them") as caught:
            asked.queue("other")
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "answer",
    [
        b"[" * 100_000,
        b"\xff\xfe",
        b"[0, {}]",
        b'[0, {"queue_info": 5, "server_info": [{"key": "server:k"}]}]',
        b'[0, {"queue_info": {"k": null}, "server_info": [{"key": "server:k"}]}]',
        *(summary(1, free) for free in ("many", None, -1, 1.5, float("nan"), [1])),
    ],
)
def test_a_summary_that_is_none(answer: bytes) -> None:
    with (
        FakeTracker(answer=answer) as tracker,
        client(tracker) as asked,
        pytest.raises(DeviceError, match="is no TVM tracker"),
    ):
        asked.queues()


@pytest.mark.parametrize(
    "server", [*(["h", port, "m"] for port in (0, -1, 65536, 1e400, "x", None)), ["h", 1], 5], ids=str
)
def test_a_grant_that_is_none(server: object) -> None:
    with (
        FakeTracker(answer=json.dumps([0, server]).encode()) as tracker,
        client(tracker) as asked,
        pytest.raises(DeviceError, match="is no TVM tracker"),
    ):
        asked.request("k", 1)


def test_a_grant() -> None:
    with FakeTracker(answer=b'[0, ["h", 65535, "k:1"]]') as tracker, client(tracker) as asked:
        assert asked.request("k", 1) == Grant(Address("h", 65535), "k:1")


@pytest.mark.parametrize(
    ("length", "sentence"),
    [
        *((length, "is no TVM tracker") for length in (0, -1, -(1 << 31), (64 << 20) + 1, (1 << 31) - 1)),
        (3, "is no TVM tracker"),
        (1 << 20, "did not answer within"),
    ],
)
def test_a_wrong_length(monkeypatch: pytest.MonkeyPatch, length: int, sentence: str) -> None:
    """In time; the last one promises more than it sends."""
    monkeypatch.setattr(tracker_client, "_PATIENCE", 0.5)
    with FakeTracker(answer=b"[0, 1]", length=length) as tracker, client(tracker) as asked:
        start = time.monotonic()
        with pytest.raises(DeviceError, match=sentence):
            asked.queues()
        assert time.monotonic() - start < 3


def test_a_device_that_is_missed_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as an absence, although nothing fails for it."""
    answers: list[Exception | Queue] = [DeviceError("nobody", "nobody serves native")]
    answers.append(Queue(servers=1, free=1, pending=0))

    class Tracker(contextlib.nullcontext[None]):
        def __enter__(self) -> Tracker:  # type: ignore[override]
            return self

        def queue(self, key: str) -> Queue:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(connection, "TrackerClient", lambda address: Tracker())
    tracker = Address("127.0.0.1", 1)
    there = Remote(Where("native", "native", tracker=tracker))
    there._was_there = True
    there._look(tracker)
    assert (there.absences, answers) == (1, [])

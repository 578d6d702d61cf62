"""verify on a device: the checks of verify/check.py, each in a session of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tvmconv.rpc.client.connection import Remote
from tvmconv.rpc.errors import DeviceError
from tvmconv.verify.check import Check, Verdict


def verify(checks: Iterable[Check], remote: Remote) -> Iterator[Verdict]:
    """One verdict for each check, in order, as soon as it is known. A check that fails costs nothing but itself."""
    for check in checks:
        try:
            yield remote.asked("the kernel", check, remote.deadlines.seconds(check.shape))
        except DeviceError as device_error:
            yield Verdict("error", str(device_error))
    remote.leave()

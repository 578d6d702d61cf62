"""Resolves --device, --tracker and --key to a device and its address."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from tvmconv.target import targets
from tvmconv.target.devices import DEVICES, EMULATED, EMULATOR, LOCAL, Device
from tvmconv.target.targets import Target

_TRACKER_PORT = 9190  # TVM's own default
_HOST, _PORT, _KEY = "TVM_TRACKER_HOST", "TVM_TRACKER_PORT", "TVM_KEY"


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Where:
    """A device that runs kernels through RPC.

    name: what rows call it; key: by which its server is known; cluster: the cores to run on, None for any. One of
    tracker and server says where it is found; an emulated one has neither until it is started.
    """

    name: str
    key: str = ""
    cluster: str | None = None
    tracker: Address | None = None
    server: Address | None = None
    emulated: bool = False

    @property
    def row(self) -> Device | None:
        """The device's line in the table, if it has one."""
        if self.emulated:
            return None
        names = [self.name.partition("/")[0], self.key]
        return next((device for name in names for device in DEVICES if device.name == name), None)


def parse(device: str, tracker: str | None = None, key: str | None = None) -> Where | None:
    """The device that runs kernels through RPC; None for one that needs none: local, emulator.

    device: KEY[/CLUSTER], HOST:PORT or emulated-aarch64; tracker: HOST:PORT, by default of the environment's
    TVM_TRACKER_HOST and TVM_TRACKER_PORT, else 127.0.0.1:9190; key: what the server is called, by default TVM_KEY's,
    else the KEY of the device. Raises ValueError for what is none of these.
    """
    if device in (LOCAL, EMULATOR):
        return None
    if device == EMULATED:
        return Where(device, emulated=True)
    key = key or os.environ.get(_KEY) or ""
    if ":" in device:
        return Where(device, key, server=parse_address(device))
    name, slash, cluster = device.partition("/")
    if not name or (slash and not cluster):
        raise ValueError(f"{device!r} is not a device: {LOCAL}, {EMULATOR}, {EMULATED}, KEY[/CLUSTER] or HOST:PORT")
    return Where(device, key or name, cluster or None, tracker=tracker_address(tracker))


def tracker_address(text: str | None) -> Address:
    """The tracker of that address, by default the environment's, else this machine's. Raises ValueError."""
    if text:
        return parse_address(text)
    host, port = os.environ.get(_HOST) or "127.0.0.1", os.environ.get(_PORT) or str(_TRACKER_PORT)
    return parse_address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def parse_address(text: str) -> Address:
    """HOST:PORT, or [IPV6]:PORT. Raises ValueError."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s]+)):(\d{1,5})", text, re.ASCII)
    if not match or not 0 < int(match[3]) < 65536:
        raise ValueError(f"{text!r} is not an address such as 192.168.1.7:9090 or [::1]:9090")
    return Address(match[1] or match[2], int(match[3]))


def default_target(where: Where) -> Target:
    """The target of a device, by its line in the table. Raises ValueError for a device that has none."""
    if where.emulated:
        return targets.parse("aarch64")
    if where.row is None:
        raise ValueError(
            f"--device {where.name} is none of `list devices`, so say what code it takes: -t aarch64, or a core "
            "of `list targets`"
        )
    return targets.parse(f"{where.row.name}/{where.cluster}" if where.cluster else where.row.name)

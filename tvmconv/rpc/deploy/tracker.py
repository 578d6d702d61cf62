"""TVM's tracker in one process; TVM's own command leaves a worker behind when it is killed."""

from __future__ import annotations

import os
import socket
import sys
import threading
from types import ModuleType
from typing import cast

from tvmconv.rpc.process import Listening
from tvmconv.support.install import install_line

_PATIENCE = 60  # importing TVM takes 5 s of a free core when it is cold
_BACKLOG = 64


def start() -> Listening:
    """A tracker on loopback, at a port that is free, which ends with this process. Raises RuntimeError."""
    program = "from tvmconv.rpc.deploy.tracker import serve; serve('127.0.0.1', 0, stop_at_eof=True)"
    return Listening([sys.executable, "-c", program], _PATIENCE)


def serve(host: str, port: int, stop_at_eof: bool = False) -> None:
    """Run a tracker for good, or until stdin ends. Prints `listening on HOST:PORT` first.

    Raises OSError, with one sentence, where it cannot listen there; ValueError without the extra `tune`.
    """
    with _listener(host, port) as listener:
        tracker = _tvms_tracker()
        if stop_at_eof:
            threading.Thread(target=_exit_at_eof, daemon=True).start()
        name, port = listener.getsockname()[:2]
        print(f"listening on {f'[{name}]' if ':' in name else name}:{port}", flush=True)
        # What TVM's own constructor runs in a worker. Nobody is told the key that would stop it.
        tracker._tracker_server(listener, os.urandom(16).hex())


def _tvms_tracker() -> ModuleType:
    try:
        from tvm.rpc import tracker
    except ImportError as error:
        raise ValueError(f"TVM's tracker cannot be imported ({error}); {install_line('tune')}") from None
    return cast(ModuleType, tracker)


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise OSError(f"--host {host}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(f"no tracker can listen on {host}, port {port}: {error.strerror}; use another --port") from None
    return listener


def _exit_at_eof() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)

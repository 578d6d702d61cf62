"""Sockets that answer what no tracker and no server would."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from tvmconv.rpc import address


@contextlib.contextmanager
def liar(reply: bytes | None) -> Iterator[address.Address]:
    """Somebody who accepts connections and says this at once, or never anything."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])
                    if reply is not None:
                        taken[-1].sendall(reply)

        threading.Thread(target=accept, daemon=True).start()
        yield address.Address("127.0.0.1", listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()

"""A tracker whose answers are as long, or as wrong, as a test wants them; it knows one server that registers."""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

_PUT, _REQUEST, _SUMMARY, _PENDING = 3, 4, 6, 7  # TrackerCode of tvm/rpc/base.py
_PIECE = 4096


class FakeTracker:
    """`padding`: bytes of other keys before the server's own among those that wait for a client; `answer`: to a request
    and for a summary; `length`: what is said in the place of an answer's own.
    """

    def __init__(self, padding: int = 0, answer: bytes = b"null", length: int | None = None) -> None:
        self._padding, self._said, self._length = padding, answer, length
        self._match = ""
        self.connections = self.offers = self.answered = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> FakeTracker:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self.connections += 1
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, struct.error):
            connection.sendall(connection.recv(4))
            while True:
                (size,) = struct.unpack("<i", connection.recv(4, socket.MSG_WAITALL))
                self._answer(connection, json.loads(connection.recv(size, socket.MSG_WAITALL)))

    def _answer(self, connection: socket.socket, message: list[Any]) -> None:
        code = message[0]
        if code == _PENDING:
            keys = ["x" * 98] * (self._padding // 102) + [self._match]
            self._send(connection, json.dumps(keys).encode(), self._length)
        elif code in (_REQUEST, _SUMMARY):
            self._send(connection, self._said, self._length)
        else:
            if code == _PUT:
                self.offers += 1
                self._match = message[2][1]
            self._send(connection, b"0")

    def _send(self, connection: socket.socket, answer: bytes, length: int | None = None) -> None:
        connection.sendall(struct.pack("<i", len(answer) if length is None else length))
        for start in range(0, len(answer), _PIECE):
            connection.sendall(answer[start : start + _PIECE])
        self.answered += 1

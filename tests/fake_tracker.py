"""A tracker that knows one server, and whose list of waiting keys is as long, or as wrong, as a test wants it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

_PUT, _PENDING = 3, 7  # TrackerCode of tvm/rpc/base.py
_PIECE = 4096


class FakeTracker:
    """`padding`: bytes of other keys before ours; `length`: what is said in the place of the answer's length."""

    def __init__(self, padding: int = 0, length: int | None = None) -> None:
        self._padding, self._length = padding, length
        self._match = ""
        self.connections = self.offers = self.answered = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

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
        if message[0] != _PENDING:
            if message[0] == _PUT:
                self.offers += 1
                self._match = message[2][1]
            connection.sendall(struct.pack("<i", 1) + b"0")
            return
        answer = json.dumps(["x" * 98] * (self._padding // 102) + [self._match]).encode()
        connection.sendall(struct.pack("<i", len(answer) if self._length is None else self._length))
        for start in range(0, len(answer), _PIECE):
            connection.sendall(answer[start : start + _PIECE])
        self.answered += 1

"""DeviceError: the kinds of failures of a device."""

from __future__ import annotations

from typing import Literal

from tvmconv.support.text import last_line

Kind = Literal[
    "nobody",  # no server has the key
    "busy",  # all servers that have it serve others
    "unreachable",  # nobody answers where the tracker or the server should be
    "lost",  # the session ended: the kernel crashed, or the link is gone
    "silent",  # no answer within the client's deadline
    "timeout",  # the server ended the session at its deadline
    "architecture",  # the device cannot run such code
    "disk",  # the file did not arrive whole
    "failed",  # the device answered that something is wrong
]

# Where a new session can help: what was wrong may have been the session, or the network for a moment.
_WORTH_ANOTHER_TRY = ("lost", "silent", "timeout")
# Where the device itself cannot be had.
_AWAY = ("nobody", "busy", "unreachable")


class DeviceError(Exception):
    """Something that went wrong with a device: its kind, and a sentence for people."""

    def __init__(self, kind: Kind, sentence: str) -> None:
        super().__init__(kind, sentence)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[1])

    @property
    def worth_another_try(self) -> bool:
        return self.kind in _WORTH_ANOTHER_TRY

    @property
    def away(self) -> bool:
        return self.kind in _AWAY


# What TVM's messages hold, by kind; the first that fits counts. Messages of a session that has ended are many.
_SIGNS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("timeout", ("RPCSessionTimeoutError", "session has expired")),
    ("disk", ("No space left", "no space left", "file too short", "Disk quota")),
    (
        "architecture",
        (
            "cannot open shared object file",
            "wrong ELF class",
            "ELFCLASS",
            "Exec format",
            "invalid ELF header",
            "was made for",
        ),
    ),
    (
        "lost",
        (
            *(
                "RPCCode::kReturn",
                "kShutdown",
                "Broken pipe",
                "Connection reset",
                "Connection aborted",
                "Connection timed out",
            ),
            *("Socket closed", "closed by", "No route to host", "Transport endpoint", "recv", "Send error"),
        ),
    ),
)
_SENTENCES = {
    "timeout": "the server ended the session at its deadline: the kernel loops, or is far slower than it should be",
    "disk": "the kernel's file did not arrive whole: make room on the device's disk",
    "architecture": "the device could not load the kernel's file: give with -t what its cores are",
    "lost": "the session ended: the kernel crashed, or the link is gone",
}


def explain(error: Exception) -> DeviceError:
    """The meaning of an error of TVM's RPC client."""
    if isinstance(error, DeviceError):
        return error
    text = str(error)
    for kind, signs in _SIGNS:
        if any(sign in text for sign in signs):
            return DeviceError(kind, _SENTENCES[kind])
    if isinstance(error, (ConnectionError, EOFError)):
        return DeviceError("lost", _SENTENCES["lost"])
    return DeviceError("failed", _message(error))


def _message(error: Exception) -> str:
    """The message of an error; TVM's have a traceback before it."""
    message = last_line(str(error)) or "no message"
    if isinstance(error, ValueError) or type(error).__name__ == "RPCError":  # whose text is the device's own
        return message
    return f"{type(error).__name__}: {message}"

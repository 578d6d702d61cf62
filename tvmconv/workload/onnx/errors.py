"""Errors about a model file as a whole."""

from __future__ import annotations


class BadModel(ValueError):
    """A file that exists and is no ONNX model that can be understood."""


class NotAModel(BadModel):
    """A file that is something else, or too damaged to tell: `kind` is None."""

    def __init__(self, sentence: str, kind: str | None) -> None:
        super().__init__(sentence)
        self.kind = kind


def one_line(error: Exception) -> str:
    """The first line of an error of onnx, whose messages may go on with stack traces."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__

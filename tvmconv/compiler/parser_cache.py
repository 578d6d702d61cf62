"""Speeds up TVMScript's parser by caching what it would compute again for every kernel."""

from __future__ import annotations

import ast
import functools
import inspect
import pickle
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

_WHERE = {"lineno", "col_offset", "end_lineno", "end_col_offset", "kind", "type_comment"}  # of no account when it runs


@contextmanager
def parsed_quickly() -> Iterator[None]:
    """Meanwhile TVM's parser spares itself the greater part of its work, which is the same for one tile as for another.

    Each expansion of a macro parses its text again, and looks for the source files of some fifty frames, as each
    function does, to see whether it stands in a class: none of ours does. Each expression becomes a Python AST and is
    compiled, though the same few hundred come again and again.
    """
    from tvm.script.parser.core import doc, evaluator

    with (
        _replaced(inspect, "getouterframes", _frames_without_source),
        _replaced(doc, "parse", _Texts(doc.parse)),
        _replaced(evaluator, "_eval_expr", _Expressions(doc)),
    ):
        yield


@contextmanager
def _replaced(module: Any, name: str, substitute: object) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, substitute)
    try:
        yield
    finally:
        setattr(module, name, original)


def _frames_without_source(frame: FrameType, context: int = 1) -> list[inspect.FrameInfo]:
    """As inspect.getouterframes: where the frames are, but not what their source says there."""
    return [
        inspect.FrameInfo(each, each.f_code.co_filename, each.f_lineno, each.f_code.co_name, None, None)
        for each in _outwards(frame)
    ]


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame:
        yield frame
        frame = frame.f_back


class _Texts:
    """As doc.parse: TVM's AST of a text. A copy each time, since the parser takes away decorators that it has read."""

    def __init__(self, parse: Any) -> None:
        self._pickled = functools.cache(lambda text: pickle.dumps(parse(text), pickle.HIGHEST_PROTOCOL))

    def __call__(self, source: str) -> Any:
        return pickle.loads(self._pickled(source))


class _Expressions:
    """As evaluator._eval_expr: the value of an expression, a node of TVM's AST, where names mean what `known` says."""

    def __init__(self, doc: Any) -> None:
        self._doc = doc
        self._fields: dict[type, list[str]] = {}
        self._compiled: dict[Hashable, CodeType] = {}

    def __call__(self, node: Any, known: dict[str, Any] | None) -> Any:
        said = self._said(node)
        if said not in self._compiled:
            made = self._doc.from_doc(node)
            whole = made if isinstance(made, ast.Expression) else ast.Expression(made)
            self._compiled[said] = compile(ast.fix_missing_locations(whole), "<TVMScript>", "eval")
        return eval(self._compiled[said], {} if known is None else known)

    def _said(self, node: Any) -> Hashable:
        """The same for all that mean the same, wherever they stand."""
        if node is None or isinstance(node, str):
            return node
        if isinstance(node, list | tuple):
            return tuple(map(self._said, node))
        kind = type(node)
        if not isinstance(node, self._doc.AST):
            return kind, repr(node)
        if kind not in self._fields:
            self._fields[kind] = [name for name in kind._FIELDS if name not in _WHERE]
        return kind, *(self._said(getattr(node, name, None)) for name in self._fields[kind])

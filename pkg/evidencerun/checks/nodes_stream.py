# SPDX-License-Identifier: Apache-2.0
"""Reads nodes.json one node at a time: with 5,000 nodes the document is larger than a check's memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from pydantic import ValidationError

from evidencerun import limits
from evidencerun.errors import EvidenceError, WorldError
from evidencerun.snapshot.nodes import NodeEntry

_CHUNK: Final = 512 * limits.KIB
_SPACE: Final = " \t\r\n"


def node_entries(path: Path, *, chunk: int = _CHUNK) -> Iterator[NodeEntry]:
    """Yield the entries of `nodes` in their order; the file is read in pieces of `chunk` bytes.

    Raises:
        WorldError: E7705, the file cannot be read.
        EvidenceError: E7703, it is not such a document.

    """
    try:
        with path.open("rb") as file:
            yield from _entries(_Window(file, chunk))
    except OSError as fault:
        raise WorldError("E7705", "nodes.json cannot be read", where=str(path), why=str(fault)) from fault


def _entries(window: _Window) -> Iterator[NodeEntry]:
    window.expect("{")
    seen = 0
    while True:
        key = window.value()
        window.expect(":")
        if key != "nodes":
            window.value()
        else:
            window.expect("[")
            if window.peek() == "]":
                window.expect("]")
            else:
                for document in window.items():
                    yield _entry(document, seen)
                    seen += 1
                    if seen > limits.NODES_MAX:
                        raise _bad(f"more than {limits.NODES_MAX} nodes")
            return
        if window.peek() != ",":
            raise _bad("it has no member nodes")
        window.expect(",")


def _entry(document: object, number: int) -> NodeEntry:
    try:
        return NodeEntry.model_validate(document)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _bad(f"nodes.{number}.{place}: {first['msg']}") from fault


class _Window:
    """A moving window over a JSON text."""

    def __init__(self, file: IO[bytes], chunk: int) -> None:
        self._file = file
        self._chunk = chunk
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is no white space."""
        while True:
            self._text = self._text.lstrip(_SPACE)
            if self._text:
                return self._text[0]
            self._more()

    def expect(self, character: str) -> None:
        """Step over one character."""
        found = self.peek()
        if found != character:
            raise _bad(f"found {found!r}, expected {character!r}")
        self._text = self._text[1:]

    def value(self) -> Any:
        """Return the next JSON value, which must end before the text does."""
        self.peek()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text)
            except json.JSONDecodeError as fault:
                if self._ended or len(self._text) > limits.NODE_ENTRY_MAX:
                    raise _bad(fault.msg) from fault
            except RecursionError as fault:
                raise _bad("it is nested too deeply") from fault
            else:
                # A number at the window's edge may go on behind it.
                if end < len(self._text) or self._ended:
                    self._text = self._text[end:]
                    return found
            self._more()

    def items(self) -> Iterator[Any]:
        """Yield the items of an array whose bracket has been stepped over."""
        while True:
            yield self.value()
            if self.peek() == "]":
                self.expect("]")
                return
            self.expect(",")

    def _more(self) -> None:
        if self._ended:
            raise _bad("it ends in the middle")
        data = self._file.read(self._chunk)
        self._ended = not data
        try:
            self._text += self._utf8.decode(data, final=self._ended)
        except UnicodeDecodeError as fault:
            raise _bad("it is not UTF-8") from fault


def _bad(why: str) -> EvidenceError:
    return EvidenceError("E7703", "nodes.json does not follow its schema", why=why)

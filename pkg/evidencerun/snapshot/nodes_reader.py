# SPDX-License-Identifier: Apache-2.0
"""Reads a nodes.json that is written in its one form, one node at a time: as a whole it may not fit into memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Final, NoReturn

from pydantic import ValidationError

from evidencerun import limits
from evidencerun.canonical import parse_json
from evidencerun.errors import InputError
from evidencerun.snapshot.nodes import (
    HEAD,
    MARGIN,
    NODES_SCHEMA,
    TAIL,
    NodeEntry,
    entry_text,
    in_order,
    refuse_entry,
    refuse_schema,
)

_CHUNK: Final = 1 * limits.MIB
_END: Final = f"\n{MARGIN}}}".encode()
"""Ends an entry and nothing else: what is inside has a wider margin, and texts hold no line break."""
_OTHER_SCHEMA: Final = re.compile(rb'(?:\n  )?\],\n  "schema": "([^"\n]{0,200})')


def read_nodes(file: IO[bytes], *, exact: bool) -> Iterator[NodeEntry]:
    """Yield the nodes of a document in its one form. With `exact` each is compared with that form byte for byte.

    Raises:
        InputError: E1422 for a document in another form; E1420, E1421 and the codes of `parse_json` as `load_nodes`.

    """
    try:
        yield from in_order(_entries(_Window(file), exact=exact))
    except ValueError as fault:
        raise InputError("E1421", "nodes.json contradicts itself", where="nodes", why=str(fault)) from fault


def _entries(window: _Window, *, exact: bool) -> Iterator[NodeEntry]:
    if not window.take(HEAD):
        _refuse("it does not begin with the nodes")
    number = 0
    while window.take(b",\n" if number else b"\n"):
        if number >= limits.NODES_MAX:
            _refuse(f"it has more than {limits.NODES_MAX} nodes")
        yield _entry(window.until(_END), number, exact=exact)
        number += 1
    if not window.take(b"\n  " + TAIL if number else TAIL):
        other = _OTHER_SCHEMA.match(window.rest())
        if other and other.group(1).decode(errors="replace") != NODES_SCHEMA:
            refuse_schema(ascii(other.group(1)))
        _refuse("it does not end behind the nodes")
    if window.rest():
        _refuse("something stands behind its end")


def _entry(text: bytes, number: int, *, exact: bool) -> NodeEntry:
    where = f"nodes.{number}"
    if not text.startswith(f"{MARGIN}{{\n".encode()):
        _refuse(f"{where} does not begin where it must")
    piece = text[len(MARGIN) :]
    plain = parse_json(
        piece,
        what=f"nodes.json, {where}",
        max_bytes=limits.NODE_ENTRY_MAX,
        max_values=limits.NODE_ENTRY_VALUES_MAX,
    )
    try:
        entry = NodeEntry.model_validate(plain)
    except ValidationError as fault:
        refuse_entry(fault, f"{where}.")
    if exact and piece != entry_text(entry).encode():
        _refuse(f"{where} is spelled in another way")
    return entry


class _Window:
    """A part of the file that moves on."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._data = b""
        self._at = 0

    def take(self, mark: bytes) -> bool:
        """Pass over `mark` if it comes next; return whether it does."""
        while len(self._data) - self._at < len(mark) and self._grow():
            pass
        found = self._data.startswith(mark, self._at)
        self._at += len(mark) if found else 0
        return found

    def until(self, mark: bytes) -> bytes:
        """Pass over everything up to the end of `mark` and return it."""
        while (end := self._data.find(mark, self._at)) < 0:
            if len(self._data) - self._at > limits.NODE_ENTRY_MAX or not self._grow():
                _refuse("a node does not end, or is too long")
        end += len(mark)
        found = self._data[self._at : end]
        self._at = end
        return found

    def rest(self) -> bytes:
        """Return what comes next, at most about a chunk."""
        self._grow()
        return self._data[self._at :]

    def _grow(self) -> bool:
        piece = self._file.read(_CHUNK)
        self._data = self._data[self._at :] + piece
        self._at = 0
        return bool(piece)


def _refuse(why: str) -> NoReturn:
    raise InputError("E1422", "nodes.json is not written in its one form", where="nodes", why=why)

# SPDX-License-Identifier: Apache-2.0
"""Reads the members of one YAML mapping against a list of known names, with line and column in every error.

Not a pydantic model: a text member takes a plain scalar's own spelling, as Go does (`24.10` stays `24.10`), and every
error must name the line; both need the tree.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final, NoReturn

from evidencerun import limits
from evidencerun.canonical import Mapping, Node, Scalar, ScalarStyle, Sequence, key_text, scalar_value
from evidencerun.errors import InputError

_CLOSE_ENOUGH: Final = 0.75
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))


def refuse(code: str, what: str, node: Node, *, why: str = "", fix: str = "") -> NoReturn:
    """Raise the error about a node."""
    raise InputError(code, what, where=str(node.mark), why=why, fix=fix)


def is_null(node: Node) -> bool:
    """Say whether the node is YAML's null."""
    return isinstance(node, Scalar) and node.style is ScalarStyle.PLAIN and node.text in _NULLS


class Fields:
    """The members of a mapping. `path` is the field path for messages, "" at the top."""

    def __init__(self, node: Node, path: str, known: frozenset[str], unknown: list[tuple[str, Node]]) -> None:
        """Index the members; a name that nearly is a known one is refused, another unknown one is noted."""
        self.node = node
        self.path = path
        self._members: dict[str, Node] = {}
        if is_null(node):
            return
        if not isinstance(node, Mapping):
            refuse("E1201", f"{path or 'the document'} is {_kind(node)}", node, why="a mapping is expected")
        present = {key_text(key) for key, _ in node.pairs}
        for key, value in node.pairs:
            if not isinstance(key, Scalar):
                refuse("E1201", f"{path or 'the document'} has a key that is {_kind(key)}", key, why="names are texts")
            self._members[key_text(key)] = value
            if key.text not in known:
                if len(unknown) >= limits.UNKNOWN_FIELDS_MAX:
                    why = f"more than {limits.UNKNOWN_FIELDS_MAX} fields are not known"
                    refuse("E1203", f"{self.at(key.text)[:200]} is not a known field", key, why=why)
                self._check_misspelling(key, present, known)
                unknown.append((self.at(key.text), key))

    def at(self, name: str) -> str:
        """Return the field path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def member(self, name: str) -> Node | None:
        """Return the member, None if it is absent or null."""
        node = self._members.get(name)
        return None if node is None or is_null(node) else node

    def text(self, name: str, *, required: bool = False) -> str:
        """Return a member's text as it is spelled; "" if it is absent and not required."""
        node = self.member(name)
        if node is None:
            if required:
                refuse("E1202", f"{self.at(name)} is missing", self.node, why="a text is expected")
            return ""
        if not isinstance(node, Scalar):
            refuse("E1201", f"{self.at(name)} is {_kind(node)}", node, why="a text is expected")
        if required and not node.text.strip():
            refuse("E1202", f"{self.at(name)} is empty", node, why="a text is expected")
        return node.text

    def count(self, name: str) -> int:
        """Return a member that is an integer of at least 0; 0 if it is absent."""
        node = self.member(name)
        if node is None:
            return 0
        value = scalar_value(node, what="the recipe") if isinstance(node, Scalar) else None
        if type(value) is not int or not 0 <= value < 2**31:
            refuse("E1201", f"{self.at(name)} is no count", node, why="an integer from 0 to 2147483647 is expected")
        return value

    def items(self, name: str) -> Iterator[tuple[str, Node]]:
        """Yield the items of a list with their field paths; nothing if it is absent."""
        node = self.member(name)
        if node is None:
            return
        if not isinstance(node, Sequence):
            refuse("E1201", f"{self.at(name)} is {_kind(node)}", node, why="a list is expected")
        for number, item in enumerate(node.items):
            yield f"{self.at(name)}[{number}]", item

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, each as it is spelled."""
        found = []
        for path, item in self.items(name):
            if not isinstance(item, Scalar) or is_null(item):
                refuse("E1201", f"{path} is {_kind(item)}", item, why="a text is expected")
            found.append(item.text)
        return tuple(found)

    def _check_misspelling(self, key: Scalar, present: set[str], known: frozenset[str]) -> None:
        folded = {name.lower(): name for name in sorted(known - present)}
        close = difflib.get_close_matches(key.text.lower()[:64], folded, n=1, cutoff=_CLOSE_ENOUGH)
        if close:
            name = folded[close[0]]
            what = f"{self.at(key.text)} is not a known field"
            refuse("E1203", what, key, why=f"did you mean {name}?", fix=f"write {name}, or remove the field")


def _kind(node: Node) -> str:
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case _:
            return "null" if is_null(node) else "a text"

# SPDX-License-Identifier: Apache-2.0
"""The tree of a YAML document, with everything that Go yaml.v3 keeps when it prints a node again.

Scalars keep their text and their quoting style, collections whether they were written in flow style; comments
are gone. Every node knows where it began, so that an error further on can name line and column.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ScalarStyle(StrEnum):
    """How a scalar was written; the values are YAML's own indicators."""

    PLAIN = ""
    SINGLE_QUOTED = "'"
    DOUBLE_QUOTED = '"'
    LITERAL = "|"
    FOLDED = ">"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a node begins; `line` and `column` count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """What all nodes share: where they begin. Plain numbers, because a document has tens of thousands of nodes."""

    line: int
    column: int

    @property
    def mark(self) -> Mark:
        """The place as one value."""
        return Mark(line=self.line, column=self.column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar(_Placed):
    """A scalar. `tag` is the full tag that was written, "" without one (`!` counts as none)."""

    text: str
    style: ScalarStyle
    tag: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence(_Placed):
    """A list; `flow` says that it was written with brackets."""

    items: tuple[Node, ...]
    flow: bool
    tag: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping(_Placed):
    """Key and value pairs in the order of the document; `flow` says that it was written with braces."""

    pairs: tuple[tuple[Node, Node], ...]
    flow: bool
    tag: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias(_Placed):
    """A reference to an anchored node, kept as a reference: nothing is ever expanded."""

    name: str


Node = Scalar | Sequence | Mapping | Alias


def key_text(node: Node) -> str:
    """Return the text by which yaml.v3 knows a key: a scalar's text, an alias' name, "" for a collection."""
    match node:
        case Scalar():
            return node.text
        case Alias():
            return node.name
        case _:
            return ""

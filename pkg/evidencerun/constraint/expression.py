# SPDX-License-Identifier: Apache-2.0
"""The constraint language's syntax tree, and its text form.

    expression = clause { "||" clause }        one clause must hold
    clause     = term { blank term }           all terms must hold; a new term begins with one of > < ! =
    term       = [ operator ] value            no operator: the same text

Reading gives the newest generation's language, of which the older one (a single term) is a part.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Operator(StrEnum):
    """How a reading is compared; `=` is read as `==`."""

    EXACT = ""
    EQUAL = "=="
    NOT_EQUAL = "!="
    AT_LEAST = ">="
    AT_MOST = "<="
    MORE = ">"
    LESS = "<"

    @property
    def ordered(self) -> bool:
        """Whether the operator compares versions by order, so that both sides must be versions."""
        return self in (Operator.AT_LEAST, Operator.AT_MOST, Operator.MORE, Operator.LESS)


OPERATOR_CHARS = "><!="


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One comparison. `value` is trimmed and not empty."""

    operator: Operator
    value: str

    def __str__(self) -> str:
        if self.operator is Operator.EXACT:
            return self.value
        # A blank before an operator character would begin a new term.
        gap = "" if self.value[0] in OPERATOR_CHARS else " "
        return f"{self.operator}{gap}{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """Terms that must all hold; at least one."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """Clauses of which one must hold; at least one. `str()` gives text that parses to the same expression."""

    clauses: tuple[Clause, ...]

    def __str__(self) -> str:
        return " || ".join(map(str, self.clauses))

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms in the order of the text."""
        return tuple(term for clause in self.clauses for term in clause.terms)

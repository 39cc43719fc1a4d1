# SPDX-License-Identifier: Apache-2.0
"""Reads constraint expressions (grammar: `evidencerun.constraint.expression`)."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from evidencerun import limits
from evidencerun.constraint.expression import OPERATOR_CHARS, Clause, Expression, Operator, Term
from evidencerun.errors import InputError, shortened

_TERM_START: Final = re.compile(rf"\s+(?=[{OPERATOR_CHARS}])")
_OPERATORS: Final = (
    (">=", Operator.AT_LEAST),
    ("<=", Operator.AT_MOST),
    ("!=", Operator.NOT_EQUAL),
    ("==", Operator.EQUAL),
    (">", Operator.MORE),
    ("<", Operator.LESS),
    ("=", Operator.EQUAL),
)


def parse(expression: str) -> Expression:
    """Return the syntax tree of a constraint's value.

    Raises:
        InputError: E1301, with the column (from 1) of the fault: nothing there, an empty alternative, an operator
            without a value, or a lone `!`.

    """
    if len(expression) > limits.CONSTRAINT_MAX:
        _refuse(expression, 0, f"it has {len(expression)} characters, at most {limits.CONSTRAINT_MAX} are read")
    if not expression.strip():
        _refuse(expression, 0, "it is empty")
    clauses = []
    start = 0
    for part in expression.split("||"):
        clauses.append(_clause(expression, part, start))
        start += len(part) + 2
    return Expression(clauses=tuple(clauses))


def _clause(expression: str, part: str, start: int) -> Clause:
    if not part.strip():
        _refuse(expression, start, "one of the alternatives is empty")
    start += len(part) - len(part.lstrip())
    body = part.strip()
    terms = []
    begin = 0
    for gap in [*_TERM_START.finditer(body), None]:
        end = gap.start() if gap else len(body)
        terms.append(_term(expression, body[begin:end], start + begin))
        begin = gap.end() if gap else end
    return Clause(terms=tuple(terms))


def _term(expression: str, text: str, column: int) -> Term:
    for spelling, operator in _OPERATORS:
        if text.startswith(spelling):
            value = text[len(spelling) :].strip()
            if not value:
                _refuse(expression, column + len(spelling), f"nothing follows {spelling}")
            return Term(operator=operator, value=value)
    if text.startswith("!"):
        _refuse(expression, column, "! alone is no operator")
    return Term(operator=Operator.EXACT, value=text.strip())


def _refuse(expression: str, column: int, why: str) -> NoReturn:
    raise InputError(
        "E1301",
        f"{shortened(expression)!a} is no constraint expression",
        where=f"column {column + 1}",
        why=why,
        fix="write it like 'ubuntu', '>= 1.32.4' or '>= 1.34.3 < 1.35 || >= 1.35.1'",
    )

# SPDX-License-Identifier: Apache-2.0
"""Evaluates constraints on readings: satisfied, violated or unknown, and never an exception.

`and` and `or` are three-valued: a violated term decides a clause, a satisfied clause decides an expression, and what
remains undecided is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

from evidencerun.constraint.expression import Clause, Expression, Operator, Term
from evidencerun.constraint.label_rule import LabelRule, evaluate_label_rule
from evidencerun.constraint.outcome import Outcome, Satisfied, Unknown, UnknownKind, Violated
from evidencerun.constraint.reading import Absent, Conflicting, GpuNodeLabels, Reading, Value
from evidencerun.constraint.version import Version, compare, equal, parse_version

Rule = Expression | LabelRule


def evaluate(rule: Rule, actual: Reading) -> Outcome:
    """Return what the rule says about the reading.

    Several values: satisfied if it holds for each of them, violated if it is violated by each of them, else unknown
    (conflict).
    """
    if isinstance(rule, LabelRule) and isinstance(actual, GpuNodeLabels):
        return evaluate_label_rule(rule, actual)
    match actual:
        case Absent(reason=reason):
            return Unknown(kind=UnknownKind.ABSENT, reason=reason)
        case Value(raw=raw) if isinstance(rule, Expression):
            return _on_value(rule, raw)
        case Conflicting(values=values) if isinstance(rule, Expression):
            return _on_values(rule, values)
        case _:
            reason = f"{rule} cannot be applied to a {type(actual).__name__} reading"
            return Unknown(kind=UnknownKind.UNSUITED, reason=reason)


def _on_values(expression: Expression, values: tuple[str, ...]) -> Outcome:
    if not values:
        return Unknown(kind=UnknownKind.ABSENT, reason="no node gave a value")
    outcomes = [_on_value(expression, value) for value in values]
    found = " | ".join(values)
    if all(isinstance(outcome, Satisfied) for outcome in outcomes):
        return Satisfied(found=found)
    if all(isinstance(outcome, Violated) for outcome in outcomes):
        return Violated(expected=str(expression), found=found)
    reason = f"nodes disagree: {found}; not every value satisfies {expression}"
    return Unknown(kind=UnknownKind.CONFLICT, reason=reason)


def _on_value(expression: Expression, raw: str) -> Outcome:
    """Evaluate on one value: `or` over the clauses."""
    actual = raw.strip()
    verdicts = [_clause_holds(clause, actual) for clause in expression.clauses]
    if True in verdicts:
        return Satisfied(found=raw)
    if reason := _first_reason(verdicts):
        return Unknown(kind=UnknownKind.UNCOMPARABLE, reason=reason)
    return Violated(expected=str(expression), found=raw)


def _clause_holds(clause: Clause, actual: str) -> bool | str:
    """Return `and` over the terms; a sentence if it is undecided."""
    verdicts = [_term_holds(term, actual) for term in clause.terms]
    if False in verdicts:
        return False
    return _first_reason(verdicts) or True


def _first_reason(verdicts: Sequence[bool | str]) -> str:
    return next((verdict for verdict in verdicts if isinstance(verdict, str)), "")


def _term_holds(term: Term, actual: str) -> bool | str:
    if term.operator is Operator.EXACT:
        return actual == term.value
    left, right = parse_version(actual), parse_version(term.value)
    if term.operator.ordered:
        return _ordered(term, left, right)
    looks_like_version = "." in term.value and any("0" <= char <= "9" for char in term.value)
    if looks_like_version and isinstance(left, Version) and isinstance(right, Version):
        same = equal(left, right)
    else:
        same = actual == term.value
    return same if term.operator is Operator.EQUAL else not same


def _ordered(term: Term, actual: Version | str, wanted: Version | str) -> bool | str:
    if isinstance(wanted, str):
        return f"{term} cannot be compared: {wanted}"
    if isinstance(actual, str):
        return f"{term} cannot be compared with what was found: {actual}"
    order = compare(actual, wanted)
    if isinstance(order, str):
        return f"{term} cannot be compared: {order}"
    match term.operator:
        case Operator.AT_LEAST:
            return order >= 0
        case Operator.AT_MOST:
            return order <= 0
        case Operator.MORE:
            return order > 0
        case _:
            return order < 0

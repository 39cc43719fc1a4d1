# SPDX-License-Identifier: Apache-2.0
"""Evaluates constraints on readings: satisfied, violated or unknown, and never an exception.

`and` and `or` are three-valued: a violated term decides a clause, a satisfied clause decides an expression, and what
remains undecided is unknown.
"""

from __future__ import annotations

from evidencerun.constraint.expression import Clause, Expression, Operator, Term
from evidencerun.constraint.label_rule import LabelRule, evaluate_label_rule
from evidencerun.constraint.outcome import Outcome, Satisfied, Unknown, UnknownKind, Violated
from evidencerun.constraint.reading import Absent, Conflicting, GpuNodeLabels, Reading, Value
from evidencerun.constraint.version import Undecided, Version, compare, equal, parse_version

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
    for verdict in verdicts:
        if isinstance(verdict, Undecided):
            return Unknown(kind=UnknownKind.UNCOMPARABLE, reason=verdict.reason)
    return Violated(expected=str(expression), found=raw)


def _clause_holds(clause: Clause, actual: str) -> bool | Undecided:
    """Return `and` over the terms."""
    verdicts = [_term_holds(term, actual) for term in clause.terms]
    if False in verdicts:
        return False
    return next((verdict for verdict in verdicts if isinstance(verdict, Undecided)), True)


def _term_holds(term: Term, actual: str) -> bool | Undecided:
    if term.operator is Operator.EXACT:
        return actual == term.value
    left, right = parse_version(actual), parse_version(term.value)
    if term.operator.ordered:
        return _ordered(term, left, right)
    if "." in term.value and isinstance(left, Version) and isinstance(right, Version):
        same = equal(left, right)
    else:
        same = actual == term.value
    return same if term.operator is Operator.EQUAL else not same


def _ordered(term: Term, actual: Version | Undecided, wanted: Version | Undecided) -> bool | Undecided:
    if isinstance(wanted, Undecided):
        return Undecided(f"{term} cannot be compared: {wanted.reason}")
    if isinstance(actual, Undecided):
        return Undecided(f"{term} cannot be compared with what was found: {actual.reason}")
    order = compare(actual, wanted)
    if isinstance(order, Undecided):
        return Undecided(f"{term} cannot be compared: {order.reason}")
    match term.operator:
        case Operator.AT_LEAST:
            return order >= 0
        case Operator.AT_MOST:
            return order <= 0
        case Operator.MORE:
            return order > 0
        case _:
            return order < 0

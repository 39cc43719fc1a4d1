# SPDX-License-Identifier: Apache-2.0
"""The readiness gate: the recipe's constraints on the snapshot, before anything runs (docs/spec §6).

A constraint of severity error blocks if it is violated and if nothing can be said about it; a warning never blocks.
Every constraint is listed, whatever it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evidencerun.constraint import Constraint, Satisfied, Severity, Unknown, Violated
from evidencerun.errors import InputError
from evidencerun.recipe import Recipe
from evidencerun.snapshot.document import Snapshot


class ConstraintOutcome(StrEnum):
    """What a constraint says about the snapshot."""

    SATISFIED = "satisfied"
    VIOLATED = "violated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintResult:
    """One constraint of the gate: its path, its expression, what was found, and the outcome.

    `found` is "" if nothing was; `reason` is set if the outcome is unknown.
    """

    name: str
    expected: str
    found: str
    outcome: ConstraintOutcome
    severity: Severity
    reason: str = ""

    @property
    def blocks(self) -> bool:
        """Whether the run must not go on because of it."""
        return self.severity is Severity.ERROR and self.outcome is not ConstraintOutcome.SATISFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The answer of the gate. A recipe without constraints is ready, with an empty list."""

    ready: bool
    constraints: tuple[ConstraintResult, ...]


def evaluate_readiness(recipe: Recipe, snapshot: Snapshot) -> Readiness:
    """Evaluate the recipe's top-level constraints and those of its readiness phase; never raises."""
    results = tuple(_evaluate(constraint, snapshot) for constraint in recipe.constraints)
    return Readiness(ready=not any(result.blocks for result in results), constraints=results)


def _evaluate(constraint: Constraint, snapshot: Snapshot) -> ConstraintResult:
    try:
        outcome = constraint.evaluate(snapshot.reading(constraint.name))
    except InputError as fault:
        return _result(constraint, ConstraintOutcome.UNKNOWN, reason=str(fault))
    match outcome:
        case Satisfied(found=found):
            return _result(constraint, ConstraintOutcome.SATISFIED, found=found)
        case Violated(found=found):
            return _result(constraint, ConstraintOutcome.VIOLATED, found=found)
        case Unknown(reason=reason):
            return _result(constraint, ConstraintOutcome.UNKNOWN, reason=reason)


def _result(
    constraint: Constraint, outcome: ConstraintOutcome, *, found: str = "", reason: str = ""
) -> ConstraintResult:
    return ConstraintResult(
        name=constraint.name,
        expected=constraint.value,
        found=found,
        outcome=outcome,
        severity=constraint.severity,
        reason=reason,
    )

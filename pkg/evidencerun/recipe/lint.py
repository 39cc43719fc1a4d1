# SPDX-License-Identifier: Apache-2.0
"""Finds what a recipe says without effect: constraints that nobody reads, names that do not exist, checks that no
catalog has.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from evidencerun.constraint import Constraint, Expression, Operator, SnapshotPath, Term, UnknownPath, ValidatorInput
from evidencerun.constraint.version import Undecided, parse_version
from evidencerun.recipe.criteria_values import KNOWN
from evidencerun.recipe.known_checks import KNOWN_CHECKS
from evidencerun.recipe.model import ANY, PhasePlan, Recipe

_MISTYPED = re.compile(r"=(?P<sign>[<>])\s*(?P<rest>\S.*)")
GATE = "constraints"
"""Field path of the readiness gate's constraints."""


class Level(StrEnum):
    """`error`: the recipe does not do what it says. `note`: worth knowing."""

    ERROR = "error"
    NOTE = "note"


class Rule(StrEnum):
    """The rules, by stable name."""

    INERT_CONSTRAINT = "inert-constraint"
    UNKNOWN_PATH = "unknown-path"
    UNFILLED_PATH = "unfilled-path"
    UNCOMPARABLE = "uncomparable"
    MISTYPED_OPERATOR = "mistyped-operator"
    IGNORED_SUFFIX = "ignored-suffix"
    COARSE_VERSION = "coarse-version"
    REPEATED_CONSTRAINT = "repeated-constraint"
    UNKNOWN_CHECK = "unknown-check"
    NO_CHECKS = "no-checks"
    UNREAD_FIELD = "unread-field"
    UNKNOWN_FIELD = "unknown-field"
    UNKNOWN_VALUE = "unknown-value"
    UNPINNED_COMPONENT = "unpinned-component"
    UNKNOWN_COMPONENT = "unknown-component"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding. `where` is a field path; `suggestion` is "" if there is none."""

    rule: Rule
    level: Level
    where: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        tail = f"; {self.suggestion}" if self.suggestion else ""
        return f"{self.where}: {self.level}: {self.message}{tail} [{self.rule}]"


def lint(recipe: Recipe, *, checks: Mapping[str, str] = KNOWN_CHECKS) -> tuple[Finding, ...]:
    """Return the findings in the order of the recipe. `checks` maps the known checks to their phase."""
    return tuple(_findings(recipe, checks))


def _findings(recipe: Recipe, checks: Mapping[str, str]) -> Iterator[Finding]:
    for field in recipe.unknown_fields:
        yield _note(Rule.UNKNOWN_FIELD, field.path, f"no known format has this field ({field.where})")
    yield from _criteria(recipe)
    for constraint in recipe.constraints:
        yield from _in_gate(constraint)
    yield from _repeated(GATE, recipe.constraints)
    yield from _components(recipe)
    yield from _named_components(recipe)
    for phase, plan in recipe.phases.items():
        yield from _in_phase(phase, plan, checks)
    if not any(plan.checks for plan in recipe.phases.values()):
        yield _note(Rule.NO_CHECKS, "validation", "no phase declares a check, so a run proves nothing beyond the match")


def _criteria(recipe: Recipe) -> Iterator[Finding]:
    for dimension, known in KNOWN.items():
        value = getattr(recipe.criteria, dimension)
        if value in ("", ANY) or value in known:
            continue
        close = difflib.get_close_matches(value, sorted(known), n=1, cutoff=0.6)
        hint = f"did you mean {close[0]}?" if close else ""
        yield _note(Rule.UNKNOWN_VALUE, f"criteria.{dimension}", f"{value} is no value of AICR's own recipes", hint)


def _in_gate(constraint: Constraint) -> Iterator[Finding]:
    """Judge a constraint that is evaluated on the snapshot."""
    where = f"{GATE}[{constraint.name}]"
    match constraint.path:
        case UnknownPath(suggestion=suggestion):
            hint = f"did you mean {suggestion}?" if suggestion else ""
            message = "no reading has this name, so the cluster can never be found ready"
            yield _error(Rule.UNKNOWN_PATH, where, message, hint)
        case ValidatorInput(phase=phase):
            message = f"this is an input of checks, not a reading; it belongs to validation.{phase}.constraints"
            yield _error(Rule.UNKNOWN_PATH, where, message)
        case SnapshotPath(filled=False):
            yield _error(Rule.UNFILLED_PATH, where, "no collector fills this reading, so it will be unknown")
    yield from _versions(where, constraint)


def _in_phase(phase: str, plan: PhasePlan, checks: Mapping[str, str]) -> Iterator[Finding]:
    base = f"validation.{phase}"
    for name in plan.unread_fields:
        yield _note(Rule.UNREAD_FIELD, f"{base}.{name}", "nothing reads this field")
    if phase == "readiness":
        if plan.checks:
            yield _error(Rule.UNKNOWN_CHECK, f"{base}.checks", "readiness runs no checks")
        return
    for check in plan.checks:
        yield from _check(f"{base}.checks[{check}]", phase, check, checks)
    for constraint in plan.constraints:
        yield from _phase_constraint(f"{base}.constraints[{constraint.name}]", phase, plan, constraint)
    yield from _repeated(f"{base}.constraints", plan.constraints)


def _check(where: str, phase: str, check: str, checks: Mapping[str, str]) -> Iterator[Finding]:
    known = checks.get(check)
    if known is None:
        close = difflib.get_close_matches(check, sorted(checks), n=1, cutoff=0.6)
        hint = f"did you mean {close[0]}?" if close else ""
        yield _error(Rule.UNKNOWN_CHECK, where, "no known catalog has this check; it is recorded as other", hint)
    elif known != phase:
        yield _error(Rule.UNKNOWN_CHECK, where, f"the catalog has this check in the phase {known}")


def _phase_constraint(where: str, phase: str, plan: PhasePlan, constraint: Constraint) -> Iterator[Finding]:
    """Judge a constraint that only a check of the same phase could read."""
    match constraint.path:
        case ValidatorInput(phase=wanted, checks=readers) if wanted == phase and set(readers) & set(plan.checks):
            if not constraint.bare:
                yield from _versions(where, constraint)
        case ValidatorInput(phase=wanted, checks=readers):
            hint = f"declare {' or '.join(readers)} in validation.{wanted}.checks"
            yield _error(Rule.INERT_CONSTRAINT, where, "no declared check of this phase reads it", hint)
        case UnknownPath(suggestion=suggestion):
            hint = f"did you mean {suggestion}?" if suggestion else ""
            yield _error(Rule.INERT_CONSTRAINT, where, "no check reads a constraint of this name", hint)
        case _:
            hint = "readings of the snapshot belong to the top-level constraints"
            yield _error(Rule.INERT_CONSTRAINT, where, "no check reads it", hint)


def _versions(where: str, constraint: Constraint) -> Iterator[Finding]:
    rule = constraint.rule()
    if not isinstance(rule, Expression):
        return
    for term in rule.terms:
        if term.operator.ordered:
            yield from _ordered_term(where, term)
        elif term.value[0] in "><=~":
            # The parser has taken `=` for the operator of `=> 1.30`, and the rest for a text.
            found = _MISTYPED.fullmatch(constraint.value.strip())
            hint = f"did you mean {found['sign']}= {found['rest']}?" if found else ""
            yield _note(Rule.MISTYPED_OPERATOR, where, f"{constraint.value} reads as text", hint)


def _ordered_term(where: str, term: Term) -> Iterator[Finding]:
    version = parse_version(term.value)
    if isinstance(version, Undecided):
        yield _error(Rule.UNCOMPARABLE, where, f"{term} can never be decided: {version.reason}")
        return
    if version.ignored:
        yield _note(Rule.IGNORED_SUFFIX, where, f"{version.ignored} in {term} is not compared")
    if len(version.numbers) > 1 and len(version.numbers) < 3 and term.operator in (Operator.AT_MOST, Operator.MORE):
        effect = "holds for" if term.operator is Operator.AT_MOST else "does not hold for"
        yield _note(Rule.COARSE_VERSION, where, f"{term} {effect} {'.'.join(map(str, version.numbers))}.9")


def _repeated(where: str, constraints: tuple[Constraint, ...]) -> Iterator[Finding]:
    names = [constraint.name for constraint in constraints]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield _note(Rule.REPEATED_CONSTRAINT, f"{where}[{name}]", "the constraint is given more than once")


def _components(recipe: Recipe) -> Iterator[Finding]:
    for component in recipe.components:
        pinned = component.version or component.tag or (component.manifest_files and not component.chart)
        if component.enabled and not pinned:
            where = f"componentRefs[{component.name}]"
            yield _note(Rule.UNPINNED_COMPONENT, where, "no version is pinned, so what is deployed can change")


def _named_components(recipe: Recipe) -> Iterator[Finding]:
    """Judge the names by which components are referred to."""
    names = {component.name for component in recipe.components}
    for name in dict.fromkeys(recipe.deployment_order):
        if name not in names:
            yield _note(Rule.UNKNOWN_COMPONENT, f"deploymentOrder[{name}]", "the recipe has no such component")
    for component in recipe.components:
        for name in component.dependencies:
            if name not in names:
                where = f"componentRefs[{component.name}].dependencyRefs[{name}]"
                yield _note(Rule.UNKNOWN_COMPONENT, where, "the recipe has no such component")


def _error(rule: Rule, where: str, message: str, suggestion: str = "") -> Finding:
    return Finding(rule=rule, level=Level.ERROR, where=where, message=message, suggestion=suggestion)


def _note(rule: Rule, where: str, message: str, suggestion: str = "") -> Finding:
    return Finding(rule=rule, level=Level.NOTE, where=where, message=message, suggestion=suggestion)

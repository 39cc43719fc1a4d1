# SPDX-License-Identifier: Apache-2.0
"""Reads constraints and the phases of `validation`."""

from __future__ import annotations

import re
from typing import Final

from evidencerun import limits
from evidencerun.canonical import Node
from evidencerun.constraint import Constraint, Severity
from evidencerun.errors import InputError
from evidencerun.recipe.field_reader import Fields, refuse
from evidencerun.recipe.model import PHASES, PhasePlan

_CONSTRAINT_FIELDS: Final = frozenset(("name", "value", "severity", "remediation", "unit"))
_UNREAD_FIELDS: Final = ("timeout", "nodeSelection", "infrastructure")
_PHASE_FIELDS: Final = frozenset(("constraints", "checks", *_UNREAD_FIELDS))
_CHECK_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


def read_constraints(fields: Fields, unknown: list[tuple[str, Node]]) -> tuple[Constraint, ...]:
    """Return the member `constraints` of a recipe or of a phase.

    Raises:
        InputError: a member has the wrong shape, or a value is no expression (with the line of the constraint).

    """
    return tuple(_constraint(path, node, unknown) for path, node in fields.items("constraints"))


def read_phases(top: Fields, unknown: list[tuple[str, Node]]) -> dict[str, PhasePlan]:
    """Return the phases that `validation` declares, by name.

    Raises:
        InputError: a member has the wrong shape, or a check is named twice or by what is no DNS label.

    """
    validation = top.member("validation")
    if validation is None:
        return {}
    fields = Fields(validation, "validation", frozenset(PHASES), unknown)
    phases = {}
    for name in PHASES:
        node = fields.member(name)
        if node is not None:
            phases[name] = _phase(Fields(node, fields.at(name), _PHASE_FIELDS, unknown), unknown)
    declared = sum(len(phase.checks) for phase in phases.values())
    if declared > limits.CTRF_TESTS_MAX:
        why = f"at most {limits.CTRF_TESTS_MAX} can be recorded"
        refuse("E1206", f"validation declares {declared} checks", validation, why=why)
    return phases


def _phase(fields: Fields, unknown: list[tuple[str, Node]]) -> PhasePlan:
    checks = fields.texts("checks")
    seen: set[str] = set()
    for (path, node), name in zip(fields.items("checks"), checks, strict=True):
        if not _CHECK_NAME.fullmatch(name):
            refuse(
                "E1206", f"{path} is {name[:60]!a}", node, why="a check's name is a DNS label of at most 63 characters"
            )
        if name in seen:
            refuse(
                "E1206", f"{path} stands in the list twice", node, why=f"the check is {name}", fix="keep one of them"
            )
        seen.add(name)
    unread = tuple(name for name in _UNREAD_FIELDS if fields.member(name) is not None)
    return PhasePlan(checks=checks, constraints=read_constraints(fields, unknown), unread_fields=unread)


def _constraint(path: str, node: Node, unknown: list[tuple[str, Node]]) -> Constraint:
    fields = Fields(node, path, _CONSTRAINT_FIELDS, unknown)
    constraint = Constraint(
        name=fields.text("name", required=True),
        value=fields.text("value", required=True),
        severity=_severity(fields),
        unit=fields.text("unit"),
        remediation=fields.text("remediation"),
    )
    if not constraint.bare:
        _check_rule(constraint, fields)
    return constraint


def _check_rule(constraint: Constraint, fields: Fields) -> None:
    try:
        constraint.rule()
    except InputError as fault:
        value = fields.member("value") or fields.node
        why = "; ".join(filter(None, (fault.where, fault.why)))
        what = f"{fields.at('value')}: {fault.what}"
        raise InputError(fault.code, what, where=str(value.mark), why=why, fix=fault.fix) from fault


def _severity(fields: Fields) -> Severity:
    text = fields.text("severity")
    try:
        return Severity(text) if text else Severity.ERROR
    except ValueError:
        node = fields.member("severity") or fields.node
        refuse("E1207", f"{fields.at('severity')} is {text[:40]!a}", node, why="error or warning is expected")

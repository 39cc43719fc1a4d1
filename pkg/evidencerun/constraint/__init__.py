# SPDX-License-Identifier: Apache-2.0
"""Constraints: their language, their names, and what they say about a reading."""

from evidencerun.constraint.evaluate import Rule, evaluate
from evidencerun.constraint.expression import Clause, Expression, Operator, Term
from evidencerun.constraint.label_rule import LabelRule, parse_label_rule
from evidencerun.constraint.model import Constraint, Severity
from evidencerun.constraint.outcome import Outcome, Satisfied, Unknown, UnknownKind, Violated
from evidencerun.constraint.parser import parse
from evidencerun.constraint.paths import (
    ByField,
    ByIndex,
    ConstraintPath,
    Selector,
    SnapshotPath,
    UnknownPath,
    ValidatorInput,
    parse_path,
)
from evidencerun.constraint.reading import Absent, Conflicting, GpuNodeLabels, Reading, Value

__all__ = [
    "Absent",
    "ByField",
    "ByIndex",
    "Clause",
    "Conflicting",
    "Constraint",
    "ConstraintPath",
    "Expression",
    "GpuNodeLabels",
    "LabelRule",
    "Operator",
    "Outcome",
    "Reading",
    "Rule",
    "Satisfied",
    "Selector",
    "Severity",
    "SnapshotPath",
    "Term",
    "Unknown",
    "UnknownKind",
    "UnknownPath",
    "ValidatorInput",
    "Value",
    "Violated",
    "evaluate",
    "parse",
    "parse_label_rule",
    "parse_path",
]

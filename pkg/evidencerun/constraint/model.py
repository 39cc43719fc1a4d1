# SPDX-License-Identifier: Apache-2.0
"""A constraint as recipes carry it: a name, an expression, a severity."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evidencerun.constraint.evaluate import Rule, evaluate
from evidencerun.constraint.label_rule import parse_label_rule
from evidencerun.constraint.outcome import Outcome
from evidencerun.constraint.parser import parse
from evidencerun.constraint.paths import ConstraintPath, SnapshotPath, ValidatorInput, parse_path
from evidencerun.constraint.reading import Reading


class Severity(StrEnum):
    """What a constraint that does not hold does: an error blocks, a warning is reported."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One constraint. `name` is the path or input name, `value` the expression as it was written."""

    name: str
    value: str
    severity: Severity = Severity.ERROR
    unit: str = ""
    remediation: str = ""

    @property
    def path(self) -> ConstraintPath:
        """What the name stands for."""
        return parse_path(self.name)

    @property
    def bare(self) -> bool:
        """Whether the value is handed to a check as it is and is no expression."""
        path = self.path
        return isinstance(path, ValidatorInput) and path.bare

    def rule(self) -> Rule:
        """Return the parsed value.

        Raises:
            InputError: it is no expression, or no label rule where the path wants one.

        """
        path = self.path
        if isinstance(path, SnapshotPath) and path.gpu_node_labels:
            return parse_label_rule(self.value)
        return parse(self.value)

    def evaluate(self, actual: Reading) -> Outcome:
        """Return the outcome on a reading. Raises as `rule`, which a constraint of a loaded recipe never does."""
        return evaluate(self.rule(), actual)

# SPDX-License-Identifier: Apache-2.0
"""What of a plan follows from its own parts: which checks are planned, with which entries, and which are excluded.

The store asks before it freezes a plan, the verifier asks again of the plan in run.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from evidencerun.recipe import Recipe
from evidencerun.validation.plan import PlannedCheck
from evidencerun.validation.spec import CheckSelection, Phase, PolicySpec


class Asked(Protocol):
    """What the user asked for, as far as it decides about checks."""

    @property
    def phases(self) -> Sequence[Phase]:
        """The phases to run; none named means all."""

    @property
    def fingerprint_only(self) -> bool:
        """Whether no check is to run."""

    @property
    def checks(self) -> CheckSelection:
        """The narrowing of the checks."""


class PlanLike(Protocol):
    """A plan, or its record in a bundle."""

    @property
    def spec(self) -> Asked:
        """What the user asked for."""

    @property
    def policy_spec(self) -> PolicySpec:
        """What the platform team allows."""

    @property
    def checks(self) -> Sequence[PlannedCheck]:
        """The planned checks."""


def check_faults(plan: PlanLike, recipe: Recipe) -> Iterable[str]:
    """Return every way in which the planned checks are not those that recipe, policy and run amount to."""
    yield from _declared(plan, recipe)
    yield from _entries(plan)


def _declared(plan: PlanLike, recipe: Recipe) -> Iterable[str]:
    """Every check that the recipe declares in an asked phase is planned, whether it may run or not, and no other."""
    phases = plan.spec.phases or list(Phase)
    declared = {(name, phase) for phase in phases for name in recipe.phase(phase).checks}
    planned = {(check.name, check.phase) for check in plan.checks}
    if plan.spec.fingerprint_only and not planned:
        return
    for name, phase in sorted(declared - planned):
        yield f"checks: {name} of phase {phase} is declared and not planned"
    for name, phase in sorted(planned - declared):
        yield f"checks: {name} of phase {phase} is planned and not declared"


def _entries(plan: PlanLike) -> Iterable[str]:
    """Each entry must be the policy's own: images and rights come from nowhere else."""
    catalog = {(entry.name, entry.phase): entry for entry in plan.policy_spec.catalog}
    seen: set[tuple[str, Phase]] = set()
    for check in plan.checks:
        key = (check.name, check.phase)
        if key in seen:
            yield f"checks: {check.name} stands twice in phase {check.phase}"
        seen.add(key)
        if check.entry != catalog.get(key):
            yield f"checks: the entry of {check.name} in phase {check.phase} is not the policy's"
        if check.excluded != excluded(check, plan.spec):
            yield f"checks: {check.name} is excluded={check.excluded} against spec.checks"


def excluded(check: PlannedCheck, spec: Asked) -> bool:
    """Return whether `spec.checks` narrows this check away."""
    only, skip = spec.checks.only, spec.checks.skip
    return check.name in skip or bool(only and check.name not in only)

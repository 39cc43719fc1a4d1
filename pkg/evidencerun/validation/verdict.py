# SPDX-License-Identifier: Apache-2.0
"""Counts checks and decides the verdict of a run: the first that applies, in the order of `Verdict` (docs/spec §6).

Nothing passes by doing nothing: no declared check, none that passed, one that is neither passed, failed nor an
optional skip, narrowing, low coverage and an unproven match all end as Incomplete.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from evidencerun.fingerprint import Overall
from evidencerun.recipe import Recipe
from evidencerun.validation.outcome import Reason
from evidencerun.validation.plan import PlannedCheck
from evidencerun.validation.spec import Phase
from evidencerun.validation.storeapi import AttemptView, CheckCounts, CheckStatus, SealReason, Verdict


class Planned(Protocol):
    """What has planned checks: a plan, or its record in a bundle."""

    @property
    def checks(self) -> Sequence[PlannedCheck]:
        """The declared checks in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRecord:
    """What became of one declared check; `executed` says whether a container of it really started."""

    name: str
    phase: str
    status: CheckStatus
    reason: str = ""
    mandatory: bool = False
    executed: bool = False
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictInputs:
    """Everything that a verdict stands on.

    `overall` and `ready` are None as long as the run was never evaluated. `narrowed` names the checks that the recipe
    declares and the run leaves out; `empty` says what of the recipe's validation no check can stand for.
    """

    seal_reason: SealReason
    checks: tuple[CheckRecord, ...]
    overall: Overall | None
    ready: bool | None
    coverage_met: bool
    narrowed: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    fingerprint_only: bool = False
    rejected: bool = False


def decide_verdict(inputs: VerdictInputs) -> Verdict:
    """Return the first verdict that applies."""
    ended = _before_checks(inputs)
    if ended is not None:
        return ended
    if any(check.status is CheckStatus.FAILED for check in inputs.checks):
        return Verdict.CHECKS_FAILED
    if incomplete_reasons(inputs):
        return Verdict.INCOMPLETE
    return Verdict.FINGERPRINT_ONLY if inputs.fingerprint_only else Verdict.PASSED


def _before_checks(inputs: VerdictInputs) -> Verdict | None:
    if inputs.rejected:
        return Verdict.REJECTED
    if inputs.seal_reason is SealReason.CANCELLED:
        return Verdict.CANCELLED
    if inputs.seal_reason is SealReason.ERROR:
        return Verdict.ERROR
    if inputs.ready is False or inputs.seal_reason is SealReason.NOT_READY:
        return Verdict.NOT_READY
    if inputs.overall is Overall.MISMATCHED:
        return Verdict.MISMATCHED
    return None


def incomplete_reasons(inputs: VerdictInputs) -> tuple[str, ...]:
    """Return every reason why a run is incomplete, for people; empty if it is not."""
    reasons = list(_run_reasons(inputs))
    if not inputs.fingerprint_only:
        reasons += _check_reasons(inputs)
    return tuple(reasons)


def _run_reasons(inputs: VerdictInputs) -> Iterable[str]:
    if inputs.seal_reason is not SealReason.FINISHED:
        yield f"the run did not come to its end: {inputs.seal_reason}"
    if inputs.overall is None or inputs.ready is None:
        yield "the run was never evaluated"
    if inputs.overall is Overall.UNPROVEN:
        yield "the match with the recipe is unproven"
    if not inputs.coverage_met:
        yield "too few target nodes reported"


def _check_reasons(inputs: VerdictInputs) -> Iterable[str]:
    if inputs.narrowed:
        yield f"the run was narrowed to less than the recipe declares: without {', '.join(inputs.narrowed)}"
    yield from inputs.empty
    if not inputs.checks:
        yield "no check is declared"
    elif not any(check.status is CheckStatus.PASSED for check in inputs.checks):
        yield "no check passed"
    for check in inputs.checks:
        if check.status in (CheckStatus.OTHER, CheckStatus.PENDING):
            yield f"{check.name}: {check.status}({check.reason or 'pending'})"
        elif check.status is CheckStatus.SKIPPED and check.mandatory:
            yield f"{check.name}: mandatory and skipped"
        elif check.status is CheckStatus.SKIPPED and check.reason == Reason.EXCLUDED:
            yield f"{check.name}: excluded by the run"


def coverage_met(*, reported: int, targeted: int, minimum_percent: int) -> bool:
    """Return whether enough target nodes reported; never without a target or a report."""
    return reported > 0 and targeted > 0 and reported * 100 >= minimum_percent * targeted


def count_checks(checks: Sequence[CheckRecord]) -> CheckCounts:
    """Return the denominators; passed, failed, skipped and other add up to declared."""
    statuses = [check.status for check in checks]
    counted = {status: statuses.count(status) for status in CheckStatus}
    return CheckCounts(
        declared=len(checks),
        executed=sum(check.executed for check in checks),
        passed=counted[CheckStatus.PASSED],
        failed=counted[CheckStatus.FAILED],
        skipped=counted[CheckStatus.SKIPPED],
        other=counted[CheckStatus.OTHER] + counted[CheckStatus.PENDING],
        attempts=sum(check.attempts for check in checks),
    )


def derive_checks(plan: Planned, attempts: Sequence[AttemptView], *, ended: bool = True) -> tuple[CheckRecord, ...]:
    """Return one record per planned check, in the plan's order: its last attempt, or why there is none.

    Before the run has `ended`, a check without an attempt is pending; after it, it is other(not-run).
    """
    return tuple(
        _derived(
            check,
            sorted(
                (each for each in attempts if (each.check, each.phase) == (check.name, check.phase)),
                key=lambda each: each.attempt,
            ),
            ended=ended,
        )
        for check in plan.checks
    )


def _derived(check: PlannedCheck, attempts: Sequence[AttemptView], *, ended: bool) -> CheckRecord:
    status, reason = _without_attempt(check, ended=ended)
    if attempts:
        last = attempts[-1]
        status, reason = last.status, last.reason
        if ended and status is CheckStatus.PENDING:
            status, reason = CheckStatus.OTHER, Reason.NO_ENDING.value
    return CheckRecord(
        name=check.name,
        phase=check.phase,
        status=status,
        reason=reason,
        mandatory=check.entry is not None and check.entry.mandatory,
        executed=any(each.started for each in attempts),
        attempts=len(attempts),
    )


def _without_attempt(check: PlannedCheck, *, ended: bool) -> tuple[CheckStatus, str]:
    if check.excluded:
        return CheckStatus.SKIPPED, Reason.EXCLUDED.value
    if check.entry is None:
        return CheckStatus.OTHER, Reason.NOT_IN_CATALOG.value
    return (CheckStatus.OTHER, Reason.NOT_RUN.value) if ended else (CheckStatus.PENDING, "")


def left_out(plan: Planned, recipe: Recipe) -> tuple[str, ...]:
    """Return what the recipe declares and the run does not look at, as phase/check: excluded, or not planned at all."""
    planned = {(check.phase.value, check.name) for check in plan.checks if not check.excluded}
    excluded = {(check.phase.value, check.name) for check in plan.checks if check.excluded}
    declared = {(phase.value, name) for phase in Phase for name in recipe.phase(phase).checks}
    return tuple(f"{phase}/{name}" for phase, name in sorted((declared | excluded) - planned))


def empty_phases(recipe: Recipe) -> tuple[str, ...]:
    """Return why parts of the recipe's validation pass unseen, whatever the run does: no check stands for them."""
    found = [
        f"phase {phase} of the recipe declares no check"
        for phase in Phase
        if phase in recipe.phases and not recipe.phase(phase).checks
    ]
    if recipe.phase("readiness").checks:
        found.append("phase readiness of the recipe declares checks, and nothing runs checks of that phase")
    strange = [field.path.partition(".")[2] for field in recipe.unknown_fields if field.path.startswith("validation.")]
    found += [f"phase {name[:60]} of the recipe is not known" for name in strange if "." not in name]
    return tuple(found)

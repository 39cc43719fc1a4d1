# SPDX-License-Identifier: Apache-2.0
"""Which checks did not simply pass, and why: what a person sees before the bundle is there; pure."""

from __future__ import annotations

from typing import Final

from evidencerun import limits
from evidencerun.validation.plan import Plan, PlannedCheck
from evidencerun.validation.storeapi import AttemptState, AttemptView, CheckStatus, RunView
from evidencerun_operator.stages import attempts_of
from evidencerun_operator.status import CheckSample

_BAD: Final = frozenset({CheckStatus.FAILED, CheckStatus.OTHER, CheckStatus.PENDING})
_REASON_MAX: Final = 1024


def check_samples(plan: Plan, view: RunView) -> tuple[CheckSample, ...]:
    """Return at most 20 checks: those with an ended attempt that failed or came to nothing, then those skipped.

    Each in the plan's order. A check that passed in a later attempt is among them: its earlier attempt is part of the
    evidence.
    """
    found = ((check.name, _outcome(view, check)) for check in plan.checks)
    rows = [CheckSample(name=name, outcome=outcome[0], message=outcome[1]) for name, outcome in found if outcome[0]]
    rows.sort(key=lambda row: row.outcome.startswith(CheckStatus.SKIPPED))
    return tuple(rows[: limits.STATUS_SAMPLE_MAX])


def _outcome(view: RunView, check: PlannedCheck) -> tuple[str, str]:
    """Return such as `other(oom-killed)` with the store's sentence; empty texts if there is nothing to tell."""
    if check.excluded:
        return "skipped(excluded)", "spec.checks leaves it out"
    if check.entry is None:
        return "other(not-in-catalog)", "the recipe declares it, the policy's catalog lacks it"
    ended = [attempt for attempt in attempts_of(view, check) if attempt.state is AttemptState.ENDED]
    bad = [attempt for attempt in ended if attempt.status in _BAD]
    if not bad:
        skipped = bool(ended) and ended[-1].status is CheckStatus.SKIPPED
        return (_word(ended[-1]), ended[-1].message[:_REASON_MAX]) if skipped else ("", "")
    last = ended[-1]
    word = _word(last)
    if last.attempt != bad[-1].attempt:
        word += f" after {', '.join(_word(attempt) for attempt in bad)}"
    elif len(ended) > 1:
        word += f", attempt {last.attempt}"
    return word[:253], bad[-1].message[:_REASON_MAX]


def _word(attempt: AttemptView) -> str:
    if attempt.status is CheckStatus.SKIPPED:
        return str(attempt.status)  # why is in its own message
    return f"{attempt.status}({attempt.reason})" if attempt.reason else str(attempt.status)

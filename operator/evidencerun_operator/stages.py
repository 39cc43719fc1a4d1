# SPDX-License-Identifier: Apache-2.0
"""In which state a run is: derived from status, the store's view and the clock, never from the stored phase; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from evidencerun.validation.plan import Plan, PlannedCheck
from evidencerun.validation.storeapi import (
    AttemptState,
    AttemptView,
    CheckStatus,
    RunView,
    SealReason,
    SealState,
    Verdict,
)
from evidencerun_operator.conditions import WAITING, find
from evidencerun_operator.run_object import Run
from evidencerun_operator.status import Condition, ConditionStatus, ConditionType, RunStatus
from evidencerun_operator.timestamps import from_text
from evidencerun_operator.world import StoreDown, StoreLost

SEALING: Final = "Sealing"
SIGNING_FAILS: Final = "SigningFails"
STORE_UNAVAILABLE: Final = "StoreUnavailable"
_SEAL_OPEN: Final = frozenset({WAITING, SEALING, SIGNING_FAILS, STORE_UNAVAILABLE})
DELIVERING: Final = "Delivering"
DELIVERY_BLOCKED: Final = "DeliveryBlocked"
_DELIVERY_OPEN: Final = frozenset({WAITING, DELIVERING, DELIVERY_BLOCKED})
CLEANING: Final = "CleaningUp"
_CLEANING_OPEN: Final = frozenset({WAITING, CLEANING})


class Stage(StrEnum):
    """What a pass has to do; finer than `RunPhase`."""

    FINISHED = "finished"
    PENDING = "pending"
    STORE_DOWN = "store-down"
    STORE_LOST = "store-lost"
    PROBING = "probing"
    CHECKING = "checking"
    STOPPING = "stopping"
    SEALING = "sealing"
    SEALED = "sealed"
    DELIVERING = "delivering"
    CLEANING = "cleaning"
    CLOSING = "closing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The stage, and for `STOPPING` why the work ends."""

    stage: Stage
    reason: SealReason = SealReason.FINISHED


def _open(status: RunStatus, kind: ConditionType, reasons: frozenset[str]) -> bool:
    condition: Condition | None = find(status.conditions, kind)
    return condition is None or (condition.status is not ConditionStatus.TRUE and condition.reason in reasons)


def standing(now: datetime, run: Run, store: RunView | StoreDown | StoreLost | None, plan: Plan | None) -> Standing:
    """Return where the run is. `store` is None only before the plan is frozen."""
    status = run.status
    if run.complete:
        return Standing(stage=Stage.FINISHED)
    if status.plan is None or store is None:
        return Standing(stage=Stage.PENDING)
    if not _open(status, ConditionType.SEALED, _SEAL_OPEN):
        return Standing(stage=_after_sealing(status))
    if isinstance(store, StoreLost):
        return Standing(stage=Stage.STORE_LOST)
    if isinstance(store, StoreDown) or plan is None:
        return Standing(stage=Stage.STORE_DOWN)
    if store.seal in (SealState.SEALED, SealState.UNSIGNED):
        return Standing(stage=Stage.SEALED)
    if store.seal in (SealState.QUEUED, SealState.FAILED):
        return Standing(stage=Stage.SEALING)
    return _working(now, run, store, plan)


def _after_sealing(status: RunStatus) -> Stage:
    if _open(status, ConditionType.DELIVERED, _DELIVERY_OPEN):
        return Stage.DELIVERING
    if _open(status, ConditionType.CLEANED_UP, _CLEANING_OPEN):
        return Stage.CLEANING
    return Stage.CLOSING


def _working(now: datetime, run: Run, view: RunView, plan: Plan) -> Standing:
    deadline = from_text(plan.deadline_time)
    late = deadline is not None and now >= deadline
    if run.cancelled:
        return Standing(stage=Stage.STOPPING, reason=SealReason.CANCELLED)
    if run.status.verdict == Verdict.ERROR:
        return Standing(stage=Stage.STOPPING, reason=SealReason.ERROR)
    if view.evaluation is None:
        return Standing(stage=Stage.STOPPING, reason=SealReason.DEADLINE) if late else Standing(stage=Stage.PROBING)
    if not view.evaluation.ready:
        return Standing(stage=Stage.STOPPING, reason=SealReason.NOT_READY)
    if not open_checks(plan, view):
        return Standing(stage=Stage.STOPPING, reason=SealReason.FINISHED)
    return Standing(stage=Stage.STOPPING, reason=SealReason.DEADLINE) if late else Standing(stage=Stage.CHECKING)


def attempts_of(view: RunView, check: PlannedCheck) -> list[AttemptView]:
    """Return the attempts of a check, oldest first."""
    mine = [a for a in view.attempts if (a.check, a.phase) == (check.name, check.phase)]
    return sorted(mine, key=lambda attempt: attempt.attempt)


def settled(view: RunView, check: PlannedCheck) -> bool:
    """Return whether a check has its recorded outcome; those that never become a Job have it from the start."""
    if check.entry is None or check.excluded:
        return True
    attempts = attempts_of(view, check)
    if not attempts or attempts[-1].state is not AttemptState.ENDED:
        return False
    good = attempts[-1].status in (CheckStatus.PASSED, CheckStatus.SKIPPED)
    return good or len(attempts) > check.entry.retries


def open_checks(plan: Plan, view: RunView) -> list[PlannedCheck]:
    """Return the checks that still need an attempt or an ending."""
    return [check for check in plan.checks if not settled(view, check)]

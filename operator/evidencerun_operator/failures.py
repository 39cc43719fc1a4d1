# SPDX-License-Identifier: Apache-2.0
"""What status says when an action failed: the decision stands, and people see what is in its way; pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from evidencerun.errors import StoreError, WorldError
from evidencerun_operator.conditions import find, put, shortened
from evidencerun_operator.status import Condition, ConditionStatus, ConditionType, RunStatus
from evidencerun_operator.timestamps import to_text

BLOCKED: Final = "Blocked"
_AWAY: Final = frozenset({"E3501", "E3502", "E3503", "E3507", "E3509"})
_SHOWN: Final = (ConditionType.PLANNED, ConditionType.NODES_REPORTED, ConditionType.CHECKS_FINISHED)


def explained(status: RunStatus, failure: WorldError, *, now: datetime) -> RunStatus:
    """Return the status with the failure in its summary and in the condition of the work that is under way."""
    text = shortened(str(failure))
    conditions = status.conditions
    if any(text in condition.message for condition in conditions):
        return status  # the decision knows of it already, and names what it hinders
    if isinstance(failure, StoreError) and failure.code in _AWAY:
        away = _condition(ConditionType.STORE_UNAVAILABLE, ConditionStatus.TRUE, "Unreachable", text)
        conditions = put(conditions, _at(away, now, status))
    else:
        for kind in _SHOWN:
            known = find(conditions, kind)
            if known is not None and known.status is ConditionStatus.UNKNOWN:
                blocked = _condition(kind, ConditionStatus.UNKNOWN, BLOCKED, text)
                conditions = put(conditions, _at(blocked, now, status))
                break
    counts = status.summary.split(";", 1)[0]
    summary = f"{counts}; {text}" if counts else text
    return status.model_copy(update={"conditions": conditions, "summary": summary[:512]})


def _condition(kind: ConditionType, status: ConditionStatus, reason: str, message: str) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message, last_transition_time="")


def _at(condition: Condition, now: datetime, status: RunStatus) -> Condition:
    return condition.model_copy(
        update={"last_transition_time": to_text(now), "observed_generation": status.observed_generation}
    )

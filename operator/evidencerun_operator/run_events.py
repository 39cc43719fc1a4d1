# SPDX-License-Identifier: Apache-2.0
"""Events of a run, about ten in its life: one per condition that is decided; pure.

Each has a name of its own, so that a repeated pass makes no second one. They are Events of events.k8s.io/v1, the API
group that the chart grants; that API refuses the members of the older core/v1 form.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from evidencerun.validation.storeapi import Verdict
from evidencerun_operator.conditions import find
from evidencerun_operator.naming import RunRef
from evidencerun_operator.status import Condition, ConditionStatus, ConditionType, RunStatus
from evidencerun_operator.timestamps import to_text

_CONTROLLER: Final = "evidencerun.dev/operator"
_QUIET: Final = frozenset({"NotReached", "NotRequested", "Waiting", "Reachable", "PersistentVolume"})
_PROGRESS: Final = frozenset({"Sealing", "Delivering", "CleaningUp"})
_RESULTS: Final = (ConditionType.SEALED, ConditionType.DELIVERED, ConditionType.CLEANED_UP)
_AS_ASKED: Final = frozenset({"NotReached", "NotRequested", "Unsigned"})
"""Reasons of a False result that the run itself or its policy wants."""
_WELL: Final = frozenset({str(Verdict.PASSED), str(Verdict.FINGERPRINT_ONLY), str(Verdict.CANCELLED)})
_NOTE_MAX: Final = 1024


def new_events(run: RunRef, before: RunStatus, after: RunStatus, *, now: datetime) -> list[dict[str, Any]]:
    """Return the events that the step from one status to the next is worth."""
    events = []
    for condition in after.conditions:
        known = find(before.conditions, ConditionType(condition.type))
        changed = known is None or (known.status, known.reason) != (condition.status, condition.reason)
        decided = condition.status is not ConditionStatus.UNKNOWN
        if changed and decided and condition.reason not in _QUIET and condition.reason not in _PROGRESS:
            events.append(_event(run, condition, now, good=_good(condition, after)))
    return events


def _good(condition: Condition, after: RunStatus) -> bool:
    if condition.type == ConditionType.COMPLETE:
        return _ended_well(after)
    negative = condition.type == ConditionType.STORE_UNAVAILABLE
    return (condition.status is ConditionStatus.TRUE) != negative


def _ended_well(after: RunStatus) -> bool:
    """Return whether a run got all that was asked of it: a bundle that could not be delivered is not that."""
    results = (find(after.conditions, kind) for kind in _RESULTS)
    return after.verdict in _WELL and all(
        one is None or one.status is ConditionStatus.TRUE or one.reason in _AS_ASKED for one in results
    )


def _event(run: RunRef, condition: Condition, now: datetime, *, good: bool) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{run.name}.{run.uid[:8]}.{condition.type}.{condition.reason}".lower()[:253],
            "namespace": run.namespace,
        },
        "regarding": {
            "apiVersion": "evidencerun.dev/v1alpha1",
            "kind": "EvidenceRun",
            "namespace": run.namespace,
            "name": run.name,
            "uid": run.uid,
        },
        "type": "Normal" if good else "Warning",
        "reason": condition.reason,
        "action": condition.type,
        "note": (condition.message or f"{condition.type} is {condition.status}")[:_NOTE_MAX],
        "eventTime": to_text(now).replace("Z", ".000000Z"),
        "reportingController": _CONTROLLER,
        "reportingInstance": "evidence-operator",
    }

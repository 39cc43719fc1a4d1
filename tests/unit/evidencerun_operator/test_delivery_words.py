# SPDX-License-Identifier: Apache-2.0
"""What people read of a delivery that cannot start: the field, one sentence, how to mend it."""

from __future__ import annotations

from typing import Any

from operator_samples import (
    UID,
    active_world,
    at,
    condition_of,
    evaluation,
    make_plan,
    planned_run,
    pod_body,
    stamp,
    view,
)

from evidencerun.validation.storeapi import BundleView
from evidencerun_operator.decide import decide
from evidencerun_operator.status import RunStatus
from evidencerun_operator.views import pod_view

SCHEDULER = '0/3 nodes are available: persistentvolumeclaim "evidence" not found. not found'
WANTED = {"deliver": {"pvc": {"claimName": "evidence"}}}


def delivering(seconds: float, pod: dict[str, Any]) -> RunStatus:
    plan = make_plan(**WANTED)
    conditions = [
        {"type": "Sealed", "status": "True", "reason": "Signed", "lastTransitionTime": stamp()},
        {"type": "Delivered", "status": "False", "reason": "Delivering", "lastTransitionTime": stamp()},
    ]
    bundle = BundleView(archive_digest="sha256:" + "a" * 64)
    store = view(evaluation=evaluation(), seal="sealed", bundle=bundle, verdict="Passed")
    run = planned_run(plan, status={"conditions": conditions}, **WANTED)
    return decide(at(seconds), run, active_world(plan, store, pods=(pod_view(pod),))).status


def waiting_pod(**more: Any) -> dict[str, Any]:
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": SCHEDULER}
    return {**pod_body("d", f"ev-{UID[:8]}-deliver", component="deliver", conditions=[unschedulable]), **more}


def test_a_missing_claim_is_named_once_by_its_field():
    words = (
        'spec.deliver.pvc: persistentvolumeclaim "evidence" not found in namespace evidence; '
        "fix: create it, or name one that exists"
    )
    early, late = delivering(1, waiting_pod()), delivering(31, waiting_pod())
    assert condition_of(early, "Delivered").message == words
    assert early.summary.endswith(f"delivery: {words}")
    assert (condition_of(late, "Delivered").reason, condition_of(late, "Delivered").message) == (
        "DeliveryFailed",
        words,
    )


def test_a_deliver_pod_that_somebody_deleted_is_said_to_be():
    pod = pod_body("d", f"ev-{UID[:8]}-deliver", component="deliver")
    pod["metadata"]["deletionTimestamp"] = stamp()
    found = condition_of(delivering(60, pod), "Delivered")
    assert (found.reason, found.message) == ("DeliveryFailed", "the pod of the deliver Job was deleted")

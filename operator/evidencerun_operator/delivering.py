# SPDX-License-Identifier: Apache-2.0
"""Delivering: one Job in the run's namespace, whose termination message says what arrived where; pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from evidencerun.kube.base import JOBS
from evidencerun.validation.duration import parse_duration
from evidencerun.validation.plan import Plan
from evidencerun.validation.spec import PolicyLimits, RunSpec
from evidencerun.validation.storeapi import BundleView, RunView
from evidencerun_operator import naming
from evidencerun_operator.actions import Decision, Ensure
from evidencerun_operator.attempt_end import DEFINITE_GRACE
from evidencerun_operator.draft import Draft
from evidencerun_operator.render import Owner, Surroundings
from evidencerun_operator.render_jobs import deliver_job
from evidencerun_operator.stages import DELIVERING, DELIVERY_BLOCKED
from evidencerun_operator.status import BundleStatus, ConditionStatus, ConditionType, DeliveredCopy, RunPhase
from evidencerun_operator.timestamps import seconds_since
from evidencerun_operator.views import PodView
from evidencerun_operator.world import ActiveWorld

_PACE: Final = 0.5
_CLAIM_GRACE: Final = 30
"""Seconds for a PersistentVolumeClaim that does not exist: it may be applied a moment after the run."""
_NO_CLAIM: Final = re.compile(r'persistentvolumeclaim "([^"]*)" not found')
_COPIES_MAX: Final = 8


def decide_delivering(draft: Draft, world: ActiveWorld) -> Decision:
    """Return the next step of Delivering. The bundle stays in the store whatever happens here."""
    plan, spec = world.plan, draft.run.spec
    wanted = spec.deliver if isinstance(spec, RunSpec) else (plan.spec.deliver if plan else None)
    sealed = draft.condition(ConditionType.SEALED)
    if wanted is None:
        return _end(draft, "NotRequested", "spec.deliver is not given; the bundle is in the store", ok=False)
    if sealed.status is not ConditionStatus.TRUE and sealed.reason != "Unsigned":
        return _end(draft, "NotSealed", "there is no signed bundle to deliver", ok=False)
    if draft.condition(ConditionType.DELIVERED).status is not ConditionStatus.FALSE:
        draft.mark(ConditionType.DELIVERED, ConditionStatus.FALSE, DELIVERING, "the deliver Job is being started")
    name = naming.deliver_name(draft.run.ref.uid)
    job, pod = world.child("Job", draft.run.ref.namespace, name), world.pod_of(name)
    if pod is not None and pod.ending is not None and pod.over:
        return _take_result(draft, pod)
    limits = plan.policy_spec.limits if plan is not None else PolicyLimits()
    waited = draft.age(ConditionType.DELIVERED)
    told = _blocked(pod, world) if pod is not None else world.troubles.get(name, "")
    blocked = _claim_fault(told, draft.run.ref.namespace) or told
    if waited >= parse_duration(limits.deliver):
        return _end(
            draft, "DeliveryTimedOut", f"not delivered within {limits.deliver}: {blocked or 'no answer'}", ok=False
        )
    if _definite(pod, told, waited, draft):
        return _end(draft, "DeliveryFailed", blocked or "the pod of the deliver Job was deleted", ok=False)
    if blocked:
        draft.mark(ConditionType.DELIVERED, ConditionStatus.FALSE, DELIVERY_BLOCKED, blocked)
    draft.say(RunPhase.DELIVERING, f"delivery: {blocked}" if blocked else "")
    actions = () if job is not None or plan is None else _start(draft, world, plan)
    return Decision(status=draft.build(), actions=actions, requeue_after=_PACE)


def _start(draft: Draft, world: ActiveWorld, plan: Plan) -> tuple[Ensure, ...]:
    view = world.store
    if plan.spec.deliver is None or not isinstance(view, RunView) or view.bundle is None:
        return ()
    bundle: BundleView = view.bundle
    run = draft.run.ref
    owner = Owner(api_version="evidencerun.dev/v1alpha1", kind="EvidenceRun", name=run.name, uid=run.uid)
    around = Surroundings(store_url=world.places.store_url, store_ca=world.store_ca)
    return (Ensure(resource=JOBS, manifest=deliver_job(plan, plan.spec.deliver, bundle, owner=owner, around=around)),)


def _blocked(pod: PodView, world: ActiveWorld) -> str:
    if pod.started_at:
        return ""
    reason, message = pod.blocked
    if reason:
        return f"{reason}: {message}" if message else reason
    return world.troubles.get(pod.name, "")


def _claim_fault(told: str, namespace: str) -> str:
    """Return what the API says of a missing claim by its field: the scheduler's own sentence repeats itself."""
    found = _NO_CLAIM.search(told)
    if found is None:
        return ""
    claim = f"persistentvolumeclaim {json.dumps(found[1])} not found"
    return f"spec.deliver.pvc: {claim} in namespace {namespace}; fix: create it, or name one that exists"


def _definite(pod: PodView | None, told: str, waited: float, draft: Draft) -> bool:
    """Return whether waiting on makes no sense: the claim does not exist, or the pod was deleted."""
    if _NO_CLAIM.search(told):
        return waited > _CLAIM_GRACE
    if pod is None or not pod.deleting_since:
        return False
    return seconds_since(pod.deleting_since, draft.now) > DEFINITE_GRACE


def _take_result(draft: Draft, pod: PodView) -> Decision:
    ending = pod.ending
    if ending is None:
        raise RuntimeError("a pod without an ending has no result")
    delivered, errors = read_result(ending.message)
    known = draft.status.bundle or BundleStatus()
    draft.set(bundle=known.model_copy(update={"delivered": tuple(delivered)}))
    if ending.exit_code == 0:
        refs = ", ".join(copy.ref for copy in delivered)
        return _end(draft, "Delivered", refs, ok=True)
    words = "; ".join(errors) or f"{ending.reason or 'the deliver Job failed'}: {ending.message[:400]}"
    return _end(draft, "DeliveryFailed", words, ok=False)


def read_result(message: str) -> tuple[list[DeliveredCopy], list[str]]:
    """Return the copies and the errors of a termination message; anything else than the agreed JSON gives none."""
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        return [], []
    if not isinstance(document, dict):
        return [], []
    copies = [
        DeliveredCopy(kind=_text(item, "kind")[:253], ref=_text(item, "ref")[:1024])
        for item in _items(document, "delivered")
    ]
    errors = []
    for item in _items(document, "errors"):
        what = f"{_field(_text(item, 'kind'))}: {_text(item, 'code')} {_text(item, 'what')}"
        errors.append(f"{what}; fix: {_text(item, 'fix')}" if _text(item, "fix") else what)
    return copies[:_COPIES_MAX], errors[:_COPIES_MAX]


def _field(kind: str) -> str:
    return f"spec.deliver.{kind}" if kind in ("pvc", "oci") else kind


def _items(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = document.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _text(item: dict[str, Any], name: str) -> str:
    return str(item.get(name) or "")


def _end(draft: Draft, reason: str, message: str, *, ok: bool) -> Decision:
    draft.mark(ConditionType.DELIVERED, ConditionStatus.TRUE if ok else ConditionStatus.FALSE, reason, message)
    draft.say(RunPhase.DELIVERING)
    return Decision(status=draft.build(), requeue_after=0)

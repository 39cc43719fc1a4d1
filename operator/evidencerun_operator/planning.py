# SPDX-License-Identifier: Apache-2.0
"""The frozen plan: made once, kept by the store, repeated in status as digests; pure."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta

from evidencerun.canonical import sha256_prefixed
from evidencerun.validation.plan import Plan, RunIdentity
from evidencerun_operator.acceptance import Accepted
from evidencerun_operator.run_object import Run
from evidencerun_operator.status import PlanStatus
from evidencerun_operator.timestamps import to_text
from evidencerun_operator.world import PendingWorld


def make_plan(run: Run, accepted: Accepted, world: PendingWorld, *, now: datetime) -> Plan:
    """Return the plan that is offered to the store; the store keeps the first one that it was offered."""
    return Plan(
        run=RunIdentity(uid=run.ref.uid, name=run.ref.name, namespace=run.ref.namespace, generation=run.generation),
        spec=accepted.spec,
        policy=accepted.policy.identity,
        policy_spec=accepted.policy.spec,
        recipe_name=accepted.recipe.name,
        recipe_digest=accepted.recipe.digest,
        recipe=_base64(accepted.recipe.source),
        cluster=world.cluster,
        target_nodes=list(accepted.targets),
        checks=list(accepted.checks),
        images=world.images,
        nonce=world.nonce,
        frozen_at=to_text(now),
        deadline_time=to_text(now + timedelta(seconds=accepted.deadline_seconds)),
    )


def _base64(data: bytes) -> bytes:
    """Return the wire form, which the model decodes: a plan is built the way it is read."""
    return b64encode(data)


def plan_status(plan: Plan) -> PlanStatus:
    """Return what status tells of the plan."""
    return PlanStatus(
        recipe_name=plan.recipe_name,
        recipe_digest=f"sha256:{plan.recipe_digest}",
        catalog_digest=plan.catalog_digest,
        policy_generation=plan.policy.generation,
        target_nodes_digest=plan.target_nodes_digest,
        target_node_count=len(plan.target_nodes),
        images={"evidencerun": plan.images.evidencerun, "probe": plan.images.probe},
        nonce=plan.nonce,
        frozen_at=plan.frozen_at,
        deadline_time=plan.deadline_time,
        plan_digest=sha256_prefixed(plan.to_bytes()),
    )

# SPDX-License-Identifier: Apache-2.0
"""The plan as run.json holds it: without the recipe's bytes, the nodes, and the places of delivery."""

from __future__ import annotations

from evidencerun.bundle.record import AskedSpec, PlanRecord
from evidencerun.validation.plan import Plan


def plan_record(plan: Plan) -> PlanRecord:
    """Return the record of a plan."""
    spec = plan.spec
    return PlanRecord(
        run=plan.run,
        spec=AskedSpec(
            policy=spec.policy,
            phases=list(spec.phases),
            fingerprint_only=spec.fingerprint_only,
            checks=spec.checks,
            target=spec.target,
            deadline=spec.deadline,
            logs=spec.logs,
        ),
        policy=plan.policy,
        policy_spec=plan.policy_spec,
        recipe_name=plan.recipe_name,
        recipe_digest=plan.recipe_digest,
        cluster=plan.cluster,
        checks=plan.checks,
        images=plan.images,
        nonce=plan.nonce,
        frozen_at=plan.frozen_at,
        deadline_time=plan.deadline_time,
    )

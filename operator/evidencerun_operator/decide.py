# SPDX-License-Identifier: Apache-2.0
"""The decision: what to do next about one run, out of the clock, the run and what was seen of the world; pure.

Nothing is remembered between two calls: killed at any point, the next pass comes to the same conclusion.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from evidencerun.validation.plan import Plan
from evidencerun.validation.storeapi import RunView, Verdict
from evidencerun_operator import wording
from evidencerun_operator.acceptance import Accepted, Rejection, examine
from evidencerun_operator.actions import Decision, PutPlan
from evidencerun_operator.checking import checks_status, decide_checking
from evidencerun_operator.cleaning import decide_cleaning, decide_closing
from evidencerun_operator.delivering import decide_delivering
from evidencerun_operator.draft import Draft
from evidencerun_operator.failures import BLOCKED
from evidencerun_operator.next_step import again_command
from evidencerun_operator.planning import make_plan, plan_status
from evidencerun_operator.probing import decide_probing, nodes_status, not_reported, straggler_reasons
from evidencerun_operator.run_object import Policy, Run
from evidencerun_operator.sealing import (
    decide_sealed,
    decide_sealing,
    decide_stopping,
    seal_limit_over,
)
from evidencerun_operator.stages import STORE_UNAVAILABLE, Stage, Standing, standing
from evidencerun_operator.status import ConditionStatus, ConditionType, MatchDimension, MatchStatus, RunPhase
from evidencerun_operator.timestamps import from_text
from evidencerun_operator.turn import pace, queue_position, rough
from evidencerun_operator.world import ActiveWorld, PendingWorld, QueuedWorld, StoreDown, World

PATIENCE: Final = 120
"""Seconds for a policy or a ConfigMap that is missing: GitOps applies in any order."""
_OUTAGE: Final = 30
"""Seconds of an outage of the store before it has consequences."""
_PACE: Final = 2.0


def decide(now: datetime, run: Run, world: World) -> Decision:
    """Return the next step of a run."""
    if run.complete:
        return Decision(status=run.status)
    draft = Draft(run, now)
    if isinstance(world, ActiveWorld):
        return _active(draft, world)
    return _pending(draft, world)


def _pending(draft: Draft, world: PendingWorld | QueuedWorld) -> Decision:
    run = draft.run
    if isinstance(world.store, Plan):
        return _adopt(draft, world.store)
    if run.cancelled:
        return _end_early(draft, Verdict.CANCELLED, "spec.cancel was set before anything was planned")
    if isinstance(world, QueuedWorld):
        return _wait(draft, world.policy, world.position)
    found = examine(run, world)
    if isinstance(found, Rejection):
        return _reject(draft, found)
    draft.mark(ConditionType.ACCEPTED, ConditionStatus.TRUE, "Accepted", "recipe, policy, names and limits are right")
    position = queue_position(found.policy, occupied=world.occupied, ahead=world.ahead)
    if position > 0:
        return _wait(draft, found.policy, position)
    if isinstance(world.store, StoreDown):
        return _pending_without_store(draft, found, world.store)
    _store_answers(draft)
    refused = draft.condition(ConditionType.PLANNED)
    if refused.reason == BLOCKED and draft.age(ConditionType.ACCEPTED) >= found.deadline_seconds:
        return _end_early(draft, Verdict.ERROR, f"the plan was refused until the deadline: {refused.message}")
    draft.mark(ConditionType.PLANNED, ConditionStatus.UNKNOWN, "Planning", f"{len(found.targets)} target nodes")
    draft.say(RunPhase.PENDING)
    plan = make_plan(run, found, world, now=draft.now)
    return Decision(status=draft.build(), actions=(PutPlan(plan=plan),), requeue_after=0)


def _wait(draft: Draft, policy: Policy, position: int) -> Decision:
    text = f"position {rough(position)} in the queue; {policy.spec.limits.max_concurrent_runs} runs at a time"
    text = f"{text} (limits.maxConcurrentRuns)"
    draft.mark(ConditionType.PLANNED, ConditionStatus.UNKNOWN, "Queued", text)
    draft.say(RunPhase.PENDING, text)
    return Decision(status=draft.build(), requeue_after=pace(position))


def _pending_without_store(draft: Draft, found: Accepted, down: StoreDown) -> Decision:
    _store_is_away(draft, down)
    if draft.age(ConditionType.STORE_UNAVAILABLE) >= found.deadline_seconds:
        return _end_early(
            draft, Verdict.ERROR, f"the evidence store was not reached before the deadline: {down.message}"
        )
    return Decision(status=draft.build(), requeue_after=_PACE)


def _adopt(draft: Draft, plan: Plan) -> Decision:
    """Take over the plan that the store holds: ours of a moment ago, or that of a pass that was cut off."""
    _store_answers(draft)
    draft.set(plan=plan_status(plan))
    _planned(draft, plan)
    draft.say(RunPhase.PLANNED)
    return Decision(status=draft.build(), requeue_after=0)


def _planned(draft: Draft, plan: Plan) -> None:
    draft.mark(ConditionType.ACCEPTED, ConditionStatus.TRUE, "Accepted", "recipe, policy, names and limits are right")
    text = f"{len(plan.target_nodes)} target nodes, {len(plan.checks)} checks, until {plan.deadline_time}"
    draft.mark(ConditionType.PLANNED, ConditionStatus.TRUE, "Frozen", text)


def _reject(draft: Draft, found: Rejection) -> Decision:
    draft.mark(ConditionType.ACCEPTED, ConditionStatus.FALSE, found.reason, found.message)
    if found.patience and draft.age(ConditionType.ACCEPTED) < PATIENCE:
        text = f"{found.message}; waiting up to {PATIENCE} s for it"
        draft.mark(ConditionType.ACCEPTED, ConditionStatus.FALSE, found.reason, text)
        draft.say(RunPhase.PENDING, text, found.fix)
        return Decision(status=draft.build(), requeue_after=max(_PACE, draft.age(ConditionType.ACCEPTED) / 4))
    draft.judge(Verdict.REJECTED)
    draft.finish(found.message)
    draft.mark(ConditionType.CLEANED_UP, ConditionStatus.TRUE, "NothingCreated", "nothing was created")
    draft.say(RunPhase.FINISHED, found.message, wording.after_command(draft.run.ref, found.fix))
    return Decision(status=draft.build())


def _end_early(draft: Draft, verdict: Verdict, message: str) -> Decision:
    draft.judge(verdict)
    draft.finish(message)
    draft.mark(ConditionType.CLEANED_UP, ConditionStatus.TRUE, "NothingCreated", "nothing was created")
    draft.say(RunPhase.FINISHED, message, again_command(draft))
    return Decision(status=draft.build())


def _store_answers(draft: Draft) -> None:
    draft.mark(ConditionType.STORE_UNAVAILABLE, ConditionStatus.FALSE, "Reachable")


def _store_is_away(draft: Draft, down: StoreDown) -> None:
    draft.mark(ConditionType.STORE_UNAVAILABLE, ConditionStatus.TRUE, "Unreachable", down.message)
    phase = draft.run.status.phase
    draft.say(
        RunPhase(phase) if phase in set(RunPhase) else RunPhase.PENDING,
        f"StoreUnavailable: {down.message}",
        "kubectl get pods -A -l app.kubernetes.io/component=store",
    )


def _active(draft: Draft, world: ActiveWorld) -> Decision:
    plan, store = world.plan, world.store
    where = standing(draft.now, draft.run, store, plan)
    if isinstance(store, RunView):
        _store_answers(draft)
    elif isinstance(store, StoreDown):
        _store_is_away(draft, store)
    if plan is not None and isinstance(store, RunView):
        _take_view(draft, world, plan, store)
        step = _with_view(draft, world, where, plan=plan, view=store)
        if step is not None:
            return step
    match where.stage:
        case Stage.STORE_LOST:
            return _store_lost(draft)
        case Stage.DELIVERING:
            return decide_delivering(draft, world)
        case Stage.CLEANING:
            return decide_cleaning(draft, world)
        case Stage.CLOSING:
            return decide_closing(draft, world)
        case _:
            down = store if isinstance(store, StoreDown) else StoreDown(message="the plan could not be read")
            return _store_down(draft, plan, down)


def _with_view(draft: Draft, world: ActiveWorld, where: Standing, *, plan: Plan, view: RunView) -> Decision | None:
    """Return the step of a stage that needs the store's view; None for the others."""
    match where.stage:
        case Stage.PROBING:
            return decide_probing(draft, world, plan, view)
        case Stage.CHECKING:
            return decide_checking(draft, world, plan, view)
        case Stage.STOPPING:
            return decide_stopping(draft, world, plan, view, where.reason)
        case Stage.SEALING:
            return decide_sealing(draft, world, plan, view)
        case Stage.SEALED:
            return decide_sealed(draft, world, plan, view)
        case _:
            return None


def _take_view(draft: Draft, world: ActiveWorld, plan: Plan, view: RunView) -> None:
    """Take over what the store knows, whatever the stage."""
    _planned(draft, plan)
    if view.volume_trouble:
        draft.mark(ConditionType.DURABLE, ConditionStatus.FALSE, "VolumeTrouble", view.volume_trouble)
        draft.warn(view.volume_trouble)
    elif view.durable:
        draft.mark(ConditionType.DURABLE, ConditionStatus.TRUE, "PersistentVolume")
    else:
        text = "the store keeps its data in an emptyDir (chart: store.persistence.enabled=false)"
        draft.mark(ConditionType.DURABLE, ConditionStatus.FALSE, "NotPersistent", text)
    draft.set(checks=checks_status(plan, view, draft.status.checks))
    found = view.evaluation
    if found is None:
        return
    missing = not_reported(plan, view)
    reasons = {sample.name: sample.reason for sample in draft.status.nodes.sample} if draft.status.nodes else {}
    known = straggler_reasons(missing, world)
    kept = {node.uid: reasons.get(node.name, known[node.uid]) for node in missing}
    nodes = nodes_status(plan, missing, kept).model_copy(
        update={"reported": found.reported, "failed": found.failed, "missing": found.missing}
    )
    rows = [
        MatchDimension(name=d.name[:253], recipe=d.recipe[:253], observed=d.observed[:1024], outcome=d.outcome[:253])
        for d in found.dimensions[:32]
    ]
    draft.set(nodes=nodes, match=MatchStatus(overall=found.overall[:253], dimensions=tuple(rows)))


def _store_down(draft: Draft, plan: Plan | None, down: StoreDown) -> Decision:
    """Wait for the store; at the deadline the verdict is Error, never ChecksFailed, and after the limit it ends."""
    _store_is_away(draft, down)
    frozen = draft.status.plan
    deadline = from_text(frozen.deadline_time) if frozen is not None else None
    late = deadline is not None and draft.now >= deadline
    lasting = draft.age(ConditionType.STORE_UNAVAILABLE) >= _OUTAGE
    sealing = draft.condition(ConditionType.SEALED).status is ConditionStatus.FALSE
    if late and lasting and not sealing:
        draft.judge(Verdict.ERROR)
        draft.mark(ConditionType.SEALED, ConditionStatus.FALSE, STORE_UNAVAILABLE, down.message)
    if seal_limit_over(draft, plan):
        draft.judge(Verdict.ERROR)
        text = f"the evidence store was not reached in time: {down.message}"
        draft.mark(ConditionType.SEALED, ConditionStatus.FALSE, "StoreNotReached", text)
        return Decision(status=draft.build(), requeue_after=0)
    return Decision(status=draft.build(), requeue_after=_PACE)


def _store_lost(draft: Draft) -> Decision:
    """The store has no such run: its volume is gone, and with it the plan. Nothing can be sealed any more."""
    message = "the evidence store answers, but does not know this run: its data is lost"
    _store_is_away(draft, StoreDown(message=message))
    if draft.age(ConditionType.STORE_UNAVAILABLE) < _OUTAGE:
        return Decision(status=draft.build(), requeue_after=_PACE)
    draft.judge(Verdict.ERROR)
    draft.mark(ConditionType.SEALED, ConditionStatus.FALSE, "StoreLostData", message)
    return Decision(status=draft.build(), requeue_after=0)

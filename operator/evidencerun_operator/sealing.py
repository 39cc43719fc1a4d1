# SPDX-License-Identifier: Apache-2.0
"""From the end of the work to a sealed bundle: end what is open, ask for the seal, wait within its limit; pure."""

from __future__ import annotations

from typing import Final

from evidencerun.validation.duration import parse_duration
from evidencerun.validation.plan import Plan
from evidencerun.validation.spec import PolicyLimits
from evidencerun.validation.storeapi import (
    AttemptState,
    BundleView,
    ContainerEnding,
    RunView,
    SealReason,
    SealRequest,
    SealState,
    Verdict,
)
from evidencerun_operator import wording
from evidencerun_operator.actions import Action, Decision, Seal, SideBySide
from evidencerun_operator.attempt_end import DELETED_GRACE, Ended
from evidencerun_operator.checking import checks_status, deletion, ended_news, leftover_jobs
from evidencerun_operator.draft import Draft
from evidencerun_operator.probing import not_reported, straggler_reasons
from evidencerun_operator.stages import SEALING, SIGNING_FAILS
from evidencerun_operator.status import BundleStatus, ConditionStatus, ConditionType, RunPhase
from evidencerun_operator.timestamps import seconds_since
from evidencerun_operator.world import ActiveWorld, Places

_PACE: Final = 0.5
_SLOW: Final = 3.0

_ENDINGS: Final = {
    SealReason.FINISHED: (ConditionStatus.TRUE, "AllRecorded", "every declared check has a recorded outcome"),
    SealReason.NOT_READY: (ConditionStatus.FALSE, "NotReady", "the readiness constraints do not hold; no check ran"),
    SealReason.CANCELLED: (ConditionStatus.FALSE, "Cancelled", "spec.cancel was set"),
    SealReason.DEADLINE: (ConditionStatus.FALSE, "DeadlineExceeded", "the run's deadline is over"),
    SealReason.ERROR: (ConditionStatus.FALSE, "Error", "the evidence store could not be reached before the deadline"),
}
_STOPPED: Final = {SealReason.CANCELLED: "Cancelled", SealReason.DEADLINE: "RunDeadlineExceeded"}


def decide_stopping(draft: Draft, world: ActiveWorld, plan: Plan, view: RunView, reason: SealReason) -> Decision:
    """Return the next step once the work is over: attempts end, then the bundle is asked for."""
    status, word, text = _ENDINGS[reason]
    if reason is SealReason.FINISHED and not plan.checks:
        word, text = "NoChecks", "no check was asked for, or the recipe declares none"
    actions, waiting = _end_attempts(draft, world, view, reason)
    seen = "; ".join([text, *unmet(view)]) if reason is SealReason.NOT_READY else text
    draft.mark(ConditionType.CHECKS_FINISHED, status, word, seen)
    if actions or waiting:
        draft.say(RunPhase.CHECKING, f"{text}; ending {waiting} attempts" if waiting else text)
        return Decision(status=draft.build(), actions=tuple(actions), requeue_after=_PACE)
    draft.mark(ConditionType.SEALED, ConditionStatus.FALSE, SEALING, "the bundle is being assembled")
    if draft.age(ConditionType.SEALED) >= _limit(plan):
        return decide_seal_given_up(draft, world, view, "the store has not assembled the bundle in time")
    stragglers = {} if view.evaluation else straggler_reasons(not_reported(plan, view), world)
    request = SealRequest(reason=reason, message=text, started_at=plan.frozen_at, stragglers=stragglers)
    draft.say(RunPhase.SEALING)
    return Decision(status=draft.build(), actions=(Seal(request=request),), requeue_after=_PACE)


def unmet(view: RunView) -> list[str]:
    """Return the constraints for which no check was run, each with what was expected and what was found."""
    constraints = view.evaluation.constraints if view.evaluation is not None else []
    return [
        f"{one.name}: expected {one.expected}, found {one.found or one.reason or 'nothing'}"
        for one in constraints
        if one.outcome != "satisfied" and one.severity == "error"
    ]


def _end_attempts(draft: Draft, world: ActiveWorld, view: RunView, reason: SealReason) -> tuple[list[SideBySide], int]:
    """Return the actions that end open attempts, and how many still need time to upload what they have."""
    chains: list[tuple[Action, ...]] = [(deletion(job),) for job in leftover_jobs(world, view)]
    waiting = 0
    word = _STOPPED.get(reason, "Stopped")
    for attempt in view.attempts:
        if attempt.state is AttemptState.ENDED:
            continue
        job, pod = world.child("Job", world.places.checks, attempt.job_name), world.pod_of(attempt.job_name)
        gone = pod is None or pod.over
        late = (
            pod is not None
            and bool(pod.deleting_since)
            and seconds_since(pod.deleting_since, draft.now) > DELETED_GRACE
        )
        words = ContainerEnding(reason=word, message=_ENDINGS[reason][2])
        ended = Ended(ending=pod.ending if pod is not None and pod.ending is not None else words)
        if gone or late:
            chains.append((ended_news(attempt, ended, pod),))
        else:
            waiting += 1
        if job is not None and not job.deleting:
            chains.append((deletion(job),))
    return ([SideBySide(chains=tuple(chains))] if chains else []), waiting


def _limit(plan: Plan | None) -> float:
    limits = plan.policy_spec.limits if plan is not None else PolicyLimits()
    return parse_duration(limits.seal)


def seal_limit_over(draft: Draft, plan: Plan | None) -> bool:
    """Return whether sealing has begun and has had all the time that the policy gives it."""
    begun = draft.condition(ConditionType.SEALED).status is ConditionStatus.FALSE
    return begun and draft.age(ConditionType.SEALED) >= _limit(plan)


def decide_sealing(draft: Draft, world: ActiveWorld, plan: Plan, view: RunView) -> Decision:
    """Return the next step while the bundle waits for its signature."""
    failed = view.seal is SealState.FAILED
    text = view.seal_reason if failed else "the bundle is assembled and waits for the sealer"
    draft.mark(ConditionType.SEALED, ConditionStatus.FALSE, SIGNING_FAILS if failed else SEALING, text)
    if seal_limit_over(draft, plan):
        return decide_seal_given_up(draft, world, view, text)
    look = f"kubectl logs -n {world.places.system} deploy/evidence-sealer" if failed else ""
    draft.say(RunPhase.SEALING, f"signing: {text}" if failed else "", look)
    return Decision(status=draft.build(), requeue_after=_SLOW if failed else _PACE)


def decide_seal_given_up(draft: Draft, world: ActiveWorld, view: RunView, why: str) -> Decision:
    """Return the step after the limit: the bundle stays in the store without a signature."""
    take_bundle(draft, world.places, view)
    draft.judge(view.verdict or Verdict.ERROR)
    text = f"not signed within the policy's limit: {why}"
    draft.mark(ConditionType.SEALED, ConditionStatus.FALSE, "SigningTimedOut", text)
    draft.say(RunPhase.SEALING, text)
    return Decision(status=draft.build(), requeue_after=0)


def decide_sealed(draft: Draft, world: ActiveWorld, plan: Plan, view: RunView) -> Decision:
    """Return the step that takes over what was sealed: verdict, counts, digests, how to fetch it."""
    take_bundle(draft, world.places, view)
    draft.judge(view.verdict or Verdict.ERROR)
    draft.set(checks=checks_status(plan, view, draft.status.checks))
    signer = view.bundle.signer if view.bundle else ""
    if view.seal is SealState.SEALED:
        draft.mark(ConditionType.SEALED, ConditionStatus.TRUE, "Signed", f"signed by {signer}")
    else:
        text = f"policy {plan.policy.name} has signing.mode none"
        draft.mark(ConditionType.SEALED, ConditionStatus.FALSE, "Unsigned", text)
    draft.say(RunPhase.SEALING)
    return Decision(status=draft.build(), requeue_after=0)


def take_bundle(draft: Draft, places: Places, view: RunView) -> None:
    """Write what is known of the bundle into the status."""
    bundle: BundleView | None = view.bundle
    if bundle is None:
        return
    known = draft.status.bundle
    draft.set(
        bundle=BundleStatus(
            archive_digest=bundle.archive_digest,
            manifest_digest=bundle.manifest_digest,
            inventory_digest=bundle.inventory_digest,
            logs_digest=bundle.logs_digest,
            size=bundle.size,
            signer=bundle.signer,
            fetch=wording.fetch_command(places, bundle),
            fetch_logs=wording.fetch_logs_command(places, bundle),
            delivered=known.delivered if known is not None else (),
        )
    )

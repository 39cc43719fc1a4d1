# SPDX-License-Identifier: Apache-2.0
"""Checking: phase after phase, side by side within one, each attempt in the ledger before its Job exists; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evidencerun.kube.base import CONFIG_MAPS, JOBS
from evidencerun.validation.plan import Plan, PlannedCheck
from evidencerun.validation.spec import CatalogEntry
from evidencerun.validation.storeapi import (
    AttemptRequest,
    AttemptState,
    AttemptView,
    CheckStatus,
    ContainerEnding,
    PodRef,
    RunView,
)
from evidencerun_operator import naming, render
from evidencerun_operator.actions import Action, Decision, Delete, Ensure, RecordAttempt
from evidencerun_operator.attempt_end import Ended, follow
from evidencerun_operator.check_sample import check_samples
from evidencerun_operator.draft import Draft
from evidencerun_operator.render import Owner, Surroundings
from evidencerun_operator.render_jobs import check_job
from evidencerun_operator.stages import attempts_of, open_checks
from evidencerun_operator.status import ChecksStatus, ConditionStatus, ConditionType, RunPhase
from evidencerun_operator.views import ChildView, PodView
from evidencerun_operator.world import ActiveWorld

_SIDE_BY_SIDE: Final = 16
"""Jobs of one run at the same time: enough for every catalog known, and no flood."""
_PACE: Final = 0.5
"""A check's own work is often shorter than a second; the pod is looked at, not the Job's late condition."""


def decide_checking(draft: Draft, world: ActiveWorld, plan: Plan, view: RunView) -> Decision:
    """Return the next step of Checking."""
    waiting = open_checks(plan, view)
    phase = waiting[0].phase
    current = [check for check in waiting if check.phase == phase]
    anchor = world.child("ConfigMap", world.places.checks, naming.anchor_name(plan.run.uid))
    if anchor is None or anchor.deleting:
        run = naming.RunRef(uid=plan.run.uid, namespace=plan.run.namespace, name=plan.run.name)
        first = Ensure(resource=CONFIG_MAPS, manifest=render.anchor(run, world.places.checks, data={}))
        actions: list[Action] = [first] if anchor is None else []
        troubles: list[str] = []
    else:
        actions, troubles = _work(draft, world, plan=plan, view=view, current=current, anchor=anchor)
    note = "; ".join(troubles)
    text = f"{len(waiting)} of {len(plan.checks)} checks are open, phase {phase}"
    reason = "CheckBlocked" if troubles else "Checking"
    draft.mark(ConditionType.CHECKS_FINISHED, ConditionStatus.UNKNOWN, reason, f"{text}; {note}" if note else text)
    draft.say(RunPhase.CHECKING, note)
    return Decision(status=draft.build(), actions=tuple(actions), requeue_after=0 if anchor is None else _PACE)


def _work(
    draft: Draft,
    world: ActiveWorld,
    *,
    plan: Plan,
    view: RunView,
    current: Sequence[PlannedCheck],
    anchor: ChildView,
) -> tuple[list[Action], list[str]]:
    around = Surroundings(store_url=world.places.store_url, store_ca=world.store_ca)
    owner = Owner(api_version="v1", kind="ConfigMap", name=anchor.name, uid=anchor.uid)
    actions: list[Action] = []
    troubles: list[str] = []
    fresh: list[tuple[CatalogEntry, int]] = []
    busy: list[str] = []
    for check in current:
        entry, attempts = _entry(check), attempts_of(view, check)
        last = attempts[-1] if attempts else None
        if last is None or last.state is AttemptState.ENDED:
            fresh.append((entry, len(attempts) + 1))
            continue
        busy.append(entry.exclusive)
        job, pod = world.child("Job", world.places.checks, last.job_name), world.pod_of(last.job_name)
        found = follow(entry, last, job, pod, world=world, now=draft.now)
        if isinstance(found, Ended):
            actions += end_attempt(last, found, job, pod)
            continue
        if found.trouble:
            troubles.append(f"{check.name}: {found.trouble}")
        if found.needs_job:
            manifest = check_job(plan, entry, last.attempt, namespace=anchor.namespace, owner=owner, around=around)
            actions.append(Ensure(resource=JOBS, manifest=manifest))
        if pod is not None and last.state is AttemptState.CREATED:
            actions.append(RecordAttempt(request=news(last, AttemptState.RUNNING, pod, None)))
    for entry, number in fresh:
        taken = entry.exclusive != "none" and entry.exclusive in busy
        if taken or len(busy) >= _SIDE_BY_SIDE:
            continue
        busy.append(entry.exclusive)
        actions.append(RecordAttempt(request=_first_news(plan, entry, number)))
        manifest = check_job(plan, entry, number, namespace=anchor.namespace, owner=owner, around=around)
        actions.append(Ensure(resource=JOBS, manifest=manifest))
    return actions, troubles


def _entry(check: PlannedCheck) -> CatalogEntry:
    if check.entry is None:
        raise RuntimeError(f"check {check.name} has no catalog entry and cannot be open")
    return check.entry


def _first_news(plan: Plan, entry: CatalogEntry, number: int) -> AttemptRequest:
    return AttemptRequest(
        check=entry.name,
        phase=entry.phase,
        attempt=number,
        job_name=naming.job_name(plan.run.uid, entry.name, number),
        image=entry.image,
        state=AttemptState.CREATED,
    )


def news(
    attempt: AttemptView, state: AttemptState, pod: PodView | None, ending: ContainerEnding | None
) -> AttemptRequest:
    """Return what the store is told about an attempt that it knows."""
    return AttemptRequest(
        check=attempt.check,
        phase=attempt.phase,
        attempt=attempt.attempt,
        job_name=attempt.job_name,
        state=state,
        pod=PodRef(name=pod.name, uid=pod.uid, node_name=pod.node) if pod is not None else None,
        ending=ending,
    )


def end_attempt(attempt: AttemptView, ended: Ended, job: ChildView | None, pod: PodView | None) -> list[Action]:
    """Return the actions that close an attempt: the ledger first, then its Job if it could still go on."""
    request = news(attempt, AttemptState.ENDED, pod, ended.ending)
    actions: list[Action] = [RecordAttempt(request=request)]
    if ended.kill and job is not None and not job.deleting:
        actions.append(Delete(resource=JOBS, namespace=job.namespace, name=job.name, uid=job.uid))
    return actions


def checks_status(plan: Plan, view: RunView, known: ChecksStatus | None) -> ChecksStatus:
    """Return the counts: the store's own once the bundle is assembled, before that from the ledger.

    A closed run has no ledger any more: what is `known` of its checks stays.
    """
    sample = known.sample if view.closed and known is not None else check_samples(plan, view)
    if view.verdict is not None:
        return ChecksStatus(**view.counts.model_dump(), sample=sample)
    counts = dict.fromkeys(CheckStatus, 0)
    executed = 0
    for check in plan.checks:
        attempts = attempts_of(view, check)
        if check.excluded:
            counts[CheckStatus.SKIPPED] += 1
        elif check.entry is None:
            counts[CheckStatus.OTHER] += 1
        elif attempts:
            executed += attempts[-1].state is AttemptState.ENDED
            counts[attempts[-1].status] += 1
    return ChecksStatus(
        declared=len(plan.checks),
        executed=executed,
        passed=counts[CheckStatus.PASSED],
        failed=counts[CheckStatus.FAILED],
        skipped=counts[CheckStatus.SKIPPED],
        other=counts[CheckStatus.OTHER],
        attempts=len(view.attempts),
        sample=sample,
    )

# SPDX-License-Identifier: Apache-2.0
"""Checking: phase after phase, side by side within one, each attempt in the ledger before its Job exists; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from evidencerun.kube.base import CONFIG_MAPS, JOBS
from evidencerun.validation.plan import Plan
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
from evidencerun.validation.verdict import count_checks, derive_checks
from evidencerun_operator import naming, render
from evidencerun_operator.actions import Action, Decision, Delete, Ensure, RecordAttempt, SideBySide
from evidencerun_operator.attempt_end import Ended, ended_badly, follow
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
    anchor = world.child("ConfigMap", world.places.checks, naming.anchor_name(plan.run.uid))
    work = _Work()
    if anchor is None:
        run = naming.RunRef(uid=plan.run.uid, namespace=plan.run.namespace, name=plan.run.name)
        work.chains.append((Ensure(resource=CONFIG_MAPS, manifest=render.anchor(run, world.places.checks, data={})),))
    elif not anchor.deleting:
        _follow_all(work, draft, world, plan=plan, view=view)
        _begin(work, plan, anchor=anchor, world=world)
    note = "; ".join(work.troubles)
    text = f"{len(waiting)} of {len(plan.checks)} checks are open, phase {phase}"
    reason = "CheckBlocked" if work.troubles else "Checking"
    draft.mark(ConditionType.CHECKS_FINISHED, ConditionStatus.UNKNOWN, reason, f"{text}; {note}" if note else text)
    draft.say(RunPhase.CHECKING, note)
    actions = (SideBySide(chains=tuple(work.chains)),) if work.chains else ()
    return Decision(status=draft.build(), actions=actions, requeue_after=0 if anchor is None else _PACE)


@dataclass(slots=True)
class _Work:
    """What a pass has found to do: chains of actions, what people should see, who is under way, who may begin."""

    chains: list[tuple[Action, ...]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    wanted: list[tuple[CatalogEntry, int, bool]] = field(default_factory=list)
    """Check, number of the attempt, and whether the ledger has it already."""


def _follow_all(work: _Work, draft: Draft, world: ActiveWorld, *, plan: Plan, view: RunView) -> None:
    leftovers = leftover_jobs(world, view)
    work.chains += [(deletion(job),) for job in leftovers]
    going_on = {job.name for job in leftovers}
    waiting = open_checks(plan, view)
    for check in plan.checks:
        attempts = attempts_of(view, check)
        last = attempts[-1] if attempts else None
        if check.entry is None:
            continue
        if any(attempt.job_name in going_on for attempt in attempts):
            work.busy.append(check.entry.exclusive)
        elif check in waiting and check.phase == waiting[0].phase:
            if last is None or last.state is AttemptState.ENDED:
                work.wanted.append((check.entry, len(attempts) + 1, False))
            else:
                work.busy.append(check.entry.exclusive)
                _follow_one(work, draft, world, entry=check.entry, attempt=last)


def _follow_one(work: _Work, draft: Draft, world: ActiveWorld, *, entry: CatalogEntry, attempt: AttemptView) -> None:
    job, pod = world.child("Job", world.places.checks, attempt.job_name), world.pod_of(attempt.job_name)
    found = follow(entry, attempt, job, pod, world=world, now=draft.now)
    trouble = ended_badly(found.ending) if isinstance(found, Ended) else found.trouble
    if trouble:
        work.troubles.append(f"{entry.name}: {trouble}")
    if isinstance(found, Ended):
        work.chains.append((ended_news(attempt, found, pod),))
        return
    if found.needs_job:
        work.wanted.append((entry, attempt.attempt, True))
    if pod is not None and attempt.state is AttemptState.CREATED:
        work.chains.append((RecordAttempt(request=news(attempt, AttemptState.RUNNING, pod, None)),))


def _begin(work: _Work, plan: Plan, *, anchor: ChildView, world: ActiveWorld) -> None:
    """Add the chains that make Jobs. An attempt that the ledger has already is under way, whatever else is."""
    around = Surroundings(store_url=world.places.store_url, store_ca=world.store_ca)
    owner = Owner(api_version="v1", kind="ConfigMap", name=anchor.name, uid=anchor.uid)
    for entry, number, known in work.wanted:
        taken = entry.exclusive != "none" and entry.exclusive in work.busy
        if not known and (taken or len(work.busy) >= _SIDE_BY_SIDE):
            continue
        manifest = check_job(plan, entry, number, namespace=anchor.namespace, owner=owner, around=around)
        job = Ensure(resource=JOBS, manifest=manifest)
        if known:
            work.chains.append((job,))
            continue
        work.busy.append(entry.exclusive)
        work.chains.append((RecordAttempt(request=_first_news(plan, entry, number)), job))


def leftover_jobs(world: ActiveWorld, view: RunView) -> list[ChildView]:
    """Return the Jobs that could still go on although their attempt is ended: it was given up, or its pod is gone."""
    found = []
    for attempt in view.attempts:
        job, pod = world.child("Job", world.places.checks, attempt.job_name), world.pod_of(attempt.job_name)
        over = pod is not None and pod.over
        if attempt.state is AttemptState.ENDED and job is not None and not job.deleting and not over:
            found.append(job)
    return found


def deletion(job: ChildView) -> Delete:
    """Return the action that deletes a Job with its pods."""
    return Delete(resource=JOBS, namespace=job.namespace, name=job.name, uid=job.uid)


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


def ended_news(attempt: AttemptView, ended: Ended, pod: PodView | None) -> RecordAttempt:
    """Return the action that ends an attempt in the ledger; a Job that could still go on is deleted after that."""
    return RecordAttempt(request=news(attempt, AttemptState.ENDED, pod, ended.ending))


def checks_status(plan: Plan, view: RunView, known: ChecksStatus | None) -> ChecksStatus:
    """Return the counts: the store's own once the bundle is assembled, before that from the ledger.

    A closed run has no ledger any more: what is `known` of its checks stays.
    """
    sample = known.sample if view.closed and known is not None else check_samples(plan, view)
    if view.verdict is not None:
        return ChecksStatus(**view.counts.model_dump(), sample=sample)
    records = derive_checks(plan, view.attempts, ended=False)
    counts = count_checks(records)
    waiting = sum(record.status is CheckStatus.PENDING for record in records)
    return ChecksStatus(**{**counts.model_dump(), "other": counts.other - waiting}, sample=sample)

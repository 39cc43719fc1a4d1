# SPDX-License-Identifier: Apache-2.0
"""CleaningUp and the very end: delete, list until nothing is left, close the run in the store; pure."""

from __future__ import annotations

from typing import Final

from evidencerun.kube.base import CONFIG_MAPS, DAEMON_SETS, JOBS, Resource
from evidencerun.validation.storeapi import RunView, Verdict
from evidencerun_operator import naming, next_step
from evidencerun_operator.actions import Action, Close, Decision, Delete, DeletePods
from evidencerun_operator.draft import Draft
from evidencerun_operator.stages import CLEANING
from evidencerun_operator.status import ConditionStatus, ConditionType, RunPhase
from evidencerun_operator.views import ChildView
from evidencerun_operator.world import ActiveWorld, StoreLost

_PACE: Final = 0.5
_SLOW: Final = 2.0
_FORCE_AFTER: Final = 45
"""Seconds after which a pod is not waited for any more: its kubelet is gone, its grace is over."""
_GIVE_UP_AFTER: Final = 180
_CLOSE_PATIENCE: Final = 300
"""Seconds in which a store that is away may come back to hear that the run is over."""
_RESOURCES: Final[dict[str, Resource]] = {"DaemonSet": DAEMON_SETS, "Job": JOBS, "ConfigMap": CONFIG_MAPS}


def decide_cleaning(draft: Draft, world: ActiveWorld) -> Decision:
    """Return the next step of CleaningUp."""
    if not world.children and not world.pods:
        draft.mark(ConditionType.CLEANED_UP, ConditionStatus.TRUE, "NothingLeft", "no object of this run is left")
        draft.say(RunPhase.CLEANING_UP)
        return Decision(status=draft.build(), requeue_after=0)
    left = [f"{child.kind} {child.namespace}/{child.name}" for child in world.children]
    left += [f"Pod {pod.namespace}/{pod.name} on {pod.node or 'no node'}" for pod in world.pods]
    text = f"{len(left)} left: {', '.join(left[:5])}"
    draft.mark(ConditionType.CLEANED_UP, ConditionStatus.FALSE, CLEANING, text)
    waited = draft.age(ConditionType.CLEANED_UP)
    if waited >= _GIVE_UP_AFTER:
        why = f"given up after {_GIVE_UP_AFTER} s, {text}; the janitor goes on"
        draft.mark(ConditionType.CLEANED_UP, ConditionStatus.FALSE, "LeftBehind", why)
        draft.say(RunPhase.CLEANING_UP, why)
        return Decision(status=draft.build(), requeue_after=0)
    draft.say(RunPhase.CLEANING_UP)
    actions = removal(world, draft.run.ref.uid, force=waited >= _FORCE_AFTER)
    return Decision(status=draft.build(), actions=tuple(actions), requeue_after=_PACE if waited < 10 else _SLOW)


def removal(world: ActiveWorld, uid: str, *, force: bool) -> list[Action]:
    """Return what removes a run's objects: first those that make pods, then pods, then the anchors that own them."""
    makers = [child for child in world.children if child.kind != "ConfigMap"]
    actions: list[Action] = [_delete(child) for child in makers if not child.deleting]
    # The pods of the deliver Job go with it; there is no right to delete pods in run namespaces.
    actions += [
        DeletePods(namespace=namespace, selector=naming.selector(uid), force=force)
        for namespace in (world.places.probes, world.places.checks)
        if any(pod.namespace == namespace for pod in world.pods)
    ]
    # An anchor goes last, for the janitor finds what is left by it.
    busy = {child.namespace for child in makers} | {pod.namespace for pod in world.pods}
    anchors = [child for child in world.children if child.kind == "ConfigMap" and child.namespace not in busy]
    actions += [_delete(child) for child in anchors if not child.deleting]
    return actions


def _delete(child: ChildView) -> Delete:
    return Delete(resource=_RESOURCES[child.kind], namespace=child.namespace, name=child.name, uid=child.uid)


def decide_closing(draft: Draft, world: ActiveWorld) -> Decision:
    """Return the last step: the store hears that the run is over, then nothing more happens."""
    store = world.store
    closed = isinstance(store, StoreLost) or (isinstance(store, RunView) and store.closed)
    if closed or draft.age(ConditionType.CLEANED_UP) >= _CLOSE_PATIENCE:
        return decide_finished(draft, world)
    draft.say(RunPhase.CLEANING_UP)
    if isinstance(store, RunView):
        return Decision(status=draft.build(), actions=(Close(),), requeue_after=0)
    return Decision(status=draft.build(), requeue_after=_SLOW)


def decide_finished(draft: Draft, world: ActiveWorld) -> Decision:
    """Return the final status."""
    draft.judge(Verdict.ERROR)
    words, step = _closing_words(draft), next_step.closing_command(draft, world.places)
    draft.finish(words)
    draft.say(RunPhase.FINISHED, words, step)
    return Decision(status=draft.build(), requeue_after=None)


def _closing_words(draft: Draft) -> str:
    faults = []
    for kind in (ConditionType.SEALED, ConditionType.DELIVERED, ConditionType.CLEANED_UP):
        condition = draft.condition(kind)
        if condition.status is ConditionStatus.FALSE and condition.reason not in ("NotRequested", "NotReached"):
            faults.append(f"{kind}: {condition.reason}: {condition.message}")
    if draft.status.verdict == Verdict.NOT_READY:
        faults.insert(0, draft.condition(ConditionType.CHECKS_FINISHED).message)
    why = ", ".join(next_step.circumstances(draft))
    return "; ".join([f"{draft.status.verdict}: {why}" if why else draft.status.verdict, *faults])

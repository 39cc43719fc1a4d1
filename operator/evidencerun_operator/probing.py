# SPDX-License-Identifier: Apache-2.0
"""Probing: one DaemonSet per pool until every target node has reported, or the probe deadline; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evidencerun import limits
from evidencerun.kube.base import CONFIG_MAPS, DAEMON_SETS
from evidencerun.snapshot.report import NodeFacts
from evidencerun.validation.duration import parse_duration
from evidencerun.validation.plan import Plan
from evidencerun.validation.spec import Access
from evidencerun.validation.storeapi import RunView
from evidencerun_operator import naming, render
from evidencerun_operator.actions import Decision, Ensure, Evaluate
from evidencerun_operator.draft import Draft
from evidencerun_operator.render import Owner, Surroundings
from evidencerun_operator.status import ConditionStatus, ConditionType, NodeSample, NodesStatus, RunPhase
from evidencerun_operator.timestamps import seconds_since
from evidencerun_operator.views import ChildView
from evidencerun_operator.world import ActiveWorld

_REASON_MAX: Final = 1024
_FAST: Final = 1.0
_SLOW: Final = 5.0
_PATIENCE: Final = 15
"""Seconds in which it is no news that a probe runs: one looks at its node for a second or two."""
_NODES_PER_SECOND: Final = 500
"""A look costs as much as the list of reported uids is long: the pace goes down with the number of nodes."""


def decide_probing(draft: Draft, world: ActiveWorld, plan: Plan, view: RunView) -> Decision:
    """Return the next step of Probing."""
    missing = not_reported(plan, view)
    reasons = straggler_reasons(missing, world)
    draft.set(nodes=nodes_status(plan, missing, reasons))
    done = len(plan.target_nodes) - len(missing)
    if not missing:
        draft.mark(ConditionType.NODES_REPORTED, ConditionStatus.TRUE, "AllReported", f"{done} nodes have reported")
        draft.say(RunPhase.EVALUATING)
        return Decision(status=draft.build(), actions=(Evaluate(stragglers={}),), requeue_after=0)
    if seconds_since(plan.frozen_at, draft.now) >= parse_duration(plan.policy_spec.limits.probe):
        return _give_up(draft, missing, reasons)
    note = _note(missing, reasons, early=seconds_since(plan.frozen_at, draft.now) < _PATIENCE)
    text = f"{done} of {len(plan.target_nodes)} nodes have reported"
    draft.mark(ConditionType.NODES_REPORTED, ConditionStatus.UNKNOWN, "Probing", f"{text}; {note}" if note else text)
    draft.say(RunPhase.PROBING, note)
    pace = min(_SLOW, max(_FAST, len(plan.target_nodes) / _NODES_PER_SECOND))
    return Decision(status=draft.build(), actions=_children(world, plan), requeue_after=pace)


def _note(missing: Sequence[NodeFacts], reasons: dict[str, str], *, early: bool) -> str:
    """Return what people should know of nodes that have not reported; of a probe that has just started, nothing."""
    ordinary = {_STARTING, _RUNNING} if early else {_STARTING}
    return "; ".join(f"{node.name}: {reasons[node.uid]}" for node in missing if reasons[node.uid] not in ordinary)


def _give_up(draft: Draft, missing: Sequence[NodeFacts], reasons: dict[str, str]) -> Decision:
    named = "; ".join(f"{node.name}: {reasons[node.uid]}" for node in missing)
    text = f"{len(missing)} nodes have not reported before the probe deadline: {named}"
    draft.mark(ConditionType.NODES_REPORTED, ConditionStatus.FALSE, "NodesMissing", text)
    draft.say(RunPhase.EVALUATING, named)
    return Decision(status=draft.build(), actions=(Evaluate(stragglers=reasons),), requeue_after=0)


def not_reported(plan: Plan, view: RunView) -> list[NodeFacts]:
    """Return the target nodes without a report, by name."""
    reported = set(view.reported)
    return sorted((node for node in plan.target_nodes if node.uid not in reported), key=lambda node: node.name)


def nodes_status(plan: Plan, missing: Sequence[NodeFacts], reasons: dict[str, str]) -> NodesStatus:
    """Return the counts, with at most 20 names."""
    sample = [NodeSample(name=node.name, reason=reasons[node.uid]) for node in missing[: limits.STATUS_SAMPLE_MAX]]
    return NodesStatus(
        targeted=len(plan.target_nodes),
        reported=len(plan.target_nodes) - len(missing),
        missing=len(missing),
        sample=tuple(sample),
    )


_STARTING: Final = "its probe is starting"
_RUNNING: Final = "its probe runs and has not reported"


def straggler_reasons(missing: Sequence[NodeFacts], world: ActiveWorld) -> dict[str, str]:
    """Return node uid to the API's own words on why it has not reported."""
    by_node = {pod.node: pod for pod in world.pods if pod.component == "probe" and not pod.deleting_since}
    found: dict[str, str] = {}
    for node in missing:
        health = world.nodes.get(node.name)
        pod = by_node.get(node.name)
        trouble = "; ".join(text for name, text in sorted(world.troubles.items()) if f"-probe-{node.pool}" in name)
        if world.nodes and (health is None or health.uid != node.uid):
            reason = "the node is gone"
        elif health is not None and not health.ready:
            reason = f"the node is not ready: {health.message}"
        elif pod is None:
            reason = f"no probe pod: {trouble}" if trouble else _STARTING
        elif pod.blocked[0]:
            reason = ": ".join(part for part in pod.blocked if part)
        elif pod.phase == "Running":
            reason = _RUNNING if pod.started_at else _STARTING
        else:
            reason = world.troubles.get(pod.name, _STARTING)
        found[node.uid] = reason[:_REASON_MAX]
    return found


def _children(world: ActiveWorld, plan: Plan) -> tuple[Ensure, ...]:
    """Return the objects that are not there yet: the anchor first, for it owns the others."""
    namespace = world.places.probes
    known = world.child("ConfigMap", namespace, naming.anchor_name(plan.run.uid))
    if known is None:
        run = naming.RunRef(uid=plan.run.uid, namespace=plan.run.namespace, name=plan.run.name)
        ways = {f"access.{p.name}": render.access_of(p, world.runtime_classes) for p in plan.policy_spec.pools}
        manifest = render.anchor(run, namespace, data={key: str(way) for key, way in ways.items()})
        return (Ensure(resource=CONFIG_MAPS, manifest=manifest),)
    return tuple(_daemon_sets(world, plan, known)) if not known.deleting else ()


def _daemon_sets(world: ActiveWorld, plan: Plan, known: ChildView) -> list[Ensure]:
    owner = Owner(api_version="v1", kind="ConfigMap", name=known.name, uid=known.uid)
    around = Surroundings(store_url=world.places.store_url, store_ca=world.store_ca)
    used = {node.pool for node in plan.target_nodes}
    wanted = []
    for pool in plan.policy_spec.pools:
        name = naming.daemon_set_name(plan.run.uid, pool.name)
        if pool.name not in used or world.child("DaemonSet", known.namespace, name) is not None:
            continue
        access = Access(known.data.get(f"access.{pool.name}", Access.PCI_ONLY))
        manifest = render.probe_daemon_set(plan, pool, access, owner=owner, around=around)
        wanted.append(Ensure(resource=DAEMON_SETS, manifest=render.placed(manifest, known.namespace)))
    return wanted

# SPDX-License-Identifier: Apache-2.0
"""Compares a plan with what the API server says itself; pure. The operator's word alone freezes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from evidencerun.errors import Error
from evidencerun.fingerprint.accelerator_signals import GPU_RESOURCES
from evidencerun.fingerprint.labels import is_used
from evidencerun.recipe import load_recipe
from evidencerun.snapshot.report import NodeFacts
from evidencerun.validation.plan import Plan
from evidencerun.validation.plan_rules import check_faults
from evidencerun.validation.spec import PolicySpec, Pool, RunSpec

_LISTED: Final = 5
"""Nodes named in one cause; more are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """What of a Node object decides whether it belongs into a plan."""

    uid: str
    name: str
    labels: Mapping[str, str]
    created_at: str
    facts: Mapping[str, str]
    """Members of `status.nodeInfo` and `spec.providerID`, under the names of `NodeFacts`."""
    gpus: Mapping[str, str]
    """What the node says to have of the GPU resources: with no device on PCI a sign of simulation."""


_NODE_INFO: Final = {
    "architecture": "architecture",
    "boot_id": "bootID",
    "machine_id": "machineID",
    "system_uuid": "systemUUID",
    "kernel_version": "kernelVersion",
    "os_image": "osImage",
    "operating_system": "operatingSystem",
    "container_runtime_version": "containerRuntimeVersion",
    "kubelet_version": "kubeletVersion",
}


def node_identity(node: Mapping[str, Any]) -> NodeIdentity:
    """Project a Node object."""
    meta, info = node.get("metadata") or {}, (node.get("status") or {}).get("nodeInfo") or {}
    facts = {ours: str(info.get(theirs) or "") for ours, theirs in _NODE_INFO.items()}
    facts["provider_id"] = str((node.get("spec") or {}).get("providerID") or "")
    capacity = (node.get("status") or {}).get("capacity") or {}
    return NodeIdentity(
        uid=str(meta.get("uid") or ""),
        name=str(meta.get("name") or ""),
        labels=dict(meta.get("labels") or {}),
        created_at=str(meta.get("creationTimestamp") or ""),
        facts=facts,
        gpus={name: str(capacity[name]) for name in GPU_RESOURCES if name in capacity},
    )


def differences(
    plan: Plan, *, run: Mapping[str, Any], policy: Mapping[str, Any], nodes: Sequence[NodeIdentity]
) -> list[str]:
    """Return every way in which the plan differs from the API's run, policy and nodes; empty if it is right."""
    return [*_run(plan, run), *_policy(plan, policy), *_recipe(plan), *_nodes(plan, nodes)]


def _identity(what: str, meta: Mapping[str, Any], *, uid: str, generation: int) -> Iterable[str]:
    if meta.get("uid") != uid:
        yield f"{what}: the uid is {meta.get('uid')}, the plan says {uid}"
    if meta.get("generation") != generation:
        yield f"{what}: the generation is {meta.get('generation')}, the plan says {generation}"


def _run(plan: Plan, run: Mapping[str, Any]) -> Iterable[str]:
    meta = run.get("metadata") or {}
    yield from _identity("run", meta, uid=plan.run.uid, generation=plan.run.generation)
    try:
        spec = RunSpec.model_validate(run.get("spec"))
    except ValidationError as fault:
        yield f"run: its spec cannot be read: {fault.error_count()} faults"
        return
    if spec != plan.spec:
        yield f"run: spec differs in {_differing(spec, plan.spec)}"


def _policy(plan: Plan, policy: Mapping[str, Any]) -> Iterable[str]:
    meta = policy.get("metadata") or {}
    yield from _identity("policy", meta, uid=plan.policy.uid, generation=plan.policy.generation)
    if plan.policy.name != plan.spec.policy:
        yield f"policy: the plan names {plan.policy.name}, its run names {plan.spec.policy}"
    try:
        spec = PolicySpec.model_validate(policy.get("spec"))
    except ValidationError as fault:
        yield f"policy: its spec cannot be read: {fault.error_count()} faults"
        return
    if spec != plan.policy_spec:
        yield f"policy: spec differs in {_differing(spec, plan.policy_spec)}"


def _differing(one: RunSpec | PolicySpec, other: RunSpec | PolicySpec) -> str:
    ours, theirs = one.model_dump(by_alias=True), other.model_dump(by_alias=True)
    return ", ".join(sorted(name for name in ours if ours[name] != theirs.get(name)))


def _recipe(plan: Plan) -> Iterable[str]:
    inline = plan.spec.recipe.inline
    if inline is not None and inline.encode() != plan.recipe:
        yield "recipe: the plan's bytes are not those of spec.recipe.inline"
    try:
        recipe = load_recipe(plan.recipe)
    except Error as fault:
        yield f"recipe: {fault}"
        return
    if recipe.digest != plan.recipe_digest:
        yield f"recipe: its digest is {recipe.digest}, the plan says {plan.recipe_digest}"
    if recipe.name != plan.recipe_name:
        yield f"recipe: its name is {recipe.name}, the plan says {plan.recipe_name}"
    yield from check_faults(plan, recipe)


def _nodes(plan: Plan, nodes: Sequence[NodeIdentity]) -> Iterable[str]:
    by_uid = {node.uid: node for node in nodes}
    pools = {pool.name: pool for pool in chosen_pools(plan, nodes)}
    planned: set[str] = set()
    faults: dict[str, list[str]] = {}
    for target in plan.target_nodes:
        if target.uid in planned:
            faults.setdefault("stands twice", []).append(target.name)
        planned.add(target.uid)
        fault = _target_fault(target, by_uid.get(target.uid), pools)
        if fault:
            faults.setdefault(fault, []).append(target.name)
    for node in nodes:
        belongs = any(matches(pool, node.labels) for pool in pools.values())
        if belongs and node.uid not in planned and before(node.created_at, plan.frozen_at):
            faults.setdefault("is left out of the plan", []).append(node.name)
    for fault, names in sorted(faults.items()):
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        yield f"nodes: {', '.join(names[:_LISTED])}{more}: {fault}"


def _target_fault(target: NodeFacts, node: NodeIdentity | None, pools: Mapping[str, Pool]) -> str:
    if node is None:
        return "no node has this uid"
    if node.name != target.name:
        return f"the node of this uid is called {node.name}"
    pool = pools.get(target.pool)
    if pool is None or not matches(pool, node.labels):
        return f"does not belong to pool {target.pool}"
    wrong = [name for name, value in node.facts.items() if getattr(target, name) != value]
    wrong += [f"label {key}" for key, value in target.labels.items() if node.labels.get(key) != value]
    wrong += [f"label {key}, which it leaves out" for key in sorted(node.labels.keys() - target.labels) if is_used(key)]
    wrong += [name for name in GPU_RESOURCES if target.capacity.get(name) != node.gpus.get(name)]
    return f"differs in {', '.join(wrong)}" if wrong else ""


def chosen_pools(plan: Plan, nodes: Sequence[NodeIdentity]) -> list[Pool]:
    """Return the pools whose nodes must all be in the plan: those that the run names, else the policy's.

    A fallback pool counts only if no other chosen pool has a node.
    """
    named = plan.spec.target.pools
    pools = [pool for pool in plan.policy_spec.pools if not named or pool.name in named]
    first = [pool for pool in pools if not pool.fallback]
    if any(matches(pool, node.labels) for pool in first for node in nodes):
        return first
    return [pool for pool in pools if pool.fallback] or first


def matches(pool: Pool, labels: Mapping[str, str]) -> bool:
    """Return whether a pool's selector matches a node's labels."""
    return all(labels.get(key) == value for key, value in pool.node_selector.items())


def before(created_at: str, frozen_at: str) -> bool:
    """Return whether a node is older than the plan; a time that cannot be read counts as older."""
    try:
        return datetime.fromisoformat(created_at) < datetime.fromisoformat(frozen_at)
    except (ValueError, TypeError):
        return True

# SPDX-License-Identifier: Apache-2.0
"""Judges whether one Kubernetes object is ready. Pure.

A workload that runs nothing (scaled to zero, no matching node) is not ready: nothing passes by doing nothing. A kind
that is not listed here is never judged by its mere existence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from evidencerun.kube.base import CONFIG_MAPS, DAEMON_SETS, JOBS, PODS, Object, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether an object is ready, what was expected of it and what was found."""

    ready: bool
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a kind is fetched and judged."""

    resource: Resource
    namespaced: bool
    judge: Callable[[Object], Judgement]


def _section(obj: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = obj.get(name)
    return value if isinstance(value, dict) else {}


def _number(section: Mapping[str, Any], name: str, default: int = 0) -> int:
    value = section.get(name, default)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = _section(obj, "status").get("conditions")
    entries = conditions if isinstance(conditions, list) else []
    return next((item for item in entries if isinstance(item, dict) and item.get("type") == kind), {})


def _stale(obj: Mapping[str, Any]) -> str:
    """Return a finding if the status speaks about an older generation of the spec."""
    generation = _number(_section(obj, "metadata"), "generation")
    observed = _number(_section(obj, "status"), "observedGeneration")
    return f"status of generation {observed}, spec of generation {generation}" if observed < generation else ""


def _replicas(obj: Object, ready_field: str, updated_field: str, word: str) -> Judgement:
    wanted = _number(_section(obj, "spec"), "replicas", 1)
    status = _section(obj, "status")
    ready, updated = _number(status, ready_field), _number(status, updated_field)
    if wanted == 0:
        return Judgement(ready=False, expected=f"at least 1 {word} replica", found="scaled to 0 replicas")
    found = f"{ready} {word}, {updated} updated"
    stale = _stale(obj)
    if stale:
        found += f", {stale}"
    expected = f"{wanted} {word} and updated"
    return Judgement(ready=not stale and ready >= wanted and updated >= wanted, expected=expected, found=found)


def judge_deployment(obj: Object) -> Judgement:
    """Available, with all replicas of the present template."""
    judgement = _replicas(obj, "availableReplicas", "updatedReplicas", "available")
    status = _section(obj, "status")
    older = _number(status, "replicas") - _number(status, "updatedReplicas")
    if judgement.ready and older > 0:
        # The rule of `kubectl rollout status`: while pods of an older template serve, the rollout may be stuck.
        found = f"{judgement.found}, {older} of an older template"
        return Judgement(ready=False, expected=f"{judgement.expected}, none of an older template", found=found)
    condition = _condition(obj, "Available")
    if judgement.ready and condition.get("status") != "True":
        found = f"{judgement.found}, condition Available is {condition.get('status', 'absent')}"
        return Judgement(ready=False, expected=judgement.expected, found=found)
    return judgement


def judge_stateful_set(obj: Object) -> Judgement:
    """All replicas ready and of the present template."""
    return _replicas(obj, "readyReplicas", "updatedReplicas", "ready")


def judge_replica_set(obj: Object) -> Judgement:
    """All replicas ready; a ReplicaSet has one template only."""
    return _replicas(obj, "readyReplicas", "fullyLabeledReplicas", "ready")


def judge_daemon_set(obj: Object) -> Judgement:
    """Ready and up to date on every node that it wants, and on one at least."""
    status = _section(obj, "status")
    wanted, ready = _number(status, "desiredNumberScheduled"), _number(status, "numberReady")
    updated = _number(status, "updatedNumberScheduled")
    stale = _stale(obj)
    if stale:
        return Judgement(ready=False, expected="a current status", found=stale)
    if wanted == 0:
        return Judgement(ready=False, expected="pods on at least 1 node", found="no node matches it")
    expected = f"ready and updated on {wanted} nodes"
    found = f"ready on {ready}, updated on {updated}"
    return Judgement(ready=ready >= wanted and updated >= wanted, expected=expected, found=found)


def judge_job(obj: Object) -> Judgement:
    """Complete."""
    if _condition(obj, "Complete").get("status") == "True":
        return Judgement(ready=True, expected="complete", found="complete")
    failed = _condition(obj, "Failed")
    if failed.get("status") == "True":
        return Judgement(ready=False, expected="complete", found=f"failed: {failed.get('reason', '')}".strip(": "))
    return Judgement(ready=False, expected="complete", found="not finished")


def judge_pod(obj: Object) -> Judgement:
    """Ready."""
    phase = str(_section(obj, "status").get("phase", "unknown"))
    ready = _condition(obj, "Ready").get("status") == "True"
    return Judgement(ready=ready, expected="Ready", found="Ready" if ready else f"not Ready, phase {phase}")


def _phase(wanted: str) -> Callable[[Object], Judgement]:
    def judge(obj: Object) -> Judgement:
        phase = str(_section(obj, "status").get("phase") or "no phase")
        return Judgement(ready=phase == wanted, expected=wanted, found=phase)

    return judge


def judge_crd(obj: Object) -> Judgement:
    """Established."""
    status = _condition(obj, "Established").get("status", "absent")
    found = "Established" if status == "True" else f"condition Established is {status}"
    return Judgement(ready=status == "True", expected="Established", found=found)


def judge_existence(obj: Object) -> Judgement:
    """There, and not being deleted; its kind has no state of readiness."""
    if _section(obj, "metadata").get("deletionTimestamp"):
        return Judgement(ready=False, expected="exists", found="is being deleted")
    return Judgement(ready=True, expected="exists", found="exists")


def _apps(plural: str, kind: str) -> Resource:
    return Resource(group="apps", version="v1", plural=plural, kind=kind)


def _core(plural: str, kind: str) -> Resource:
    return Resource(group="", version="v1", plural=plural, kind=kind)


REPLICA_SETS: Final = _apps("replicasets", "ReplicaSet")
_CRDS: Final = Resource(
    group="apiextensions.k8s.io", version="v1", plural="customresourcedefinitions", kind="CustomResourceDefinition"
)
_CRON_JOBS: Final = Resource(group="batch", version="v1", plural="cronjobs", kind="CronJob")

KINDS: Final[Mapping[str, Kind]] = {
    kind.resource.kind: kind
    for kind in (
        Kind(resource=_apps("deployments", "Deployment"), namespaced=True, judge=judge_deployment),
        Kind(resource=DAEMON_SETS, namespaced=True, judge=judge_daemon_set),
        Kind(resource=_apps("statefulsets", "StatefulSet"), namespaced=True, judge=judge_stateful_set),
        Kind(resource=REPLICA_SETS, namespaced=True, judge=judge_replica_set),
        Kind(resource=JOBS, namespaced=True, judge=judge_job),
        Kind(resource=_CRON_JOBS, namespaced=True, judge=judge_existence),
        Kind(resource=PODS, namespaced=True, judge=judge_pod),
        Kind(resource=_core("services", "Service"), namespaced=True, judge=judge_existence),
        Kind(resource=CONFIG_MAPS, namespaced=True, judge=judge_existence),
        Kind(resource=_core("serviceaccounts", "ServiceAccount"), namespaced=True, judge=judge_existence),
        Kind(resource=_core("persistentvolumeclaims", "PersistentVolumeClaim"), namespaced=True, judge=_phase("Bound")),
        Kind(resource=_core("namespaces", "Namespace"), namespaced=False, judge=_phase("Active")),
        Kind(resource=_CRDS, namespaced=False, judge=judge_crd),
    )
}
"""Kinds that can be judged, by the word that recipes use. `Secret` is not among them: secrets are never read."""

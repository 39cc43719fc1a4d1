# SPDX-License-Identifier: Apache-2.0
"""What the operator keeps of the objects it lists: small projections of plain dicts; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from evidencerun.fingerprint.labels import frozen_labels
from evidencerun.kube import pod_ending
from evidencerun.snapshot.report import NodeFacts
from evidencerun.validation.storeapi import ContainerEnding
from evidencerun_operator import naming


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A Node object: its facts (`pool` is still empty) and all its labels, for the pools' selectors."""

    facts: NodeFacts
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHealth:
    """Whether a node can be expected to answer."""

    uid: str
    ready: bool
    since: str
    """When `ready` last changed."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildView:
    """An anchor, a DaemonSet or a Job of a run."""

    kind: str
    namespace: str
    name: str
    uid: str
    created_at: str
    deleting: bool
    data: Mapping[str, str]
    """Of a ConfigMap; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """A pod of a run."""

    name: str
    uid: str
    namespace: str
    owner: str
    """Name of the DaemonSet or Job that controls it."""
    component: str
    node: str
    phase: str
    ready: bool
    created_at: str
    scheduled_at: str
    deleting_since: str
    """`metadata.deletionTimestamp`: when its grace ends; empty while it lives."""
    blocked: tuple[str, str]
    """Reason and message of what keeps it from starting; empty texts if nothing is known."""
    ending: ContainerEnding | None
    """How its main container ended."""
    started_at: str
    """When its main container started; empty before."""
    uploads_over: bool
    """Whether its sidecar has ended."""

    @property
    def over(self) -> bool:
        """Whether nothing in it runs any more."""
        return self.phase in ("Succeeded", "Failed") or (self.ending is not None and self.uploads_over)


def _section(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def node_view(body: dict[str, Any]) -> NodeView:
    """Project a Node object (L0: the Node object's word, nothing more)."""
    meta, spec, status = _section(body, "metadata"), _section(body, "spec"), _section(body, "status")
    info = _section(status, "nodeInfo")
    labels = {str(key): str(value) for key, value in _section(meta, "labels").items()}
    capacity = {
        str(key): str(value)
        for key, value in sorted(_section(status, "capacity").items())
        if "/" in str(key) and not str(key).startswith("kubernetes.io/")
    }
    facts = NodeFacts(
        uid=str(meta.get("uid") or ""),
        name=str(meta.get("name") or ""),
        pool="",
        provider_id=str(spec.get("providerID") or ""),
        architecture=str(info.get("architecture") or ""),
        boot_id=str(info.get("bootID") or ""),
        machine_id=str(info.get("machineID") or ""),
        system_uuid=str(info.get("systemUUID") or ""),
        kernel_version=str(info.get("kernelVersion") or ""),
        os_image=str(info.get("osImage") or ""),
        operating_system=str(info.get("operatingSystem") or ""),
        container_runtime_version=str(info.get("containerRuntimeVersion") or ""),
        kubelet_version=str(info.get("kubeletVersion") or ""),
        ready=_condition(status, "Ready").get("status") == "True",
        unschedulable=bool(spec.get("unschedulable")),
        labels=frozen_labels(labels),
        capacity=capacity,
    )
    return NodeView(facts=facts, labels=labels)


def node_health(body: dict[str, Any]) -> tuple[str, NodeHealth]:
    """Project a Node object to its name and health."""
    meta = _section(body, "metadata")
    ready = _condition(_section(body, "status"), "Ready")
    health = NodeHealth(
        uid=str(meta.get("uid") or ""),
        ready=ready.get("status") == "True",
        since=str(ready.get("lastTransitionTime") or ""),
        message=str(ready.get("message") or ready.get("reason") or "it has no Ready condition"),
    )
    return str(meta.get("name") or ""), health


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = status.get("conditions")
    entries = conditions if isinstance(conditions, list) else []
    return next((entry for entry in entries if isinstance(entry, dict) and entry.get("type") == kind), {})


def child_view(kind: str, body: dict[str, Any]) -> ChildView:
    """Project an anchor, a DaemonSet or a Job."""
    meta = _section(body, "metadata")
    return ChildView(
        kind=kind,
        namespace=str(meta.get("namespace") or ""),
        name=str(meta.get("name") or ""),
        uid=str(meta.get("uid") or ""),
        created_at=str(meta.get("creationTimestamp") or ""),
        deleting=bool(meta.get("deletionTimestamp")),
        data={str(k): str(v) for k, v in _section(body, "data").items()},
    )


def pod_view(body: dict[str, Any]) -> PodView:
    """Project a pod; its main container is `validator`, `probe` or `deliver`, after its component."""
    meta, status = _section(body, "metadata"), _section(body, "status")
    component = str(_section(meta, "labels").get(naming.COMPONENT) or "")
    container = pod_ending.VALIDATOR if component == "check" else component
    owners = [owner for owner in meta.get("ownerReferences") or () if owner.get("controller")]
    return PodView(
        name=str(meta.get("name") or ""),
        uid=str(meta.get("uid") or ""),
        namespace=str(meta.get("namespace") or ""),
        owner=str(owners[0].get("name") or "") if owners else "",
        component=component,
        node=_node_of(_section(body, "spec")),
        phase=str(status.get("phase") or ""),
        ready=_condition(status, "Ready").get("status") == "True",
        created_at=str(meta.get("creationTimestamp") or ""),
        scheduled_at=_scheduled_at(status),
        deleting_since=str(meta.get("deletionTimestamp") or ""),
        blocked=pod_ending.never_started(body, container),
        ending=pod_ending.container_ending(body, container),
        started_at=_started_at(status, container),
        uploads_over=component != "check" or pod_ending.sidecar_ended(body),
    )


def _node_of(spec: Mapping[str, Any]) -> str:
    """Return the pod's node; for a DaemonSet's pod that is not scheduled yet, the one it is meant for."""
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = _section(_section(spec, "affinity"), "nodeAffinity")
    required = _section(affinity, "requiredDuringSchedulingIgnoredDuringExecution")
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and len(field.get("values") or ()) == 1:
                return str(field["values"][0])
    return ""


def _scheduled_at(status: Mapping[str, Any]) -> str:
    scheduled = _condition(status, "PodScheduled")
    return str(scheduled.get("lastTransitionTime") or "") if scheduled.get("status") == "True" else ""


def _started_at(status: Mapping[str, Any], container: str) -> str:
    for entry in status.get("containerStatuses") or ():
        if isinstance(entry, dict) and entry.get("name") == container:
            state = _section(entry, "state")
            moment = _section(state, "running").get("startedAt") or _section(state, "terminated").get("startedAt")
            return str(moment or "")
    return ""


_ORDINARY: Final = frozenset({"Unhealthy"})
"""Warnings of every pod that starts: its probes fail until it is up. They say nothing about what keeps it."""


def warning_view(body: dict[str, Any]) -> tuple[str, str, str]:
    """Project an Event of type Warning to moment, name of its object, and message; an ordinary one has no name."""
    subject, series = _section(body, "involvedObject"), _section(body, "series")
    moment = series.get("lastObservedTime") or body.get("lastTimestamp") or body.get("eventTime") or ""
    name = "" if body.get("reason") in _ORDINARY else str(subject.get("name") or "")
    return str(moment), name, str(body.get("message") or body.get("reason") or "")


def latest_warnings(rows: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Return name to message of the latest warning about it."""
    return {name: message for _, name, message in sorted(rows) if name}

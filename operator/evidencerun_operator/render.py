# SPDX-License-Identifier: Apache-2.0
"""The anchor ConfigMaps and the probe DaemonSets as plain dicts, and what all our pods share; pure, golden-tested."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

from evidencerun.canonical import canonical_json, sha256_hex
from evidencerun.validation.plan import Plan
from evidencerun.validation.spec import Access, Pool
from evidencerun.validation.storeapi import probe_audience
from evidencerun_operator import naming
from evidencerun_operator.naming import RunRef

Manifest = dict[str, Any]

USER: Final = 65532
PYTHON: Final = "/usr/bin/python3"
TOKEN_DIR: Final = "/var/run/evidencerun"  # noqa: S105 (a folder, no secret)
STORE_CA: Final = "EVIDENCERUN_STORE_CA"
RUNTIME_CLASS: Final = "nvidia"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What manifests take from the installation instead of from the plan."""

    store_url: str
    store_ca: str
    """PEM text. It is no part of an object's hash: a store that lost its volume has a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The object that owns another one in the same namespace."""

    api_version: str
    kind: str
    name: str
    uid: str


def hashed(manifest: Manifest) -> Manifest:
    """Return the manifest with its own digest in an annotation; an object of that name with another one is not ours."""
    bare = copy.deepcopy(manifest)
    for env in _all_env(bare):
        if env.get("name") == STORE_CA:
            env["value"] = ""
    digest = sha256_hex(canonical_json(bare))
    out = copy.deepcopy(manifest)
    out["metadata"]["annotations"] = {naming.SPEC_HASH: digest}
    return out


def _all_env(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [env for item in node for env in _all_env(item)]
    if not isinstance(node, dict):
        return []
    own = [env for env in node.get("env") or () if isinstance(env, dict)]
    return own + [env for value in node.values() for env in _all_env(value)]


def metadata(name: str, namespace: str, labels: dict[str, str], owner: Owner | None) -> Manifest:
    """Return an object's metadata; a foreign owner is never blocked from going."""
    meta: Manifest = {"name": name, "namespace": namespace, "labels": labels}
    if owner is not None:
        meta["ownerReferences"] = [
            {
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]
    return meta


def env(**values: str) -> list[Manifest]:
    """Return literal environment variables."""
    return [{"name": name, "value": value} for name, value in values.items()]


def store_env(plan: Plan, around: Surroundings) -> list[Manifest]:
    """Return what probe, sidecar and deliver have in common."""
    return env(
        EVIDENCERUN_STORE_URL=around.store_url,
        EVIDENCERUN_STORE_CA=around.store_ca,
        EVIDENCERUN_RUN_UID=plan.run.uid,
    )


def token_volume(name: str, audience: str) -> Manifest:
    """Return a volume with a pod-bound token for the store."""
    token = {"audience": audience, "expirationSeconds": 3600, "path": "token"}
    return {"name": name, "projected": {"sources": [{"serviceAccountToken": token}]}}


def scratch(name: str, size: str) -> Manifest:
    """Return an emptyDir with a limit."""
    return {"name": name, "emptyDir": {"sizeLimit": size}}


def mount(name: str, path: str, *, read_only: bool = False) -> Manifest:
    """Return a volume mount."""
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}


def exists_probe(path: str, **timing: int) -> Manifest:
    """Return a probe that is good once a file exists; the images have no shell."""
    code = f"import os,sys;sys.exit(not os.path.exists('{path}'))"
    return {"exec": {"command": [PYTHON, "-ISc", code]}, "timeoutSeconds": 5, **timing}


def unprivileged() -> Manifest:
    """Return the security context of every container but a privileged probe."""
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def pod_basics(account: str) -> Manifest:
    """Return what every pod of ours has."""
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def anchor(run: RunRef, namespace: str, *, data: dict[str, str]) -> Manifest:
    """Return the ConfigMap that owns the run's objects in a namespace: an owner must be in the same one.

    `data` keeps what was found out when it was made, so that a repeat cannot find out something else.
    """
    return hashed(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(naming.anchor_name(run.uid), namespace, naming.labels(run, "anchor"), None),
            "data": data,
        }
    )


def access_of(pool: Pool, runtime_classes: frozenset[str]) -> Access:
    """Return by which way the probes of a pool will reach the vendor's library."""
    if pool.access is Access.PRIVILEGED or (pool.access is Access.AUTO and pool.privileged):
        return Access.PRIVILEGED
    wanted = pool.access in (Access.AUTO, Access.RUNTIME_CLASS)
    if wanted and RUNTIME_CLASS in runtime_classes:
        return Access.RUNTIME_CLASS
    return Access.PCI_ONLY


def probe_daemon_set(plan: Plan, pool: Pool, access: Access, *, owner: Owner, around: Surroundings) -> Manifest:
    """Return the DaemonSet of a pool; `owner` is the anchor, its namespace is taken from the caller."""
    run = RunRef(uid=plan.run.uid, namespace=plan.run.namespace, name=plan.run.name)
    labels = naming.labels(run, "probe", pool=pool.name)
    name = naming.daemon_set_name(run.uid, pool.name)
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(name, "", labels, owner),
        "spec": {
            "selector": {"matchLabels": {naming.RUN_UID: run.uid, naming.POOL: pool.name}},
            # An operator of another version must not restart the wave.
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": 0,
            "template": {"metadata": {"labels": labels}, "spec": _probe_pod(plan, pool, access, around)},
        },
    }


def _probe_pod(plan: Plan, pool: Pool, access: Access, around: Surroundings) -> Manifest:
    pod: Manifest = {
        **pod_basics("evidence-probe"),
        "terminationGracePeriodSeconds": 5,
        "containers": [_probe_container(plan, access, around)],
        "volumes": [
            token_volume("token", probe_audience(plan.run.uid)),
            {"name": "os-release", "hostPath": {"path": "/etc/os-release", "type": "File"}},
            scratch("tmp", "16Mi"),
        ],
    }
    if pool.node_selector:
        pod["nodeSelector"] = dict(sorted(pool.node_selector.items()))
    if pool.tolerations:
        pod["tolerations"] = [_toleration(t.model_dump(by_alias=True)) for t in pool.tolerations]
    if access is Access.RUNTIME_CLASS:
        pod["runtimeClassName"] = RUNTIME_CLASS
    if access is Access.PRIVILEGED:
        pod["securityContext"] = {"runAsNonRoot": False, "runAsUser": 0}
    return pod


def _toleration(values: dict[str, str]) -> Manifest:
    return {key: value for key, value in values.items() if value}


def _probe_container(plan: Plan, access: Access, around: Surroundings) -> Manifest:
    variables = [
        *store_env(plan, around),
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        *env(
            EVIDENCERUN_TOKEN_FILE=f"{TOKEN_DIR}/token",
            EVIDENCERUN_ACCESS=access.value,
            EVIDENCERUN_NODES=str(len(plan.target_nodes)),
            EVIDENCERUN_DEADLINE=plan.deadline_time,
        ),
    ]
    if access is Access.RUNTIME_CLASS:
        variables += env(NVIDIA_VISIBLE_DEVICES="all", NVIDIA_DRIVER_CAPABILITIES="utility")
    return {
        "name": "probe",
        "image": plan.images.probe,
        "imagePullPolicy": "IfNotPresent",
        "command": [PYTHON, "-m", "evidencerun.probe.main"],
        "env": variables,
        "readinessProbe": exists_probe("/tmp/acked", periodSeconds=5),  # noqa: S108 (in the pod)
        "resources": {
            "requests": {"cpu": "20m", "memory": "64Mi"},
            "limits": {"memory": "256Mi", "ephemeral-storage": "64Mi"},
        },
        "securityContext": {"privileged": True} if access is Access.PRIVILEGED else unprivileged(),
        "volumeMounts": [
            mount("token", TOKEN_DIR, read_only=True),
            mount("os-release", "/host/etc/os-release", read_only=True),
            mount("tmp", "/tmp"),  # noqa: S108 (in the pod)
        ],
    }


def placed(manifest: Manifest, namespace: str) -> Manifest:
    """Return the manifest in its namespace, with its digest."""
    manifest["metadata"]["namespace"] = namespace
    return hashed(manifest)

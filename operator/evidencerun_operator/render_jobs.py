# SPDX-License-Identifier: Apache-2.0
"""The Jobs of checks and of delivery as plain dicts; pure, golden-tested."""

from __future__ import annotations

from typing import Final

from evidencerun.validation.duration import format_duration, parse_duration
from evidencerun.validation.plan import Plan
from evidencerun.validation.spec import CatalogEntry, Delivery, Rights
from evidencerun.validation.storeapi import BundleView, check_audience
from evidencerun_operator import naming
from evidencerun_operator.naming import RunRef
from evidencerun_operator.render import (
    PYTHON,
    TOKEN_DIR,
    Manifest,
    Owner,
    Surroundings,
    env,
    exists_probe,
    hashed,
    metadata,
    mount,
    pod_basics,
    scratch,
    store_env,
    token_volume,
    unprivileged,
)

GRACE_SECONDS: Final = 30
"""Between a check's timeout and the kubelet's deadline: the sidecar uploads in it."""
_KEPT_SECONDS: Final = 86_400
"""A Job that nobody deletes is gone after a day."""
_API_TOKEN_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 (a folder, no secret)
_TMP: Final = "/tmp"  # noqa: S108 (in the pod)
_ACCOUNTS: Final = {
    Rights.NONE: "evidence-check-none",
    Rights.AICR_READ: "evidence-check-aicr-read",
    Rights.AICR_WIDE: "evidence-check-aicr-wide",
}


def run_of(plan: Plan) -> RunRef:
    """Return the run that a plan belongs to."""
    return RunRef(uid=plan.run.uid, namespace=plan.run.namespace, name=plan.run.name)


def check_job(
    plan: Plan, entry: CatalogEntry, attempt: int, *, namespace: str, owner: Owner, around: Surroundings
) -> Manifest:
    """Return the Job of one attempt of a check; `owner` is the anchor in the checks' namespace."""
    run = run_of(plan)
    labels = naming.labels(run, "check", check=entry.name, attempt=str(attempt))
    timeout = parse_duration(entry.timeout)
    volumes = [
        scratch("data", "1Gi"),
        scratch("results", "256Mi"),
        scratch("tmp", "256Mi"),
        scratch("sidecar-tmp", "64Mi"),
        token_volume("token", check_audience(run.uid, entry.name, attempt)),
    ]
    pod: Manifest = {
        **pod_basics(_ACCOUNTS[entry.rights]),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        # Never in the Job: a Job's deadline deletes the pod together with its log.
        "activeDeadlineSeconds": int(timeout) + GRACE_SECONDS,
        "initContainers": [_sidecar(plan, entry, attempt, around)],
        "containers": [_validator(plan, entry, namespace)],
        "volumes": volumes + ([_api_token()] if entry.rights is not Rights.NONE else []),
    }
    return _job(naming.job_name(run.uid, entry.name, attempt), namespace, labels=labels, owner=owner, pod=pod)


def _job(name: str, namespace: str, *, labels: dict[str, str], owner: Owner, pod: Manifest) -> Manifest:
    return hashed(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata(name, namespace, labels, owner),
            "spec": {
                "backoffLimit": 0,
                "completions": 1,
                "parallelism": 1,
                "ttlSecondsAfterFinished": _KEPT_SECONDS,
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }
    )


def _sidecar(plan: Plan, entry: CatalogEntry, attempt: int, around: Surroundings) -> Manifest:
    variables = [
        *store_env(plan, around),
        *env(
            EVIDENCERUN_CHECK=entry.name,
            EVIDENCERUN_ATTEMPT=str(attempt),
            EVIDENCERUN_TOKEN_FILE=f"{TOKEN_DIR}/token",
            AICR_CHECK_TIMEOUT=format_duration(parse_duration(entry.timeout)),
        ),
    ]
    return {
        "name": "sidecar",
        "image": plan.images.probe,
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "command": [PYTHON, "-m", "evidencerun.sidecar.main"],
        "env": variables,
        "startupProbe": exists_probe(f"{_TMP}/ready", periodSeconds=1, failureThreshold=120),
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": unprivileged(),
        "volumeMounts": [
            mount("data", "/data"),
            mount("results", "/results"),
            mount("sidecar-tmp", _TMP),
            mount("token", TOKEN_DIR, read_only=True),
        ],
    }


def _validator(plan: Plan, entry: CatalogEntry, namespace: str) -> Manifest:
    ours = env(
        AICR_SNAPSHOT_PATH="/data/snapshot/snapshot.yaml",
        AICR_VALIDATION_PATH="/data/validation/validation.yaml",
        AICR_RECIPE_PATH="/data/recipe/recipe.yaml",
        AICR_VALIDATOR_NAME=entry.name,
        AICR_VALIDATOR_PHASE=entry.phase.value,
        AICR_RUN_ID=plan.run.uid,
        AICR_NAMESPACE=namespace,
        AICR_CHECK_TIMEOUT=format_duration(parse_duration(entry.timeout)),
        EVIDENCERUN_NODES_PATH="/data/nodes/nodes.json",
        EVIDENCERUN_RESULTS="/results",
    )
    reserved = {variable["name"] for variable in ours}
    extra = [{"name": e.name, "value": e.value} for e in entry.env if e.name not in reserved]
    container: Manifest = {
        "name": "validator",
        "image": entry.image,
        "imagePullPolicy": "IfNotPresent",
        "env": ours + extra,
        "resources": {
            "requests": {"cpu": entry.resources.cpu, "memory": entry.resources.memory},
            "limits": {"cpu": entry.resources.cpu, "memory": entry.resources.memory},
        },
        "securityContext": unprivileged(),
        "volumeMounts": [
            mount("data", "/data", read_only=True),
            mount("results", "/results"),
            mount("tmp", _TMP),
        ],
    }
    if entry.args:
        container["args"] = list(entry.args)
    if entry.rights is not Rights.NONE:
        container["volumeMounts"].append(mount("api-token", _API_TOKEN_DIR, read_only=True))
    return container


def _api_token() -> Manifest:
    """Return the API token as kubelet would mount it, but for the one container that may have it."""
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    return {"name": "api-token", "projected": {"sources": sources}}


def deliver_job(plan: Plan, delivery: Delivery, bundle: BundleView, *, owner: Owner, around: Surroundings) -> Manifest:
    """Return the Job that copies a sealed bundle to where the run asks for; it is owned by the run itself."""
    run = run_of(plan)
    labels = naming.labels(run, "deliver")
    volumes = [scratch("tmp", "1Gi")]
    mounts = [mount("tmp", _TMP)]
    if delivery.pvc is not None:
        volumes.append({"name": "pvc", "persistentVolumeClaim": {"claimName": delivery.pvc.claim_name}})
        mounts.append(mount("pvc", "/deliver"))
    if delivery.oci is not None and delivery.oci.secret_name:
        # Optional, so that the program starts and names the fault itself.
        secret = {"secretName": delivery.oci.secret_name, "optional": True}
        volumes.append({"name": "registry", "secret": secret})
        mounts.append(mount("registry", f"{TOKEN_DIR}/registry", read_only=True))
    pod: Manifest = {
        **pod_basics("default"),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5,
        "activeDeadlineSeconds": max(1, int(parse_duration(plan.policy_spec.limits.deliver))),
        "containers": [_deliverer(plan, delivery, bundle, around, mounts)],
        "volumes": volumes,
    }
    return _job(naming.deliver_name(run.uid), run.namespace, labels=labels, owner=owner, pod=pod)


def _deliverer(
    plan: Plan, delivery: Delivery, bundle: BundleView, around: Surroundings, mounts: list[Manifest]
) -> Manifest:
    oci = delivery.oci
    variables = [
        *store_env(plan, around),
        *env(
            EVIDENCERUN_ARCHIVE_DIGEST=bundle.archive_digest,
            EVIDENCERUN_MANIFEST_DIGEST=bundle.manifest_digest,
            EVIDENCERUN_INVENTORY_DIGEST=bundle.inventory_digest,
            EVIDENCERUN_LOGS_KEY=bundle.logs_key if delivery.logs else "",
            EVIDENCERUN_LOGS_DIGEST=bundle.logs_digest if delivery.logs else "",
            EVIDENCERUN_PVC_PATH=delivery.pvc.path if delivery.pvc else "",
            EVIDENCERUN_OCI_REPOSITORY=oci.repository if oci else "",
            EVIDENCERUN_OCI_SECRET=(oci.secret_name or "") if oci else "",
            EVIDENCERUN_OCI_PLAIN_HTTP="true" if oci and oci.plain_http else "false",
            EVIDENCERUN_RUN_NAME=plan.run.name,
            EVIDENCERUN_RECIPE_NAME=plan.recipe_name,
        ),
    ]
    return {
        "name": "deliver",
        "image": plan.images.evidencerun,
        "imagePullPolicy": "IfNotPresent",
        "command": [PYTHON, "-m", "evidencerun.deliver.main"],
        "env": variables,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": unprivileged(),
        "volumeMounts": mounts,
    }

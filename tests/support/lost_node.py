# SPDX-License-Identifier: Apache-2.0
"""Nodes of the local cluster that lose their power, and where the parts of the product stand meanwhile."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from disturbances import delete_pod, node_of_volume, pod_of, until_ready
from evidence_lab import CHECKS, SYSTEM

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
_ROAMING = "store-roaming"
_STORE = "statefulset/evidence-store"


@contextlib.contextmanager
def closed(cluster: Any, *nodes: str) -> Iterator[None]:
    """Let no further pod on these nodes, as long as the context lasts (DaemonSets' pods excepted)."""
    for node in nodes:
        cluster.kubectl("cordon", node)
    try:
        yield
    finally:
        for node in nodes:
            cluster.kubectl("uncordon", node)


def place(cluster: Any, component: str, node: str) -> dict[str, Any]:
    """Have a part of the product run on this node; returns its pod."""
    pod = until_ready(cluster, component)
    if pod["spec"]["nodeName"] != node:
        with closed(cluster, *(cluster.nodes() - {node})):
            pod = until_ready(cluster, component, other_than=delete_pod(cluster, component))
    assert pod["spec"]["nodeName"] == node
    return pod


def _ready(cluster: Any, name: str) -> bool:
    conditions = cluster.get("node", name)["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@contextlib.contextmanager
def power_cut(cluster: Any, node: str) -> Iterator[None]:
    """A node without power, which has it again afterwards and is ready."""
    number = node.removeprefix("node")
    cluster.manage("kill-node", number)
    try:
        cluster.wait_until(f"{node} is not ready", lambda: not _ready(cluster, node), timeout=60)
        yield
    finally:
        cluster.manage("start-node", number)
        cluster.wait_until(f"{node} is ready", lambda: _ready(cluster, node), timeout=120)


def running_gate(cluster: Any, uid: str) -> dict[str, Any]:
    """The pod of a run's trial check `gate` whose container runs; empty before that."""
    chosen = f"evidencerun.dev/run-uid={uid},evidencerun.dev/check=gate"
    for pod in cluster.get("pods", "-n", CHECKS, "-l", chosen)["items"]:
        for status in pod["status"].get("containerStatuses", []):
            if status["name"] == "validator" and "running" in status["state"]:
                found: dict[str, Any] = pod
                return found
    return {}


def given_up(cluster: Any, component: str, uid: str) -> bool:
    """Whether the component's pod of that uid is marked for deletion."""
    chosen = f"app.kubernetes.io/component={component}"
    pods = cluster.get("pods", "-n", SYSTEM, "-l", chosen)["items"]
    return any(pod["metadata"]["uid"] == uid and "deletionTimestamp" in pod["metadata"] for pod in pods)


def store_volume(cluster: Any) -> dict[str, Any]:
    """The volume of the store's claim."""
    claim = cluster.get("pvc", "-n", SYSTEM, "data-evidence-store-0")["spec"]["volumeName"]
    found: dict[str, Any] = cluster.get("pv", claim)
    return found


def _stand_still(cluster: Any) -> None:
    cluster.kubectl("scale", "-n", SYSTEM, _STORE, "--replicas=0")
    cluster.kubectl("wait", "pod", "-n", SYSTEM, "evidence-store-0", "--for=delete", "--timeout=90s", check=False)
    assert not pod_of(cluster, "store")


def _replace(cluster: Any, manifest: dict[str, Any]) -> None:
    """Make the StatefulSet anew in Helm's name, which would take no upgrade of an object of somebody else's."""
    cluster.kubectl("delete", "-n", SYSTEM, _STORE, "--wait=true", "--timeout=90s")
    words = ("apply", "--server-side", "--field-manager=helm", "-f", "-")
    cluster.kubectl(*words, stdin=json.dumps(manifest))
    until_ready(cluster, "store")


def _kept(manifest: dict[str, Any]) -> dict[str, Any]:
    """A StatefulSet as it was, without what the API server has added."""
    metadata = {name: manifest["metadata"][name] for name in ("name", "namespace", "labels", "annotations")}
    return {**{name: manifest[name] for name in ("apiVersion", "kind", "spec")}, "metadata": metadata}


def _roaming(manifest: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(manifest))
    del changed["spec"]["volumeClaimTemplates"]
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": _ROAMING}}
    changed["spec"]["template"]["spec"]["volumes"].append(volume)
    return changed


def _volume(path: Path) -> list[dict[str, Any]]:
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeMode": "Filesystem"}
    claim = {"namespace": SYSTEM, "name": _ROAMING}
    volume = {"capacity": {"storage": "1Gi"}, "hostPath": {"path": str(path)}, "claimRef": claim}
    resources = {"requests": {"storage": "1Gi"}}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": _ROAMING},
            "spec": {**common, **volume, "persistentVolumeReclaimPolicy": "Retain"},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": _ROAMING, "namespace": SYSTEM},
            "spec": {**common, "volumeName": _ROAMING, "resources": resources},
        },
    ]


@contextlib.contextmanager
def roaming_store(cluster: Any) -> Iterator[None]:
    """The store on a volume that is tied to no node, with a copy of what it holds; afterwards it is as it was.

    All nodes of the local cluster share the host's files, so that a folder of the host does what network storage does
    elsewhere, but for attaching and detaching.
    """
    volume = store_volume(cluster)
    state = Path(cluster.environment["KUBECONFIG"]).parent
    tied = state / "nodes" / node_of_volume(volume) / f"bind{volume['spec']['local']['path']}"
    folder = state / "roaming-volume"
    manifest = _kept(cluster.get("-n", SYSTEM, _STORE))
    _stand_still(cluster)
    try:
        cluster.manage("exec-node", node_of_volume(volume).removeprefix("node"), "--", "cp", "-a", tied, folder)
        cluster.apply(*_volume(folder))
        _replace(cluster, _roaming(manifest))
        yield
    finally:
        _stand_still(cluster)
        _replace(cluster, manifest)
        cluster.kubectl("delete", "pvc", "-n", SYSTEM, _ROAMING, "--ignore-not-found", "--wait=true")
        cluster.kubectl("delete", "pv", _ROAMING, "--ignore-not-found", "--wait=true")
        shutil.rmtree(folder, ignore_errors=True)

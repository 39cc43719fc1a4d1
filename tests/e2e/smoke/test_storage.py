# SPDX-License-Identifier: Apache-2.0
"""Claims on the default StorageClass: bound, written by one pod, read by another, offered again when released."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Cluster

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def claim(cluster: Cluster, namespace: str) -> str:
    """A claim of 100 MiB that names no StorageClass."""
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}},
        }
    )
    return "data"


@pytest.fixture
def with_claim(pod: Make, container: Make, claim: str) -> Make:
    """Make a non-root pod that has the claim at /data."""

    def make(name: str, script: str) -> dict[str, Any]:
        mounted = container("main", script, volumeMounts=[{"name": "data", "mountPath": "/data"}])
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
        group = {"fsGroup": 10001}
        return pod(name, script, containers=[mounted], volumes=[volume], securityContext=group)

    return make


def test_claim_is_written_by_one_pod_and_read_by_another(
    cluster: Cluster, namespace: str, with_claim: Make, output: Callable[[str], str]
) -> None:
    cluster.apply(with_claim("writer", "open('/data/note', 'w').write('kept')"))
    output("writer")
    bound = cluster.get("-n", namespace, "pvc", "data")
    assert bound["status"]["phase"] == "Bound"
    default = [
        item["metadata"]["name"]
        for item in cluster.get("storageclass")["items"]
        if item["metadata"].get("annotations", {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    assert [bound["spec"]["storageClassName"]] == default

    cluster.apply(with_claim("reader", "print(open('/data/note').read())"))
    assert output("reader") == "kept\n"


def test_released_volume_is_emptied_and_offered_again(
    cluster: Cluster, namespace: str, with_claim: Make, output: Callable[[str], str]
) -> None:
    if cluster.flavour != "local":
        pytest.skip("only the local cluster has static volumes")
    cluster.apply(with_claim("writer", "open('/data/note', 'w').write('secret')"))
    output("writer")
    name = cluster.get("-n", namespace, "pvc", "data")["spec"]["volumeName"]
    first = cluster.get("pv", name)["metadata"]["uid"]
    cluster.kubectl("-n", namespace, "delete", "pod/writer", "pvc/data", "--timeout=60s")

    def offered_again() -> bool:
        found = cluster.kubectl("get", "pv", name, "-o", "jsonpath={.metadata.uid} {.status.phase}", check=False)
        uid, _, phase = found.stdout.partition(" ")
        return uid != first and phase == "Available"

    cluster.wait_until(f"volume {name} is Available again", offered_again)
    number = name.split("-")[1].removeprefix("node")
    listing = cluster.manage("exec-node", number, "--", "ls", f"/var/lib/evidencerun/volumes/{name}")
    assert listing == ""

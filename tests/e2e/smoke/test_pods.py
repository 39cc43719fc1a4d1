# SPDX-License-Identifier: Apache-2.0
"""What a check's pod stands on: the sidecar that gates it, its log after a kill, a DaemonSet on every node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.e2e.conftest import Cluster

Make = Callable[..., dict[str, Any]]
SLEEP = "import time; time.sleep(3600)"
READY = "import os, sys; sys.exit(not os.path.exists('/shared/ready'))"


def _sidecar(container: Make) -> dict[str, Any]:
    probe = {"exec": {"command": ["/usr/bin/python3", "-ISc", READY]}, "periodSeconds": 1, "failureThreshold": 120}
    return container(
        "sidecar",
        SLEEP,
        restartPolicy="Always",
        startupProbe=probe,
        volumeMounts=[{"name": "shared", "mountPath": "/shared"}],
    )


def test_startup_probe_of_a_native_sidecar_gates_the_main_container(
    cluster: Cluster, namespace: str, pod: Make, container: Make, output: Callable[[str], str]
) -> None:
    gated = pod(
        "gated", "print('main ran')", initContainers=[_sidecar(container)], volumes=[{"name": "shared", "emptyDir": {}}]
    )
    cluster.apply(gated)

    def status() -> dict[str, Any]:
        answer: dict[str, Any] = cluster.get("-n", namespace, "pod", "gated")["status"]
        return answer

    cluster.wait_until(
        "the sidecar runs",
        lambda: "running" in status().get("initContainerStatuses", [{"state": {}}])[0]["state"],
    )
    held = status()
    assert held["initContainerStatuses"][0]["started"] is False
    assert held["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}

    touch = "open('/shared/ready', 'w').close()"
    cluster.kubectl("-n", namespace, "exec", "gated", "-c", "sidecar", "--", "/usr/bin/python3", "-c", touch)
    assert output("gated") == "main ran\n"
    ended = status()["initContainerStatuses"][0]
    assert "terminated" in ended["state"], "the sidecar must end after the main container"


def test_log_of_an_oom_killed_container_is_kept(cluster: Cluster, namespace: str, pod: Make, container: Make) -> None:
    script = "print('before the kill'); hog = bytearray(200_000_000); hog[::4096] = b'x' * len(hog[::4096])"
    limited = container("main", script, resources={"limits": {"memory": "50Mi"}})
    cluster.apply(pod("hog", script, containers=[limited]))

    def terminated() -> Any:
        statuses = cluster.get("-n", namespace, "pod", "hog")["status"].get("containerStatuses", [])
        return statuses and statuses[0]["state"].get("terminated")

    ending = cluster.wait_until("the container is killed", terminated)
    assert (ending["reason"], ending["exitCode"]) == ("OOMKilled", 137)
    assert cluster.kubectl("-n", namespace, "logs", "hog").stdout == "before the kill\n"


def test_daemonset_runs_on_every_node(cluster: Cluster, namespace: str, container: Make) -> None:
    labels = {"app": "everywhere"}
    node_name = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    script = "import os, time; print(os.environ['NODE_NAME']); time.sleep(3600)"
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "everywhere", "namespace": namespace},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "tolerations": [{"operator": "Exists"}],
                        "containers": [container("main", script, env=[node_name])],
                    },
                },
            },
        }
    )
    cluster.kubectl("-n", namespace, "rollout", "status", "daemonset/everywhere", "--timeout=60s")
    logs = cluster.kubectl("-n", namespace, "logs", "-l", "app=everywhere", "--tail=-1").stdout
    assert set(logs.split()) == cluster.nodes()
    assert len(logs.split()) == len(cluster.nodes())

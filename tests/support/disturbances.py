# SPDX-License-Identifier: Apache-2.0
"""What tests do to a running product: hold a run in a state, delete and kill its parts, stop processes for a while."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evidence_lab import RUNS, SYSTEM

HOLD = "e2e.evidencerun.dev/hold"
_GATE = "e2e-hold-phase"


def _objects() -> list[dict[str, Any]]:
    """A policy of the API server that denies a run's status to leave the phase which its annotation names."""
    rule = (
        f"!has(object.metadata.annotations) || !('{HOLD}' in object.metadata.annotations)"
        " || !has(oldObject.status) || !has(oldObject.status.phase)"
        f" || oldObject.status.phase != object.metadata.annotations['{HOLD}']"
        " || object.status.phase == oldObject.status.phase"
    )
    group = "admissionregistration.k8s.io/v1"
    resources = {"apiGroups": ["evidencerun.dev"], "apiVersions": ["*"], "operations": ["UPDATE"]}
    policy = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": _GATE},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{**resources, "resources": ["evidenceruns/status"]}]},
            "validations": [{"expression": rule, "message": "held by a test"}],
        },
    }
    binding = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": _GATE},
        "spec": {"policyName": _GATE, "validationActions": ["Deny"]},
    }
    return [policy, binding]


@contextlib.contextmanager
def holding(cluster: Any) -> Iterator[None]:
    """Let `hold` work, as long as the context lasts."""
    cluster.apply(*_objects())
    try:
        yield
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            cluster.kubectl("delete", kind, _GATE, "--ignore-not-found")


def hold(cluster: Any, name: str, phase: str) -> None:
    """Keep the run's status in `phase` once it is there; "" lets it go on."""
    cluster.kubectl("annotate", "evr", "-n", RUNS, name, "--overwrite", f"{HOLD}={phase}")


def holds(cluster: Any, name: str) -> bool:
    """Whether the API server denies the run, which is held in its present phase, to leave it (tried dry)."""
    patch = '{"status":{"phase":"Elsewhere"}}'
    words = ("patch", "evr", "-n", RUNS, name, "--subresource=status", "--type=merge", "-p", patch, "--dry-run=server")
    done = cluster.kubectl(*words, check=False)
    return "held by a test" in done.stderr


def pod_of(cluster: Any, component: str) -> dict[str, Any]:
    """The pod of operator, store or sealer that is not being deleted; empty if there is none."""
    selector = f"app.kubernetes.io/name=evidencerun,app.kubernetes.io/component={component}"
    pods = cluster.get("pods", "-n", SYSTEM, "-l", selector)["items"]
    return next((pod for pod in pods if "deletionTimestamp" not in pod["metadata"]), {})


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def until_ready(cluster: Any, component: str, *, other_than: str = "", timeout: float = 120) -> dict[str, Any]:
    """Wait for a ready pod of the component, another one than that of the uid."""

    def look() -> dict[str, Any]:
        pod = pod_of(cluster, component)
        return pod if _ready(pod) and pod["metadata"]["uid"] != other_than else {}

    found: dict[str, Any] = cluster.wait_until(f"{component} is ready", look, timeout=timeout)
    return found


def delete_pod(cluster: Any, component: str, *, force: bool = False) -> str:
    """Delete the component's pod, with `force` without any grace, and return its uid."""
    pod = pod_of(cluster, component)
    words = ["delete", "pod", "-n", SYSTEM, pod["metadata"]["name"], "--wait=false"]
    cluster.kubectl(*words, *(["--grace-period=0", "--force"] if force else []))
    return str(pod["metadata"]["uid"])


def processes(pod_uid: str) -> list[int]:
    """Ids of the processes of a pod on this machine, but for its pause container, by its control group."""
    marks = (pod_uid, pod_uid.replace("-", "_"))
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            groups, words = (place / "cgroup").read_text(), (place / "cmdline").read_bytes()
            if any(mark in groups for mark in marks) and b"python" in words:
                found.append(int(place.name))
    return sorted(found)


def kill_process(cluster: Any, component: str) -> None:
    """kill -9 of the component's process inside its pod; the kubelet starts the container again."""
    pod = pod_of(cluster, component)
    found = processes(pod["metadata"]["uid"])
    if not found:
        raise AssertionError(f"{component} has no process on this machine")
    for number in found:
        os.kill(number, signal.SIGKILL)

    def restarted() -> bool:
        now = pod_of(cluster, component)
        before, after = (each["status"]["containerStatuses"][0]["restartCount"] for each in (pod, now))
        return bool(after > before and _ready(now))

    cluster.wait_until(f"{component} runs again", restarted, timeout=120)


@contextlib.contextmanager
def stopped(*numbers: int) -> Iterator[None]:
    """Stop processes (SIGSTOP) as long as the context lasts: they hold their connections and answer nothing."""
    for number in numbers:
        os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        for number in numbers:
            os.kill(number, signal.SIGCONT)


def program(cluster: Any, name: str) -> int:
    """The process id of a program of the local cluster, such as kube-apiserver."""
    record = Path(cluster.environment["KUBECONFIG"]).parent / "run" / name
    return int(record.read_text(encoding="ascii").split()[0])


def scale(cluster: Any, deployment: str, replicas: int) -> None:
    """Scale a Deployment of the product and wait until as many pods are ready, or none is left."""
    cluster.kubectl("scale", "-n", SYSTEM, f"deployment/{deployment}", f"--replicas={replicas}")
    component = deployment.removeprefix("evidence-")
    if replicas:
        until_ready(cluster, component)
    else:
        selector = f"app.kubernetes.io/component={component}"
        words = ("wait", "pod", "-n", SYSTEM, "-l", selector, "--for=delete", "--timeout=60s")
        cluster.kubectl(*words, check=False)


def open_gate(cluster: Any, namespace: str, pod: str) -> None:
    """Let the trial check `gate` come to its end."""
    program_text = "open('/tmp/go', 'w').close()"
    cluster.kubectl("exec", "-n", namespace, pod, "-c", "validator", "--", "/usr/bin/python3", "-c", program_text)


def set_finalizers(cluster: Any, what: str, namespace: str, *names: str) -> None:
    """Give an object these finalizers, or none; an object that is gone has none."""
    patch = '{"metadata":{"finalizers":[' + ",".join(f'"{name}"' for name in names) + "]}}"
    done = cluster.kubectl("patch", "-n", namespace, what, "--type=merge", "-p", patch, check=False)
    if done.returncode and not re.search(r"not found", done.stderr):
        raise AssertionError(done.stderr)


def spare_node(cluster: Any) -> str:
    """A node that holds neither a volume of the product nor, if there is a choice, one of its pods."""
    busy = {pod["spec"].get("nodeName") for pod in cluster.get("pods", "-n", SYSTEM)["items"]}
    volumes = cluster.get("persistentvolumes")["items"]
    ours = [volume for volume in volumes if volume["spec"].get("claimRef", {}).get("namespace") == SYSTEM]
    tied = {node_of_volume(volume) for volume in ours}
    free = cluster.nodes() - tied
    return str(min(free - busy, default=min(free)))


def move_away(cluster: Any, node: str) -> None:
    """Have no part of the product on this node: a part that is lost with it would be replaced minutes later."""
    cluster.kubectl("cordon", node)
    try:
        for component in ("operator", "store", "sealer"):
            pod = pod_of(cluster, component)
            if pod["spec"].get("nodeName") == node:
                until_ready(cluster, component, other_than=delete_pod(cluster, component))
    finally:
        cluster.kubectl("uncordon", node)


def node_of_volume(volume: dict[str, Any]) -> str:
    """The node to which a local volume is tied; empty if it is not tied to one."""
    terms = volume["spec"].get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms", [])
    values = [value for term in terms for rule in term.get("matchExpressions", []) for value in rule["values"]]
    return str(values[0]) if len(values) == 1 else ""


@contextlib.contextmanager
def no_probe_on(cluster: Any, node: str) -> Iterator[Any]:
    """Keep probes of policies without tolerations off a node; yields what lets them on it before the end."""
    words = ("taint", "node", node, "e2e.evidencerun.dev/no-probe=e2e:NoSchedule")

    def let_on() -> None:
        cluster.kubectl(*words[:-1], words[-1] + "-", check=False)

    cluster.kubectl(*words)
    try:
        yield let_on
    finally:
        let_on()

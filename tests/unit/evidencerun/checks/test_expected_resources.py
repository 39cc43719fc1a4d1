# SPDX-License-Identifier: Apache-2.0
"""Check expected-resources, judged on objects as the API gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from evidencerun.bundle.check_results import read_images
from evidencerun.checks.checkresult import Ending
from evidencerun.checks.expected_resources import Inspection, Outcome, details, inspect, judge
from evidencerun.checks.readiness import KINDS, judge_deployment
from evidencerun.checks.workloadimages import images_list, selector_text
from evidencerun.errors import ClusterError, InputError
from evidencerun.kube.base import Object, Resource, http_fault
from evidencerun.recipe import Component, ExpectedResource

DIGEST = "registry.example.com/web@sha256:" + "1" * 64


@dataclass
class FakeCluster:
    """Objects by kind, namespace and name; `refuse` holds HTTP statuses by kind."""

    objects: list[Object] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def get(self, resource: Resource, name: str, *, namespace: str = "") -> Object:
        path = resource.path(namespace=namespace, name=name)
        self.asked.append(path)
        self._refuse(resource, path)
        for obj in self.objects:
            metadata = obj["metadata"]
            if (obj["kind"], metadata["name"], metadata.get("namespace", "")) == (resource.kind, name, namespace):
                return {key: value for key, value in obj.items() if key != "kind"}
        raise http_fault(status=404, reason="NotFound", message="not found", where=path)

    def list(self, resource: Resource, *, namespace: str, label_selector: str) -> Iterator[Object]:
        self._refuse(resource, resource.path(namespace=namespace))
        wanted = dict(part.split("=") for part in label_selector.split(","))
        for obj in self.objects:
            metadata = obj["metadata"]
            labels = metadata.get("labels", {})
            if (
                obj["kind"] == resource.kind
                and metadata.get("namespace") == namespace
                and wanted.items() <= labels.items()
            ):
                yield obj

    def _refuse(self, resource: Resource, path: str) -> None:
        if resource.kind in self.refuse:
            raise http_fault(status=self.refuse[resource.kind], reason="Forbidden", message="no rights", where=path)


def namespace(name: str = "demo", phase: str = "Active") -> Object:
    return {"kind": "Namespace", "metadata": {"name": name}, "status": {"phase": phase}}


def deployment(**status: Any) -> Object:
    state = {
        "observedGeneration": 2,
        "replicas": 2,
        "availableReplicas": 2,
        "updatedReplicas": 2,
        "conditions": [{"type": "Available", "status": "True"}],
    }
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "demo", "uid": "d1", "generation": 2},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}},
        "status": state | status,
    }


def owned(kind: str, name: str, owner: str, *, controller: bool = True, **more: Any) -> Object:
    metadata = {
        "name": name,
        "namespace": "demo",
        "uid": f"uid-{name}",
        "labels": {"app": "web"},
        "ownerReferences": [{"uid": owner, "controller": controller}],
    }
    return {"kind": kind, "metadata": metadata, **more}


def pod(name: str, owner: str, image_id: str = DIGEST, *, controller: bool = True) -> Object:
    return owned(
        "Pod",
        name,
        owner,
        controller=controller,
        spec={"containers": [{"name": "web", "image": "registry.example.com/web:1"}]},
        status={"containerStatuses": [{"name": "web", "imageID": image_id}]},
    )


def component(*resources: ExpectedResource, **more: Any) -> Component:
    return Component(**{"name": "demo-web", "namespace": "demo", "expected_resources": resources, **more})


WEB = ExpectedResource(kind="Deployment", name="web", namespace="demo")


def test_a_ready_deployment_passes_and_its_images_are_recorded() -> None:
    objects = [
        namespace(),
        deployment(),
        owned("ReplicaSet", "web-1", "d1"),
        owned("ReplicaSet", "other-1", "somebody"),
        pod("a", "uid-web-1"),
        pod("b", "uid-web-1"),
        pod("c", "uid-other-1"),
        pod("d", "uid-web-1", image_id=""),
        pod("e", "uid-web-1", controller=False),
    ]
    inspection = inspect([component(WEB)], FakeCluster(objects))
    result = judge(inspection)
    assert (result.status, result.message) == (Ending.PASSED, "all 2 expected objects are ready")
    assert result.lines[0] == "Namespace demo (demo-web): ready, expected Active, found Active"
    images = images_list(inspection.images)
    assert [(image["imageID"], image["pods"]) for image in images] == [("", 1), (DIGEST, 2)]
    notes: list[str] = []
    read = read_images({"images.json": json.dumps(images).encode()}, notes)
    assert [image.image_id for image in read] == ["", DIGEST]
    assert notes == []
    assert images[1] == {
        "component": "demo-web",
        "kind": "Deployment",
        "namespace": "demo",
        "name": "web",
        "container": "web",
        "image": "registry.example.com/web:1",
        "imageID": DIGEST,
        "pods": 2,
    }


def test_a_rollout_that_is_stuck_while_old_pods_serve_is_not_ready() -> None:
    judgement = judge_deployment(deployment(replicas=3, availableReplicas=2, updatedReplicas=2))
    assert not judgement.ready
    assert "1 of an older template" in judgement.found


def test_the_bundle_reads_the_images_that_the_check_writes() -> None:
    objects = [deployment(), owned("ReplicaSet", "w", "d1"), pod("a", "uid-w")]
    inspection = inspect([component(WEB)], FakeCluster(objects))
    notes: list[str] = []
    read = read_images({"images.json": json.dumps(images_list(inspection.images)).encode()}, notes)
    assert notes == []
    assert [(image.name, image.image_id) for image in read] == [("web", DIGEST)]


def test_no_enabled_component_is_a_stated_skip() -> None:
    result = judge(inspect([component(WEB, enabled=False)], FakeCluster()))
    assert result.status is Ending.SKIPPED
    assert result.exit_code == 2
    assert result.extra == {"skipReason": "nothing-declared"}
    assert "nothing-declared" in result.message


def test_an_enabled_component_that_declares_nothing_does_not_pass() -> None:
    result = judge(inspect([component()], FakeCluster([namespace()])))
    assert result.status is Ending.FAILED
    assert "component demo-web" in result.message
    assert "nothing was proven" in result.message


def test_a_missing_object_is_named() -> None:
    result = judge(inspect([component(WEB)], FakeCluster([namespace()])))
    assert result.status is Ending.FAILED
    assert result.message.splitlines() == [
        "1 of 2 expected objects are not ready",
        "- Deployment demo/web (demo-web): missing, expected an object of this name, found none",
    ]


def test_a_namespace_that_is_going_away_is_not_active() -> None:
    result = judge(inspect([component(WEB)], FakeCluster([namespace(phase="Terminating"), deployment()])))
    assert "Namespace demo (demo-web): not-ready, expected Active, found Terminating" in result.message


def test_each_namespace_is_looked_at_once() -> None:
    cluster = FakeCluster([namespace(), namespace("other"), deployment()])
    elsewhere = ExpectedResource(kind="Service", name="s", namespace="other")
    inspect([component(WEB, WEB, elsewhere)], cluster)
    assert [path for path in cluster.asked if "/namespaces/" in path and path.count("/") == 4] == [
        "/api/v1/namespaces/demo",
        "/api/v1/namespaces/other",
    ]


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({"availableReplicas": 1}, "1 available, 2 updated"),
        ({"updatedReplicas": 1}, "2 available, 1 updated"),
        ({"observedGeneration": 1}, "status of generation 1, spec of generation 2"),
        ({"conditions": []}, "condition Available is absent"),
        ({"conditions": [{"type": "Available", "status": "False"}]}, "condition Available is False"),
    ],
)
def test_a_deployment_that_is_not_ready_says_why(status: dict[str, Any], found: str) -> None:
    judgement = KINDS["Deployment"].judge(deployment(**status))
    assert not judgement.ready
    assert found in judgement.found


def test_a_workload_scaled_to_zero_proves_nothing() -> None:
    obj = deployment(availableReplicas=0, updatedReplicas=0)
    obj["spec"]["replicas"] = 0
    judgement = KINDS["Deployment"].judge(obj)
    assert (judgement.ready, judgement.found) == (False, "scaled to 0 replicas")


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({"desiredNumberScheduled": 3, "numberReady": 3, "updatedNumberScheduled": 3}, True),
        ({"desiredNumberScheduled": 3, "numberReady": 2, "updatedNumberScheduled": 3}, False),
        ({"desiredNumberScheduled": 3, "numberReady": 3, "updatedNumberScheduled": 1}, False),
        ({"desiredNumberScheduled": 0, "numberReady": 0, "updatedNumberScheduled": 0}, False),
        ({}, False),
    ],
)
def test_daemon_sets(status: dict[str, int], ready: bool) -> None:
    assert KINDS["DaemonSet"].judge({"metadata": {}, "status": status}).ready is ready


@pytest.mark.parametrize(("observed", "ready"), [(1, False), (2, True), (3, True)])
def test_a_daemon_set_whose_status_is_of_an_older_spec_is_not_ready(observed: int, ready: bool) -> None:
    status = {"desiredNumberScheduled": 1, "numberReady": 1, "updatedNumberScheduled": 1}
    obj = {"metadata": {"generation": 2}, "status": status | {"observedGeneration": observed}}
    assert KINDS["DaemonSet"].judge(obj).ready is ready


@pytest.mark.parametrize(
    ("kind", "obj", "ready"),
    [
        ("StatefulSet", {"spec": {"replicas": 1}, "status": {"readyReplicas": 1, "updatedReplicas": 1}}, True),
        ("StatefulSet", {"spec": {"replicas": 2}, "status": {"readyReplicas": 1, "updatedReplicas": 2}}, False),
        ("ReplicaSet", {"spec": {"replicas": 1}, "status": {"readyReplicas": 1, "fullyLabeledReplicas": 1}}, True),
        ("Job", {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}, True),
        ("Job", {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimit"}]}}, False),
        ("Job", {"status": {"succeeded": 1}}, False),
        ("Pod", {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}, True),
        ("Pod", {"status": {"phase": "Running"}}, False),
        ("PersistentVolumeClaim", {"status": {"phase": "Bound"}}, True),
        ("PersistentVolumeClaim", {"status": {"phase": "Pending"}}, False),
        ("CustomResourceDefinition", {"status": {"conditions": [{"type": "Established", "status": "True"}]}}, True),
        ("CustomResourceDefinition", {"status": {}}, False),
        ("ConfigMap", {"metadata": {"name": "x"}}, True),
        ("Service", {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, False),
        ("ServiceAccount", {}, True),
        ("CronJob", {}, True),
        ("Deployment", {}, False),
        ("Deployment", {"spec": "odd", "status": [], "metadata": None}, False),
    ],
)
def test_other_kinds(kind: str, obj: Object, ready: bool) -> None:
    assert KINDS[kind].judge(obj).ready is ready


@pytest.mark.parametrize(
    ("kind", "words"), [("ClusterPolicy", "kind ClusterPolicy cannot be judged"), ("Secret", "never read secrets")]
)
def test_kinds_that_cannot_be_judged_do_not_pass(kind: str, words: str) -> None:
    cluster = FakeCluster([namespace()])
    result = judge(inspect([component(ExpectedResource(kind=kind, name="x"))], cluster))
    assert result.status is Ending.OTHER
    assert result.message.startswith("1 of 2 expected objects cannot be judged\n")
    assert f"{kind} demo/x" in result.message
    assert words in result.message
    assert not [path for path in cluster.asked if "secrets" in path]


def test_a_missing_object_fails_the_check_beside_one_that_cannot_be_judged() -> None:
    wanted = [ExpectedResource(kind=kind, name="x") for kind in ("Secret", "ConfigMap")]
    result = judge(inspect([component(*wanted)], FakeCluster([namespace()])))
    assert result.status is Ending.FAILED
    head = "1 of 3 expected objects are not ready; 1 of 3 expected objects cannot be judged"
    assert result.message.splitlines()[0] == head


def test_a_namespaced_kind_without_namespace_cannot_be_judged() -> None:
    found = inspect([component(ExpectedResource(kind="Service", name="x"), namespace="")], FakeCluster())
    assert [finding.outcome for finding in found.findings] == [Outcome.CANNOT_JUDGE]


def test_a_cluster_scoped_kind_needs_no_namespace() -> None:
    crd = {
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "x.example.com"},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }
    wanted = ExpectedResource(kind="CustomResourceDefinition", name="x.example.com")
    assert judge(inspect([component(wanted)], FakeCluster([namespace(), crd]))).status is Ending.PASSED


@pytest.mark.parametrize("name", ["../secrets/x", "a/b", "x?y", ".."])
def test_names_that_climb_out_of_their_path_are_refused(name: str) -> None:
    cluster = FakeCluster([namespace()])
    result = judge(inspect([component(ExpectedResource(kind="ConfigMap", name=name))], cluster))
    assert "cannot-judge" in result.message
    assert cluster.asked == ["/api/v1/namespaces/demo"]


@pytest.mark.parametrize("kind", ["Deployment", "Namespace", "Pod", "ReplicaSet"])
def test_a_missing_right_is_a_failure_to_look(kind: str) -> None:
    cluster = FakeCluster([namespace(), deployment()], refuse={kind: 403})
    with pytest.raises(ClusterError) as caught:
        inspect([component(WEB)], cluster)
    assert caught.value.status == 403


def test_more_resources_than_are_looked_at_is_an_error() -> None:
    with pytest.raises(InputError) as caught:
        inspect([component(*[WEB] * 2001)], FakeCluster())
    assert caught.value.code == "E7702"


def test_details_hold_every_finding() -> None:
    inspection = inspect([component(WEB)], FakeCluster([namespace(), deployment()]))
    assert [item["outcome"] for item in details(inspection)["items"]] == ["ready", "ready"]
    assert details(Inspection()) == {
        "schema": "https://evidencerun.dev/schemas/check-details/v1",
        "check": "expected-resources",
        "items": [],
    }


def test_selectors_become_text() -> None:
    selector = {
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["x", "y"]},
            {"key": "d", "operator": "NotIn", "values": ["z"]},
            {"key": "e", "operator": "Exists"},
            {"key": "f", "operator": "DoesNotExist"},
        ],
    }
    assert selector_text(selector) == "a=1,b=2,c in (x,y),d notin (z),e,!f"

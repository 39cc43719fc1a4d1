# SPDX-License-Identifier: Apache-2.0
"""`evr run`: what it accepts, and what it does when the run exists already. The cluster is a fake."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evidencerun.cli import app
from evidencerun.cli.applied import LAST_APPLIED
from evidencerun.cli.cmd_run import create, read_manifest
from evidencerun.errors import ClusterError, InputError
from evidencerun.kube.base import http_fault
from evidencerun.kube.sync import KubeconfigCluster

GOOD = b"""
apiVersion: evidencerun.dev/v1alpha1
kind: EvidenceRun
metadata: {name: demo}
spec: {recipe: {configMap: {name: recipe}}}
"""


class FakeCluster:
    """Answers as the API server does for runs; a fake, the real one is used by the end-to-end tests."""

    def __init__(self, *, fault: ClusterError | None = None, existing: dict[str, Any] | None = None) -> None:
        self.fault = fault
        self.existing = existing
        self.created: list[tuple[str, dict[str, Any]]] = []

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.fault:
            raise self.fault
        self.created.append((path, body))
        return body

    def get(self, path: str) -> dict[str, Any]:
        assert self.existing is not None
        return self.existing


def fault(status: int, message: str = "said the API") -> ClusterError:
    return http_fault(status=status, reason="", message=message, where="POST runs")


def test_the_run_goes_to_the_chosen_namespace():
    cluster = FakeCluster()
    create(cluster, "evidence", read_manifest(GOOD, where="run.yaml"))
    path, body = cluster.created[0]
    assert path == "/apis/evidencerun.dev/v1alpha1/namespaces/evidence/evidenceruns"
    annotations = body["metadata"].pop("annotations")
    assert body["metadata"] == {"name": "demo", "namespace": "evidence"}
    assert json.loads(annotations[LAST_APPLIED])["metadata"]["namespace"] == "evidence"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"- a list", "run.yaml"),
        (GOOD.replace(b"v1alpha1", b"v1"), "run.yaml: apiVersion"),
        (GOOD.replace(b"EvidenceRun", b"ConfigMap"), "run.yaml: kind"),
        (GOOD.replace(b"name: demo", b"namespace: x"), "run.yaml: metadata.name"),
    ],
    ids=["list", "api-version", "kind", "no-name"],
)
def test_another_document_is_refused_with_its_place(text: bytes, place: str):
    with pytest.raises(InputError) as caught:
        read_manifest(text, where="run.yaml")
    assert caught.value.where == place
    assert caught.value.fix


def test_two_documents_are_refused():
    with pytest.raises(InputError) as caught:
        read_manifest(GOOD + b"---\n" + GOOD, where="run.yaml")
    assert caught.value.fix == "kubectl apply -f run.yaml"


def test_a_namespace_that_does_not_exist_is_told_from_a_cluster_without_our_kinds():
    with pytest.raises(InputError, match="namespace evidence does not exist"):
        create(
            FakeCluster(fault=fault(404, 'namespaces "evidence" not found')),
            "evidence",
            read_manifest(GOOD, where="-"),
        )
    with pytest.raises(ClusterError, match="the cluster does not know EvidenceRun") as caught:
        create(FakeCluster(fault=fault(404, "404 page not found")), "evidence", read_manifest(GOOD, where="-"))
    assert caught.value.fix.startswith("helm install")


SPEC = {"recipe": {"configMap": {"name": "recipe"}}}


def again(spec: dict[str, Any], text: bytes = GOOD) -> tuple[dict[str, Any], bool]:
    """Create the run while one of its name exists with this spec."""
    cluster = FakeCluster(fault=fault(409), existing={"metadata": {"name": "demo"}, "spec": spec})
    return create(cluster, "evidence", read_manifest(text, where="-"))


@pytest.mark.parametrize("spec", [SPEC, {**SPEC, "cancel": True}], ids=["same", "cancelled since"])
def test_the_same_run_again_is_followed(spec: dict[str, Any]):
    found, fresh = again(spec)
    assert found["spec"] is spec
    assert not fresh


CHANGED = {
    "changed": ({"recipe": {"inline": "x"}}, GOOD, "spec.recipe"),
    "taken-out": ({**SPEC, "deadline": "2h", "logs": "bundled"}, GOOD, "spec.deadline, spec.logs"),
    "added": (SPEC, GOOD.replace(b"spec: {", b"spec: {deadline: 2h, "), "spec.deadline"),
    "cancel": (SPEC, GOOD.replace(b"spec: {", b"spec: {cancel: true, "), "spec.cancel"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_another_spec_under_the_same_name_is_refused_by_field(name: str):
    spec, text, where = CHANGED[name]
    with pytest.raises(InputError) as caught:
        again(spec, text)
    assert caught.value.where == where
    assert "kubectl delete evr -n evidence demo" in caught.value.fix


class Answering:
    """A cluster in which the run exists already and is finished."""

    namespace = "default"

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        raise fault(409)

    def get(self, path: str) -> dict[str, Any]:
        status = {"verdict": "ChecksFailed", "conditions": [{"type": "Complete", "status": "True"}]}
        return {"metadata": {"name": "demo"}, "spec": SPEC, "status": status}


def evr(monkeypatch, tmp_path, *words: str, text: bytes = GOOD) -> int:
    monkeypatch.setattr(KubeconfigCluster, "from_kubeconfig", lambda *_: Answering())
    path = tmp_path / "run.yaml"
    path.write_bytes(text)
    return app.run(["run", "-f", str(path), *words])


def test_a_run_that_is_over_is_not_run_again_and_the_way_to_do_so_is_told(monkeypatch, tmp_path, capsys):
    assert evr(monkeypatch, tmp_path) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("EvidenceRun default/demo unchanged.")
    assert "It is finished (ChecksFailed). To run it once more, first: kubectl delete evr -n default demo" in shown.err


def test_two_namespaces_that_differ_are_refused_as_kubectl_does(monkeypatch, tmp_path, capsys):
    text = GOOD.replace(b"name: demo", b"name: demo, namespace: evidence")
    assert evr(monkeypatch, tmp_path, "-n", "other", text=text) == 2
    assert "the manifest is for namespace evidence, and -n says other" in capsys.readouterr().err
    assert evr(monkeypatch, tmp_path, "-n", "evidence", text=text) == 0


def test_a_timeout_without_wait_is_refused(monkeypatch, tmp_path, capsys):
    assert evr(monkeypatch, tmp_path, "--timeout", "5m") == 2
    assert "needs --wait" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "kind"), [(422, InputError), (404, ClusterError), (403, ClusterError)])
def test_refusals_repeat_the_words_of_the_api(status: int, kind: type):
    with pytest.raises(kind) as caught:
        create(FakeCluster(fault=fault(status)), "evidence", read_manifest(GOOD, where="-"))
    assert "said the API" in caught.value.why

# SPDX-License-Identifier: Apache-2.0
"""`evr run`: what it accepts, and what it does when the run exists already. The cluster is a fake."""

from __future__ import annotations

from typing import Any

import pytest

from evidencerun.cli.cmd_run import create, read_manifest
from evidencerun.errors import ClusterError, InputError
from evidencerun.kube.base import http_fault

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
    assert body["metadata"] == {"name": "demo", "namespace": "evidence"}


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


def test_the_same_run_again_is_followed():
    existing = {"metadata": {"name": "demo"}, "spec": {"recipe": {"configMap": {"name": "recipe"}}, "deadline": "2h"}}
    found, fresh = create(FakeCluster(fault=fault(409), existing=existing), "evidence", read_manifest(GOOD, where="-"))
    assert found is existing
    assert not fresh


def test_another_spec_under_the_same_name_is_refused_by_field():
    existing = {"metadata": {"name": "demo"}, "spec": {"recipe": {"inline": "x"}}}
    with pytest.raises(InputError) as caught:
        create(FakeCluster(fault=fault(409), existing=existing), "evidence", read_manifest(GOOD, where="-"))
    assert caught.value.where == "spec.recipe"
    assert "kubectl delete evr -n evidence demo" in caught.value.fix


@pytest.mark.parametrize(("status", "kind"), [(422, InputError), (404, ClusterError), (403, ClusterError)])
def test_refusals_repeat_the_words_of_the_api(status: int, kind: type):
    with pytest.raises(kind) as caught:
        create(FakeCluster(fault=fault(status)), "evidence", read_manifest(GOOD, where="-"))
    assert "said the API" in caught.value.why

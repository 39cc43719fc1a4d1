# SPDX-License-Identifier: Apache-2.0
"""Every right that the chart grants to operator and store is used, as the API server's audit log says."""

from __future__ import annotations

import importlib.util
import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from evidence_lab import DEMO_WEB, REPOSITORY, RUNS, Evidence, recipe

PLACES = {"evidencerun-system": "system", "evidencerun-probes": "probes", "evidencerun-checks": "checks", RUNS: "runs"}
ACCOUNTS = ("evidence-operator", "evidence-store")
_EXISTS = "create answered that the object is there already, as after a crash: whose it is has to be read"
SELDOM = {
    ("evidence-operator", "runs", "batch/jobs", "get"): _EXISTS,
    ("evidence-operator", "probes", "apps/daemonsets", "get"): _EXISTS,
    ("evidence-operator", "probes", "core/configmaps", "get"): _EXISTS,
    ("evidence-operator", "checks", "batch/jobs", "get"): _EXISTS,
    ("evidence-operator", "checks", "core/configmaps", "get"): _EXISTS,
}
"""Rights that an undisturbed run does not use, and what does."""
FREE = ("/api", "/apis", "/openapi", "/version", "/healthz", "/readyz", "/livez")
"""What every account may read: the API server's own description of itself."""


@pytest.fixture(scope="module")
def rights() -> ModuleType:
    """The program that knows the table of rights."""
    spec = importlib.util.spec_from_file_location("deploy_rights", REPOSITORY / "deploy/chart/rights.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def log(installed: Any) -> Path:
    """The audit log, since the cluster was brought up."""
    return Path(installed.environment["EVIDENCERUN_AUDIT_LOG"])


@pytest.fixture(scope="module")
def begun(log: Path) -> int:
    """How long the log was before the run of this module."""
    return log.stat().st_size


@pytest.fixture(scope="module")
def everything(installed: Any, begun: int) -> Iterator[dict[str, Any]]:
    """A run that uses all there is: a recipe from a ConfigMap, two checks, delivery to a claim."""
    lab, name = Evidence(cluster=installed), f"rights-{secrets.token_hex(3)}"
    text = recipe(components=[DEMO_WEB], checks={"deployment": ["expected-resources", "node-agreement"]})
    metadata = {"name": name, "namespace": RUNS}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}
    installed.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"recipe.yaml": text}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim},
    )
    spec = {
        "recipe": {"configMap": {"name": name, "key": "recipe.yaml"}},
        "deadline": "10m",
        "deliver": {"pvc": {"claimName": name}},
    }
    yield lab.finished(lab.start(spec, prefix="rights"))
    for made in (f"configmap/{name}", f"pvc/{name}", f"evr/{lab.made[0]}"):
        installed.kubectl("delete", "-n", RUNS, made, "--ignore-not-found", "--wait=false")


def _calls(log: Path, begun: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """(account, event) of every call of ours that the log holds from byte `begun` on."""
    with log.open("rb") as lines:
        lines.seek(begun)
        for line in lines:
            if b"system:serviceaccount:evidencerun-system:" not in line or not line.endswith(b"\n"):
                continue
            event = json.loads(line)
            account = event["user"]["username"].rpartition(":")[2]
            if account in ACCOUNTS:
                yield account, event


def _right(event: dict[str, Any]) -> tuple[str, str, str]:
    """Where, on what (without a name) and with which verb."""
    ref = event["objectRef"]
    resource = f"{ref.get('apiGroup') or 'core'}/{ref['resource']}"
    if ref.get("subresource"):
        resource += f"/{ref['subresource']}"
    namespace = ref.get("namespace", "")
    return PLACES.get(namespace, namespace) if namespace else "cluster", resource, event["verb"]


def test_every_right_is_used_or_explained(everything: dict[str, Any], log: Path, rights: ModuleType):
    assert everything["status"]["verdict"] == "Passed", everything["status"]
    used = {(account, *_right(event)) for account, event in _calls(log) if "objectRef" in event}
    # A right in the whole cluster covers calls in one namespace as well.
    used |= {(account, "cluster", resource, verb) for account, _, resource, verb in used}
    granted = {
        (right.holder, right.where, right.resource.partition("=")[0], right.verb)
        for right in rights.allowed(rights.load_table())
        if right.holder in ACCOUNTS
    }
    assert granted - used <= set(SELDOM), "granted, and used by nobody"
    assert set(SELDOM) <= granted, "explained, and not granted"


def test_a_whole_run_asks_for_nothing_that_is_refused(everything: dict[str, Any], log: Path, begun: int):
    calls = list(_calls(log, begun))
    assert {account for account, _ in calls} == set(ACCOUNTS)
    refused = [(account, event["requestURI"]) for account, event in calls if event["responseStatus"]["code"] == 403]
    assert refused == []
    others = {event["requestURI"] for _, event in calls if "objectRef" not in event}
    assert all(uri.startswith(FREE) for uri in others), others

# SPDX-License-Identifier: Apache-2.0
"""The CRDs on a real API server: accepted by it, and bad objects refused with a message that names field and fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RECIPE = "apiVersion: aicr.run/v1\nkind: RecipeResult\n"
DIGEST = "@sha256:" + "1" * 64


@pytest.fixture(scope="module")
def crds(api_server: Any) -> Any:
    """The API server with our kinds and a namespace for this module's runs."""
    api_server.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    for kind in ("evidenceruns", "evidencepolicies"):
        api_server.kubectl("wait", "--for=condition=Established", f"crd/{kind}.evidencerun.dev", "--timeout=30s")
    api_server.kubectl("create", "namespace", "crd-tests")
    return api_server


def run(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "evidencerun.dev/v1alpha1",
        "kind": "EvidenceRun",
        "metadata": {"name": name, "namespace": "crd-tests"},
        "spec": {"recipe": {"inline": RECIPE}, **spec},
    }


def policy(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "evidencerun.dev/v1alpha1",
        "kind": "EvidencePolicy",
        "metadata": {"name": name},
        "spec": {"pools": [{"name": "any"}], **spec},
    }


def apply(server: Any, document: dict[str, Any], verb: str = "create") -> Any:
    return server.kubectl(verb, "-f", "-", stdin=json.dumps(document), check=False)


BAD_RUNS = {
    "two-sources": ({"recipe": {"inline": "x", "configMap": {"name": "a"}}}, ["spec.recipe", "found both"]),
    "no-source": ({"recipe": {}}, ["spec.recipe", "found neither"]),
    "inline-200-kib": (
        {"recipe": {"inline": "x" * 204_800}},
        ["spec.recipe.inline", "131072", "spec.recipe.configMap"],
    ),
    "misspelt-field": ({"dedline": "2h"}, ['unknown field "spec.dedline"']),
    "not-a-duration": ({"deadline": "2 hours"}, ["spec.deadline", "2 hours"]),
    "unknown-phase": ({"phases": ["deploy"]}, ["spec.phases[0]", '"deployment"']),
    "delivery-to-nowhere": ({"deliver": {"logs": True}}, ["spec.deliver", "names no destination"]),
    "path-out-of-the-volume": ({"deliver": {"pvc": {"claimName": "a", "path": "../x"}}}, ["spec.deliver.pvc.path"]),
    "too-many-nodes": ({"target": {"maxNodes": 100_000}}, ["spec.target.maxNodes", "5000"]),
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_a_bad_run_is_refused_by_the_server(crds: Any, name: str) -> None:
    spec, words = BAD_RUNS[name]
    answer = apply(crds, run(name, **spec))
    assert answer.returncode != 0
    for word in words:
        assert word in answer.stderr
    assert len(answer.stderr) < 2000


def test_a_name_that_fits_no_label_is_refused(crds: Any) -> None:
    answer = apply(crds, run("x" * 64))
    assert "metadata.name has more than 63 characters" in answer.stderr


BAD_POLICIES = {
    "image-by-tag": ({"catalog": [{"name": "a", "phase": "deployment", "image": "r/x:1"}]}, ["named by its digest"]),
    "two-pools-of-one-name": ({"pools": [{"name": "a"}, {"name": "a"}]}, ["spec.pools[1]", "Duplicate"]),
    "one-name-in-two-phases": (
        {
            "catalog": [
                {"name": "a", "phase": "deployment", "image": "r/x" + DIGEST},
                {"name": "a", "phase": "conformance", "image": "r/x" + DIGEST},
            ]
        },
        ["spec.catalog[1]", "Duplicate"],
    ),
    "no-pool": ({"pools": []}, ["spec.pools"]),
}


@pytest.mark.parametrize("name", BAD_POLICIES)
def test_a_bad_policy_is_refused_by_the_server(crds: Any, name: str) -> None:
    spec, words = BAD_POLICIES[name]
    answer = apply(crds, policy(name, **spec))
    assert answer.returncode != 0
    for word in words:
        assert word in answer.stderr


def test_a_catalog_at_its_bounds_is_accepted(crds: Any) -> None:
    entries = [
        {"name": f"check-{index}", "phase": "deployment", "image": "r/x" + DIGEST, "args": ["x" * 1024] * 4}
        for index in range(128)
    ]
    assert apply(crds, policy("large", catalog=entries)).returncode == 0


CHANGES = {
    "changed": {"deadline": "3h"},
    "removed": {"deadline": None},
    "added": {"logs": "bundled"},
    "list-changed": {"phases": ["deployment", "conformance"]},
    "nested": {"target": {"pools": ["any"], "maxNodes": 2}},
    "recipe": {"recipe": {"inline": RECIPE + "# other\n"}},
    "policy-removed": {"policy": None},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_spec_never_changes(crds: Any, name: str) -> None:
    first = run(f"fixed-{name}", deadline="2h", phases=["deployment"], target={"pools": ["any"]}, policy="default")
    assert apply(crds, first).returncode == 0
    changed = {**first["spec"], **CHANGES[name]}
    second = {**first, "spec": {key: value for key, value in changed.items() if value is not None}}
    answer = apply(crds, second, "replace")
    (field,) = CHANGES[name]
    assert answer.returncode != 0
    assert f"spec.{field} cannot be added, changed or removed" in answer.stderr


def test_cancel_goes_one_way(crds: Any) -> None:
    assert apply(crds, run("cancelled")).returncode == 0

    def patch(value: object) -> Any:
        body = json.dumps({"spec": {"cancel": value}})
        return crds.kubectl("patch", "-n", "crd-tests", "evr", "cancelled", "--type=merge", "-p", body, check=False)

    assert patch(True).returncode == 0
    for value in (False, None):
        assert "spec.cancel goes from false to true only" in patch(value).stderr


def test_who_may_write_the_spec_cannot_forge_the_status(crds: Any) -> None:
    forged = run("forged")
    forged["status"] = {"verdict": "Passed"}
    assert apply(crds, forged).returncode == 0
    found = json.loads(crds.kubectl("get", "-n", "crd-tests", "evr", "forged", "-o", "json").stdout)
    assert "status" not in found


def test_columns_categories_and_field_selectors(crds: Any) -> None:
    assert apply(crds, run("listed")).returncode == 0
    patch = json.dumps({"status": {"phase": "Finished", "verdict": "Passed"}})
    crds.kubectl("patch", "-n", "crd-tests", "evr", "listed", "--subresource=status", "--type=merge", "-p", patch)
    head = crds.kubectl("get", "-n", "crd-tests", "evr").stdout.splitlines()[0].split()
    assert head == ["NAME", "RECIPE", "REPORTED", "TARGETED", "PHASE", "VERDICT", "SIGNED", "AGE"]
    assert (
        "evidencerun.evidencerun.dev/listed" in crds.kubectl("get", "-n", "crd-tests", "evidence", "-o", "name").stdout
    )
    chosen = crds.kubectl(
        "get", "-n", "crd-tests", "evr", "--field-selector", "status.phase=Finished", "-o", "name"
    ).stdout.split()
    assert chosen == ["evidencerun.evidencerun.dev/listed"]


def test_explain_knows_every_field(crds: Any) -> None:
    text = crds.kubectl("explain", "evr.spec", "--recursive").stdout
    document = yaml.safe_load((ROOT / "crds" / "evidenceruns.evidencerun.dev.yaml").read_text(encoding="utf-8"))
    spec = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert all(name in text for name in spec["properties"])

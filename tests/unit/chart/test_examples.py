# SPDX-License-Identifier: Apache-2.0
"""The examples are what the models and the CRDs accept, and what the pages and the demo say about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from evidencerun.recipe import load_recipe
from evidencerun.validation.spec import PolicySpec, RunSpec

RUNS = {"quickstart.yaml": "quickstart", "checks-failed.yaml": "checks-failed"}


def documents(repository: Path, name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((repository / "deploy/examples" / name).read_text(encoding="utf-8")))


def run_of(repository: Path, name: str) -> dict[str, Any]:
    (run,) = (document for document in documents(repository, name) if document["kind"] == "EvidenceRun")
    return run


def crd_schema(repository: Path, plural: str) -> dict[str, Any]:
    crd = yaml.safe_load((repository / f"crds/{plural}.evidencerun.dev.yaml").read_text(encoding="utf-8"))
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def test_there_is_no_other_example(repository: Path) -> None:
    names = {path.name for path in (repository / "deploy/examples").iterdir()}
    assert names == {*RUNS, "demo-web.yaml", "policy-example.yaml"}


@pytest.mark.parametrize("name", RUNS)
def test_runs_are_valid(repository: Path, name: str) -> None:
    run = run_of(repository, name)
    jsonschema.validate(run, crd_schema(repository, "evidenceruns"))
    assert run["metadata"] == {"name": RUNS[name], "namespace": "evidence"}
    assert RunSpec.model_validate(run["spec"]).recipe.inline


@pytest.mark.parametrize("name", RUNS)
def test_recipes_claim_nothing_about_gpus(repository: Path, name: str) -> None:
    recipe = load_recipe(run_of(repository, name)["spec"]["recipe"]["inline"].encode())
    assert recipe.criteria.accelerator == "none"
    (component,) = recipe.components
    (expected,) = component.expected_resources
    assert (expected.kind, expected.name, expected.namespace) == ("Deployment", component.name, component.namespace)


@pytest.mark.parametrize("name", ["quickstart.yaml", "demo-web.yaml"])
def test_the_component_of_the_quickstart_is_installed_with_it(repository: Path, name: str) -> None:
    recipe = load_recipe(run_of(repository, "quickstart.yaml")["spec"]["recipe"]["inline"].encode())
    expected = recipe.components[0].expected_resources[0]
    made = {(d["kind"], d["metadata"]["name"], d["metadata"].get("namespace")) for d in documents(repository, name)}
    assert (expected.kind, expected.name, expected.namespace) in made
    assert ("Namespace", expected.namespace, None) in made


def test_nobody_installs_the_component_of_the_failing_example(repository: Path) -> None:
    (document,) = documents(repository, "checks-failed.yaml")
    assert document["kind"] == "EvidenceRun"


def test_the_policy_is_valid(repository: Path) -> None:
    (policy,) = documents(repository, "policy-example.yaml")
    jsonschema.validate(policy, crd_schema(repository, "evidencepolicies"))
    assert {entry.name for entry in PolicySpec.model_validate(policy["spec"]).catalog} == {
        "expected-resources",
        "node-agreement",
    }

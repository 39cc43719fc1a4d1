# SPDX-License-Identifier: Apache-2.0
"""What a recipe is read into."""

from __future__ import annotations

import pytest

from evidencerun.canonical import RecipePredicate, canonical_recipe_digest, canonical_yaml
from evidencerun.constraint import Constraint, Severity
from evidencerun.recipe import (
    API_VERSIONS,
    Component,
    Criteria,
    ExpectedResource,
    PhasePlan,
    Profile,
    UnknownField,
    load_recipe,
    validation_input,
)

WHOLE = b"""\
# a comment that is no part of the digest
kind: RecipeResult
apiVersion: aicr.run/v1
metadata:
  version: v0.22.0
  appliedOverlays: [base, eks]
  excludedOverlays: [{name: x, reason: constraint-failed}]
  selectedProfile: {name: gpuStack, value: GCP-managed, advertiser: external, ownedPaths: {a: [b]}}
criteria: {service: " EKS ", accelerator: H100, os: al2023, intent: any, platform: self, nodes: 4}
constraints:
  - {name: K8s.server.version, value: '>= 1.32.4', severity: warning, remediation: upgrade}
  - {name: OS.release.VERSION_ID, value: 24.04}
validation:
  readiness:
    constraints: [{name: OS.release.ID, value: ubuntu}]
  deployment:
    timeout: 5m
    checks: [operator-health, expected-resources]
  performance:
    checks: [nccl-all-reduce-bw]
    constraints: [{name: nccl-all-reduce-bw, value: ">= 300", unit: GB/s}]
componentRefs:
  - name: gpu-operator
    type: helm
    namespace: gpu-operator
    chart: gpu-operator
    source: https://charts.example.com
    version: v25.10.1
    dependencyRefs: [cert-manager]
    manifestFiles: [b.yaml]
    preManifestFiles: [a.yaml]
    overrides: {driver: {version: 580.82.07}}
    expectedResources:
      - {kind: Deployment, name: gpu-operator, namespace: gpu-operator}
      - {kind: ClusterPolicy, name: cluster-policy}
    x-note: ours
  - {name: off, type: Helm, overrides: {enabled: false}}
  - {name: off-too, type: Kustomize, tag: v1, path: p, overrides: {install: false}}
  - {name: still-on, type: Helm, overrides: {enabled: "false"}}
deploymentOrder: [gpu-operator]
"""


def minimal(extra: str = "") -> bytes:
    return f"kind: RecipeResult\napiVersion: aicr.run/v1\n{extra}".encode()


def test_whole_recipe() -> None:
    recipe = load_recipe(WHOLE)

    assert recipe.api_version == "aicr.run/v1"
    assert recipe.criteria == Criteria(
        service="eks", accelerator="h100", os="amazonlinux", intent="any", platform="self", nodes=4
    )
    assert recipe.profile == Profile(name="gpuStack", value="GCP-managed", advertiser="external")
    assert recipe.name == "h100-eks-amazonlinux-self-gpustack-gcp-managed"
    assert recipe.producer_version == "v0.22.0"
    assert recipe.applied_overlays == ("base", "eks")
    assert recipe.deployment_order == ("gpu-operator",)
    assert recipe.unknown_fields == (UnknownField(path="componentRefs[0].x-note", where="line 36, column 5"),)


def test_constraints_of_the_gate_and_of_phases() -> None:
    recipe = load_recipe(WHOLE)

    assert recipe.constraints == (
        Constraint(name="K8s.server.version", value=">= 1.32.4", severity=Severity.WARNING, remediation="upgrade"),
        # Unquoted, and still spelled as it was written.
        Constraint(name="OS.release.VERSION_ID", value="24.04"),
        Constraint(name="OS.release.ID", value="ubuntu"),
    )
    assert recipe.phase("deployment") == PhasePlan(
        checks=("operator-health", "expected-resources"), unread_fields=("timeout",)
    )
    assert recipe.phase("performance").constraints == (
        Constraint(name="nccl-all-reduce-bw", value=">= 300", unit="GB/s"),
    )
    assert recipe.phase("conformance") == PhasePlan()


def test_components() -> None:
    first, *others = load_recipe(WHOLE).components

    assert first == Component(
        name="gpu-operator",
        type="Helm",
        namespace="gpu-operator",
        version="v25.10.1",
        source="https://charts.example.com",
        chart="gpu-operator",
        dependencies=("cert-manager",),
        manifest_files=("a.yaml", "b.yaml"),
        expected_resources=(
            ExpectedResource(kind="Deployment", name="gpu-operator", namespace="gpu-operator"),
            ExpectedResource(kind="ClusterPolicy", name="cluster-policy"),
        ),
    )
    assert [(component.name, component.enabled) for component in others] == [
        ("off", False),
        ("off-too", False),
        ("still-on", True),
    ]


def test_bytes_and_digests() -> None:
    recipe = load_recipe(WHOLE)

    assert recipe.source == WHOLE
    assert recipe.canonical == canonical_yaml(WHOLE)
    assert recipe.digest == canonical_recipe_digest(WHOLE, RecipePredicate.V3)
    assert load_recipe(recipe.canonical).digest == recipe.digest
    assert load_recipe(WHOLE.replace(b"v0.22.0", b"v0.23.0").replace(b"# a", b"# another")).digest == recipe.digest
    assert load_recipe(WHOLE.replace(b"nodes: 4", b"nodes: 5")).digest != recipe.digest


@pytest.mark.parametrize("version", API_VERSIONS)
def test_every_known_api_version(version: str) -> None:
    recipe = load_recipe(f"kind: RecipeResult\napiVersion: {version}\n".encode())

    assert (recipe.api_version, recipe.name, recipe.criteria) == (version, "recipe", Criteria())


NAMES = {
    "{accelerator: h100, service: gke, os: cos, intent: inference, platform: dynamo}": "h100-gke-cos-inference-dynamo",
    "{service: eks, intent: training}": "eks-training",
    "{service: any, accelerator: none}": "none",
    "{accelerator: rtx-pro-6000, os: ubuntu}": "rtx-pro-6000-ubuntu",
    "{service: vanilla, accelerator: ''}": "recipe",
    "{service: togetherai, accelerator: b200}": "b200-togetherai",
}


@pytest.mark.parametrize("criteria", NAMES)
def test_name(criteria: str) -> None:
    assert load_recipe(minimal(f"criteria: {criteria}\n")).name == NAMES[criteria]


def test_null_members_count_as_absent() -> None:
    recipe = load_recipe(minimal("metadata:\ncriteria: ~\nconstraints: null\nvalidation: {deployment: }\n"))

    assert (recipe.name, recipe.constraints, recipe.phases) == ("recipe", (), {})


def test_a_bare_input_is_no_expression() -> None:
    text = "validation: {performance: {constraints: [{name: inference-model, value: '>='}]}}\n"

    assert load_recipe(minimal(text)).phase("performance").constraints[0].bare


def test_validation_input_keeps_the_spelling() -> None:
    text = (
        "criteria: {os: ubuntu}\nconstraints:\n- {value: 24.10, name: OS.release.VERSION_ID}\nmetadata: {version: v}\n"
    )

    assert validation_input(load_recipe(minimal(text))).decode() == (
        "apiVersion: aicr.run/v1\nconstraints:\n    - {name: OS.release.VERSION_ID, value: 24.10}\n"
        "criteria: {os: ubuntu}\nkind: ValidationInput\n"
    )

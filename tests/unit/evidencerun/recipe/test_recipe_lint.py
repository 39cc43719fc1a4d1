# SPDX-License-Identifier: Apache-2.0
"""What lint finds in a recipe, and that it finds nothing in a sound one."""

from __future__ import annotations

import pytest

from evidencerun.recipe import Level, Rule, lint, load_recipe

SOUND = """\
kind: RecipeResult
apiVersion: aicr.run/v1
criteria: {service: eks, accelerator: h100, os: ubuntu, intent: training}
constraints:
  - {name: K8s.server.version, value: ">= 1.32.4"}
  - {name: OS.release.ID, value: ubuntu}
validation:
  deployment:
    checks: [operator-health, gpu-operator-version]
    constraints: [{name: Deployment.gpu-operator.version, value: ">= v24.6.0"}]
  performance:
    checks: [inference-perf]
    constraints: [{name: inference-model, value: Qwen/Qwen3-8B}, {name: inference-throughput, value: ">= 50000"}]
componentRefs:
  - {name: a, type: Helm, version: v1}
  - {name: b, type: Helm, version: v1, dependencyRefs: [a]}
  - {name: manifests, manifestFiles: [x.yaml]}
  - {name: off, type: Helm, overrides: {enabled: false}}
deploymentOrder: [a, b]
"""
# rule, level, what to replace in SOUND, by what, where it is found, a part of the line
FINDINGS = [
    ("inert-constraint", "error", "gpu-operator-version]", "operator-x]", "deployment.constraints", "declare gpu-op"),
    (
        "inert-constraint",
        "error",
        "Deployment.gpu-operator.version",
        "gpu-operator.version",
        "deployment",
        "did you mean D",
    ),
    ("inert-constraint", "error", "Deployment.gpu-operator.version", "OS.release.ID", "deployment", "top-level"),
    (
        "inert-constraint",
        "error",
        "inference-throughput",
        "Deployment.gpu-driver.version",
        "performance",
        "deployment.checks",
    ),
    (
        "unknown-path",
        "error",
        "K8s.server.version",
        "K8s.server.versoin",
        "constraints",
        "did you mean K8s.server.version?",
    ),
    ("unknown-path", "error", "K8s.server.version", "nccl-all-reduce-bw", "constraints", "validation.performance"),
    (
        "unfilled-path",
        "error",
        "K8s.server.version",
        "SystemD.kubelet.service.ActiveState",
        "constraints",
        "no collector",
    ),
    (
        "mistyped-operator",
        "note",
        ">= 1.32.4",
        "=> 1.30",
        "constraints",
        "=> 1.30 reads as text; did you mean >= 1.30?",
    ),
    ("mistyped-operator", "note", ">= 1.32.4", "=< 1.30", "constraints", "did you mean <= 1.30?"),
    ("mistyped-operator", "note", ">= 1.32.4", "~> 1.30", "constraints", "~> 1.30 reads as text"),
    ("uncomparable", "error", ">= 1.32.4", ">= 1.32.4.5", "constraints", "can never be decided"),
    (
        "ignored-suffix",
        "note",
        ">= 1.32.4",
        ">= 1.32.4-eks-5",
        "constraints",
        "-eks-5 in >= 1.32.4-eks-5 is not compared",
    ),
    ("coarse-version", "note", ">= 1.32.4", "<= 1.32", "constraints", "<= 1.32 holds for 1.32.9"),
    ("coarse-version", "note", ">= 1.32.4", "> 1.32", "constraints", "> 1.32 does not hold for 1.32.9"),
    ("repeated-constraint", "note", "OS.release.ID", "K8s.server.version", "constraints", "more than once"),
    (
        "unknown-check",
        "error",
        "operator-health",
        "operator-healht",
        "deployment.checks",
        "did you mean operator-health",
    ),
    ("unknown-check", "error", "operator-health", "dra-support", "deployment.checks", "in the phase conformance"),
    (
        "unknown-check",
        "error",
        "  deployment:",
        "  readiness: {checks: [x]}\n  deployment:",
        "readiness",
        "runs no checks",
    ),
    (
        "unread-field",
        "note",
        "  deployment:",
        "  deployment:\n    timeout: 5m",
        "validation.deployment.timeout",
        "nothing",
    ),
    ("unknown-field", "note", "deploymentOrder:", "x-note: 1\ndeploymentOrder:", "x-note", "no known format"),
    ("unknown-value", "note", "service: eks", "service: coreweave", "criteria.service", "coreweave"),
    ("unknown-value", "note", "accelerator: h100", "accelerator: h1000", "criteria.accelerator", "did you mean h100?"),
    ("unpinned-component", "note", "{name: a, type: Helm, version: v1}", "{name: a}", "componentRefs[a]", "no version"),
    ("unknown-component", "note", "[a, b]", "[a, c]", "deploymentOrder[c]", "no such component"),
    (
        "unknown-component",
        "note",
        "dependencyRefs: [a]",
        "dependencyRefs: [c]",
        "dependencyRefs[c]",
        "no such component",
    ),
]


def test_a_sound_recipe_has_no_findings() -> None:
    assert lint(load_recipe(SOUND.encode())) == ()


@pytest.mark.parametrize("row", FINDINGS, ids=lambda row: f"{row[0]} {row[3][:30]!r}")
def test_finding(row: tuple[str, ...]) -> None:
    rule, level, old, new, where, part = row
    assert old in SOUND

    found = lint(load_recipe(SOUND.replace(old, new).encode()))

    matching = [finding for finding in found if finding.rule == rule and where in finding.where]
    assert matching
    assert matching[0].level == level
    assert part in str(matching[0])


def test_every_rule_has_a_row() -> None:
    assert {row[0] for row in FINDINGS} | {Rule.NO_CHECKS} == set(Rule)


def test_a_recipe_without_checks_is_noted() -> None:
    (finding,) = lint(load_recipe(b"kind: RecipeResult\napiVersion: aicr.run/v1\n"))

    assert (finding.rule, finding.level) == (Rule.NO_CHECKS, Level.NOTE)


def test_checks_of_another_catalog_can_be_given() -> None:
    recipe = load_recipe(SOUND.replace("operator-health", "site-check").encode())

    assert Rule.UNKNOWN_CHECK in {finding.rule for finding in lint(recipe)}
    known = {"site-check": "deployment", "gpu-operator-version": "deployment", "inference-perf": "performance"}
    assert lint(recipe, checks=known) == ()

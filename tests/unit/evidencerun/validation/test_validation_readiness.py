# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from evidencerun.recipe import load_recipe
from evidencerun.snapshot.document import Snapshot
from evidencerun.snapshot.read import load_snapshot
from evidencerun.validation.readiness import evaluate_readiness


def _gate(cluster, *constraints, nodes=2):
    recipe = cluster.recipe(constraints=constraints)
    return evaluate_readiness(recipe, cluster.snapshot(cluster.nodes(*(cluster.node(i) for i in range(nodes)))))


@pytest.mark.parametrize(
    ("constraint", "outcome", "ready"),
    [
        (("K8s.server.version", ">= 1.30"), "satisfied", True),
        (("K8s.server.version", ">= 1.40"), "violated", False),
        (("K8s.server.version", ">= 1.40", "warning"), "violated", True),
        (("OS.release.ID", "debian"), "satisfied", True),
        (("OS.release.ID", "ubuntu"), "violated", False),
        (("OS.release.NOPE", "x"), "unknown", False),
        (("OS.release.NOPE", "x", "warning"), "unknown", True),
        (("GPU.hardware.gpu-count", ">= 8"), "unknown", False),
        (("Deployment.gpu-operator.version", ">= v25"), "unknown", False),
    ],
)
def test_one_constraint(cluster, constraint, outcome, ready):
    found = _gate(cluster, constraint)
    assert found.ready is ready
    (row,) = found.constraints
    assert row.outcome == outcome
    assert (row.name, row.expected) == constraint[:2]
    assert bool(row.reason) is (outcome == "unknown")


def test_every_constraint_is_listed_in_order(cluster):
    found = _gate(
        cluster, ("K8s.server.version", ">= 1.40"), ("OS.release.ID", "debian"), ("OS.release.VERSION_ID", "12")
    )
    assert [(row.name, row.outcome) for row in found.constraints] == [
        ("K8s.server.version", "violated"),
        ("OS.release.ID", "satisfied"),
        ("OS.release.VERSION_ID", "satisfied"),
    ]
    assert not found.ready


def test_no_constraints_are_ready_with_an_empty_list(cluster):
    assert evaluate_readiness(cluster.recipe(), Snapshot()).ready


def test_a_constraint_must_hold_for_every_value(cluster):
    entries = [cluster.node(1, release=("debian", "12")), cluster.node(2, release=("debian", "13"))]
    snapshot = cluster.snapshot(cluster.nodes(*entries))
    some = evaluate_readiness(cluster.recipe(constraints=[("OS.release.VERSION_ID", ">= 13")]), snapshot)
    both = evaluate_readiness(cluster.recipe(constraints=[("OS.release.VERSION_ID", ">= 12")]), snapshot)
    neither = evaluate_readiness(cluster.recipe(constraints=[("OS.release.VERSION_ID", ">= 14")]), snapshot)
    assert [each.constraints[0].outcome for each in (some, both, neither)] == ["unknown", "satisfied", "violated"]


def test_nodes_that_did_not_report_leave_readings_unknown(cluster):
    snapshot = cluster.snapshot(cluster.nodes(cluster.node(1), cluster.node(2, state="missing")))
    found = evaluate_readiness(cluster.recipe(constraints=[("OS.release.ID", "debian")]), snapshot)
    assert not found.ready
    assert "1 of 2 target nodes" in found.constraints[0].reason


@pytest.mark.parametrize(
    ("snapshot", "outcomes"),
    [("h100", {"K8s.server.version": "violated"}), ("gb200", {"K8s.server.version": "satisfied"})],
)
def test_the_known_answers_on_real_snapshots(test_data, snapshot, outcomes):
    name = "aicr/v0.11.1/examples/recipes/eks-gb200-ubuntu-training-with-validation.yaml"
    recipe = load_recipe((test_data / name).read_bytes())
    taken = load_snapshot((test_data / f"aicr/v0.9.12/examples/snapshots/{snapshot}.yaml").read_bytes())
    found = {row.name: row.outcome for row in evaluate_readiness(recipe, taken).constraints}
    assert {name: found[name] for name in outcomes} == outcomes

# SPDX-License-Identifier: Apache-2.0
"""Recipes on snapshots against expected_outcomes.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from evidencerun.fingerprint import Overall, fingerprint
from evidencerun.recipe import load_recipe
from evidencerun.snapshot.document import Snapshot
from evidencerun.snapshot.nodes import NodesDocument
from evidencerun.snapshot.read import load_snapshot

EXPECTED = yaml.safe_load(Path(__file__).with_name("expected_outcomes.yaml").read_text())


def _pairs(section: str) -> list[tuple[str, str, dict[str, str]]]:
    return [
        (recipe, snapshot, rows)
        for recipe, snapshots in EXPECTED[section]["outcomes"].items()
        for snapshot, rows in snapshots.items()
    ]


def _compare(result: Any, expected: dict[str, str]) -> None:
    judged = {row.name: row.describe() for row in result.dimensions if row.name not in ("intent", "platform")}
    asked = {name: outcome for name, outcome in judged.items() if outcome != "not-asked"}
    assert {"overall": result.overall.value, **asked} == expected
    for row in result.dimensions:
        if row.name in ("intent", "platform"):
            assert row.outcome == ("not-asked" if row.recipe == "any" else "not-observable")


EKS = {
    "kubelet_version": "v1.34.2-eks-b3126f4",
    "provider_id": "aws:///us-east-1e/i-0",
    "release": ("ubuntu", "24.04"),
    "os_image": "Ubuntu 24.04.3 LTS",
    "labels": {"node.kubernetes.io/instance-type": "p5.48xlarge-of-somebody"},
}


def _built(cluster: Any, name: str) -> NodesDocument | None:
    node, gpus = cluster.node, cluster.gpus
    h100 = gpus("2330")
    aks = {
        "release": ("ubuntu", "24.04"),
        "os_image": "Ubuntu 24.04.3 LTS",
        "provider_id": "azure:///subscriptions/s/x",
        "labels": {"kubernetes.azure.com/cluster": "c"},
    }
    labelled = {**EKS, "labels": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}}
    entries = {
        "plain": [node(i) for i in range(3)],
        "one-machine": [node(i, boot_id="one") for i in range(3)],
        "mi300x": [node(i, pci=gpus("74b5", vendor="1002"), **aks) for i in range(2)],
        "mi308x": [node(1, pci=gpus("74a2", vendor="1002"))],
        "h100": [node(i, pci=h100, **EKS) for i in range(2)],
        "h100-and-l40s": [node(1, pci=h100, **EKS), node(2, pci=gpus("26b9"), **EKS)],
        "h100-by-label-only": [node(1, pci=None, **labelled)],
        "h100-one-node-missing": [
            node(1, pci=h100, **EKS),
            node(2, pci=h100, **EKS),
            node(3, state="missing", **{key: value for key, value in EKS.items() if key != "release"}),
        ],
        "kind": [node(1, provider_id="kind://docker/kind/kind-control-plane")],
        "unknown-board": [node(1, pci=gpus("ffff"), **EKS)],
        "pci-refused-on-one-node": [node(1), node(2), node(3, pci=None)],
        "empty": None,
    }[name]
    return None if entries is None else cluster.nodes(*entries)


@pytest.mark.parametrize(("recipe", "snapshot", "expected"), _pairs("built"), ids=lambda value: str(value)[:40])
def test_built_snapshots(cluster, recipe, snapshot, expected):
    nodes = _built(cluster, snapshot)
    taken = cluster.snapshot(nodes) if nodes is not None else Snapshot()
    wanted = cluster.recipe(EXPECTED["built"]["recipes"][recipe])
    _compare(fingerprint(taken, nodes).match(wanted), expected)


def test_all_four_overall_outcomes_occur():
    for section, missing in (("built", set()), ("real", {"not-asked"})):
        assert {rows["overall"] for _, _, rows in _pairs(section)} == {each.value for each in Overall} - missing


@pytest.mark.data
@pytest.mark.parametrize(("recipe", "snapshot", "expected"), _pairs("real"), ids=lambda value: str(value)[:40])
def test_real_recipes_on_real_snapshots(test_data, recipe, snapshot, expected):
    wanted = load_recipe((test_data / EXPECTED["real"]["recipes"][recipe]).read_bytes())
    taken = load_snapshot((test_data / EXPECTED["real"]["snapshots"][snapshot]).read_bytes())
    _compare(fingerprint(taken).match(wanted), expected)


@pytest.mark.data
def test_an_empty_snapshot_is_unproven_for_every_example_recipe_that_asks(test_data):
    recipes = sorted(test_data.glob("aicr/**/examples/recipes/*.yaml"))
    assert len(recipes) >= 8
    for path in recipes:
        assert fingerprint(Snapshot()).match(load_recipe(path.read_bytes())).overall is Overall.UNPROVEN, path

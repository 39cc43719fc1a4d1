# SPDX-License-Identifier: Apache-2.0
"""A node loses its power while its probe runs: the bundle names it, the run ends, the cluster is well afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disturbances import move_away, no_probe_on, processes, spare_node, stopped, until_ready
from evidence_lab import PROBES, Evidence, recipe
from trial_checks import entry

pytestmark = pytest.mark.long


def _probe_runs(evidence: Evidence, uid: str, node: str) -> bool:
    pods = evidence.cluster.get("pods", "-n", PROBES, "-l", f"evidencerun.dev/run-uid={uid}")["items"]
    return any(pod["spec"].get("nodeName") == node and pod["status"].get("phase") == "Running" for pod in pods)


def _all_ready(evidence: Evidence) -> bool:
    for node in evidence.cluster.get("nodes")["items"]:
        if not any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"]):
            return False
    return True


def test_a_node_loses_power_while_probing(
    evidence: Evidence, trial_image: str, offer: Callable[..., str], tmp_path: Path
):
    """The store stands still while the last probe starts, so that the node is lost before its report is stored."""
    cluster = evidence.cluster
    if cluster.flavour != "local":
        pytest.skip("only the local cluster can cut a node's power")
    node = spare_node(cluster)
    move_away(cluster, node)
    number = node.removeprefix("node")
    spec = {
        "recipe": {"inline": recipe(checks={"deployment": ["pass"]})},
        "policy": offer("power", [entry("pass", trial_image)], limits={"probe": "45s"}),
        "deadline": "10m",
    }
    store = processes(until_ready(cluster, "store")["metadata"]["uid"])
    with no_probe_on(cluster, node) as let_on:
        name = evidence.start(spec, prefix="power")
        uid = evidence.get(name)["metadata"]["uid"]
        cluster.wait_until(
            "the others have reported", lambda: _reported(evidence, name) == len(cluster.nodes()) - 1, timeout=90
        )
        try:
            with stopped(*store):
                let_on()
                cluster.wait_until("its probe runs", lambda: _probe_runs(evidence, uid, node))
                cluster.manage("kill-node", number)
            run = evidence.finished(name, timeout=300)
        finally:
            cluster.manage("start-node", number)
    _prove_named(evidence, run, node, tmp_path)
    cluster.wait_until("all nodes are ready", lambda: _all_ready(evidence), timeout=120)
    assert evidence.leftovers(uid) == []
    again = evidence.finished(evidence.start(spec, prefix="power-again"))
    assert again["status"]["verdict"] == "Passed"


def _reported(evidence: Evidence, name: str) -> int:
    return int((evidence.status(name).get("nodes") or {}).get("reported") or 0)


def _prove_named(evidence: Evidence, run: dict[str, Any], node: str, folder: Path) -> None:
    status, nodes = run["status"], len(evidence.cluster.nodes())
    assert status["verdict"] == "Incomplete", status
    assert (status["nodes"]["reported"], status["nodes"]["missing"]) == (nodes - 1, 1)
    (sample,) = status["nodes"]["sample"]
    assert sample["name"] == node
    assert "not ready" in sample["reason"]
    files = evidence.bundle(run)
    document = json.loads(files["nodes.json"])
    (lost,) = [entry for entry in document["nodes"] if entry["state"] == "missing"]
    assert "not ready" in lost["reason"]
    (straggler,) = json.loads(files["run.json"])["nodes"]["stragglers"]
    assert (straggler["state"], straggler["reason"]) == ("missing", lost["reason"])
    assert straggler["name"] == lost["facts"]["name"]
    assert not any(node.encode() in data for data in files.values()), "names of nodes are redacted"
    (folder / "bundle.tar.gz").write_bytes(evidence.archive(run))
    (folder / "signing.pub").write_bytes(evidence.public_key())
    done = evidence.verify(folder / "bundle.tar.gz", folder / "signing.pub")
    assert done.returncode == 11, done.stdout + done.stderr

# SPDX-License-Identifier: Apache-2.0
"""The node of a standing part loses its power while a check runs, and what docs/operations.md says happens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disturbances import node_of_volume, open_gate, pod_of, spare_node, until_ready
from evidence_lab import CHECKS, REPOSITORY, Evidence, recipe
from lost_node import OUT_OF_SERVICE, closed, given_up, place, power_cut, roaming_store, running_gate, store_volume
from trial_checks import entry

pytestmark = pytest.mark.long

GIVEN_UP = 75
"""Seconds: the cluster's 16 until a node is not ready, the chart's 30 of patience, and room for a slow machine."""


@pytest.fixture
def local(installed: Any) -> Any:
    """The cluster, if its nodes' power can be cut."""
    if installed.flavour != "local":
        pytest.skip("only the local cluster can cut a node's power")
    return installed


@pytest.fixture
def checking(local: Any, evidence: Evidence, trial_image: str, offer: Callable[..., str]) -> Callable[..., Any]:
    """Start a run whose one check waits, on none of these nodes; returns its name, its uid and the check's pod."""

    def start(*nodes: str) -> tuple[str, str, str]:
        spec = {
            "recipe": {"inline": recipe(checks={"deployment": ["gate"]})},
            "policy": offer("lost", [entry("gate", trial_image, timeout="12m")]),
            "deadline": "30m",
        }
        with closed(local, *nodes):
            name = evidence.start(spec, prefix="lost")
            uid = evidence.get(name)["metadata"]["uid"]
            pod = local.wait_until("gate runs", lambda: running_gate(local, uid), timeout=120)
        return name, uid, pod["metadata"]["name"]

    return start


def _prove(evidence: Evidence, name: str, uid: str, folder: Path) -> None:
    """It ends Passed, its bundle verifies, each child was created once, and nothing is left."""
    run = evidence.finished(name, timeout=300)
    assert run["status"]["verdict"] == "Passed", run["status"]
    (folder / "bundle.tar.gz").write_bytes(evidence.archive(run))
    (folder / "signing.pub").write_bytes(evidence.public_key())
    done = evidence.verify(folder / "bundle.tar.gz", folder / "signing.pub")
    assert done.returncode == 0, done.stdout + done.stderr
    created = evidence.created(uid)
    assert all(len(uids) == 1 for uids in created.values()), created
    assert evidence.leftovers(uid) == []


def test_the_operators_node_loses_power(local: Any, evidence: Evidence, checking: Any, tmp_path: Path):
    node = spare_node(local)
    before = place(local, "operator", node)
    assert until_ready(local, "store")["spec"]["nodeName"] != node
    name, uid, gate = checking(node)
    with power_cut(local, node):
        after = until_ready(local, "operator", other_than=before["metadata"]["uid"], timeout=GIVEN_UP + 30)
        assert after["spec"]["nodeName"] != node
        assert evidence.status(name)["phase"] == "Checking"
        open_gate(local, CHECKS, gate)
        _prove(evidence, name, uid, tmp_path)


@pytest.fixture
def out_of_service(local: Any) -> Iterator[Callable[[str], None]]:
    """Say of a node what the page says; taken back afterwards."""
    page = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    assert f"kubectl taint node NAME {OUT_OF_SERVICE}\n" in page
    said: list[str] = []

    def say(node: str) -> None:
        said.append(node)
        local.kubectl("taint", "node", node, OUT_OF_SERVICE)

    yield say
    for node in said:
        local.kubectl("taint", "node", node, f"{OUT_OF_SERVICE}-", check=False)


def _waits_for_the_store(evidence: Evidence, name: str) -> bool:
    return bool(evidence.condition(name, "StoreUnavailable").get("status") == "True")


def _lose_store(local: Any, evidence: Evidence, name: str, uid: str) -> None:
    """The store's pod is given up and not replaced, and the run says whom it waits for."""
    local.wait_until("its pod is given up", lambda: given_up(local, "store", uid), timeout=GIVEN_UP)
    local.wait_until("the run says so", lambda: _waits_for_the_store(evidence, name), timeout=60)
    assert "StoreUnavailable" in evidence.status(name)["summary"]
    assert not pod_of(local, "store"), "nothing replaces it before somebody says that the node is off"


def test_the_stores_node_loses_power_and_its_volume_can_follow(
    local: Any, evidence: Evidence, checking: Any, out_of_service: Callable[[str], None], tmp_path: Path
):
    with roaming_store(local):
        node = spare_node(local)
        before = place(local, "store", node)["metadata"]["uid"]
        place(local, "operator", min(local.nodes() - {node}))
        name, uid, gate = checking(node)
        with power_cut(local, node):
            _lose_store(local, evidence, name, before)
            out_of_service(node)
            after = until_ready(local, "store", other_than=before, timeout=60)
            assert after["spec"]["nodeName"] != node
            open_gate(local, CHECKS, gate)
            _prove(evidence, name, uid, tmp_path)


def _why_it_waits(local: Any, other_than: str) -> str:
    """What the scheduler says of the store's new pod."""
    pod = pod_of(local, "store")
    if not pod or pod["metadata"]["uid"] == other_than:
        return ""
    conditions = pod["status"].get("conditions", [])
    return next((each.get("message", "") for each in conditions if each["type"] == "PodScheduled"), "")


def test_the_stores_node_loses_power_and_its_volume_is_tied_to_it(
    local: Any, evidence: Evidence, checking: Any, tmp_path: Path
):
    page = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^kubectl (delete pod -n evidencerun-system .* --force)$", page, re.MULTILINE)
    node = node_of_volume(store_volume(local))
    before = until_ready(local, "store")
    assert before["spec"]["nodeName"] == node
    place(local, "operator", spare_node(local))
    name, uid, gate = checking(node)
    with power_cut(local, node):
        _lose_store(local, evidence, name, before["metadata"]["uid"])
        local.kubectl(*command.split())
        gone = before["metadata"]["uid"]
        why = local.wait_until("a new pod waits", lambda: _why_it_waits(local, other_than=gone), timeout=60)
        assert re.search("volume.*affinity", why, re.IGNORECASE), why
        assert _waits_for_the_store(evidence, name)
    assert until_ready(local, "store", other_than=gone)["spec"]["nodeName"] == node
    open_gate(local, CHECKS, gate)
    _prove(evidence, name, uid, tmp_path)

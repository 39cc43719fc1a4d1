# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from evidencerun.errors import InputError
from evidencerun.snapshot.nodes import NodeEntry, NodesDocument, NodeState, load_nodes, nodes_document


def test_nodes_survive_writing_and_reading(cluster):
    nodes = cluster.nodes(cluster.node(2), cluster.node(1, pci=cluster.gpus("2330")), cluster.node(3, state="missing"))
    assert [entry.facts.uid for entry in nodes.nodes] == ["uid-00001", "uid-00002", "uid-00003"]
    assert load_nodes(nodes.to_bytes()) == nodes
    assert load_nodes(nodes.to_bytes()).to_bytes() == nodes.to_bytes()


def test_a_node_without_report_has_no_such_member(cluster):
    document = json.loads(cluster.nodes(cluster.node(1, state="missing", reason="not_scheduled")).to_bytes())
    (entry,) = document["nodes"]
    assert "report" not in entry
    assert entry["reason"] == "not_scheduled"


def test_the_bytes_are_indented_sorted_and_end_with_a_newline(cluster):
    data = cluster.nodes(cluster.node(1)).to_bytes()
    assert data == (json.dumps(json.loads(data), indent=2, sort_keys=True) + "\n").encode()


def test_one_node_twice_is_refused(cluster):
    with pytest.raises(ValueError, match="two entries"):
        nodes_document([cluster.node(1), cluster.node(1)])


@pytest.mark.parametrize("state", [NodeState.FAILED, NodeState.MISSING])
def test_a_report_of_a_node_that_did_not_report_is_refused(cluster, state):
    entry = cluster.node(1).model_copy(update={"state": state})
    with pytest.raises(ValueError, match="does not fit"):
        nodes_document([entry])


def test_a_reported_node_without_report_is_refused(cluster):
    entry = NodeEntry(facts=cluster.node(1).facts, state=NodeState.REPORTED)
    with pytest.raises(ValueError, match="does not fit"):
        nodes_document([entry])


def _damaged(cluster, change):
    document = json.loads(cluster.nodes(cluster.node(1), cluster.node(2)).to_bytes())
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda document: document["nodes"].reverse(), "E1421"),
        (lambda document: document["nodes"].append(document["nodes"][1]), "E1421"),
        (lambda document: document["nodes"][0].pop("report"), "E1421"),
        (lambda document: document["nodes"][0].update(more=1), "E1420"),
        (lambda document: document["nodes"][0]["facts"].pop("uid"), "E1420"),
        (lambda document: document["nodes"][0]["report"]["pci"][0].update(vendor=["8086"]), "E1420"),
        (lambda document: document.update(schema="https://evidencerun.dev/schemas/nodes/v9"), "E1420"),
        (lambda document: document["nodes"][0].update(state="asleep"), "E1420"),
    ],
)
def test_damaged_documents_are_refused(cluster, change, code):
    with pytest.raises(InputError) as caught:
        load_nodes(_damaged(cluster, change))
    assert caught.value.code == code
    assert caught.value.where


def test_the_boot_id_of_the_probe_comes_before_the_kubelets(cluster):
    entry = cluster.node(1)
    silent = cluster.node(2, state="missing")
    assert entry.boot_id == "boot-1"
    assert silent.boot_id == "boot-2"
    assert silent.heard is None
    assert NodesDocument().nodes == []

# SPDX-License-Identifier: Apache-2.0
"""Check node-agreement, and the reading of nodes.json piece by piece."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidencerun import limits
from evidencerun.checks.checkresult import Ending
from evidencerun.checks.node_agreement import ASPECTS, NodeSummary, compare, details, summary
from evidencerun.checks.nodes_stream import node_entries
from evidencerun.errors import EvidenceError, WorldError
from evidencerun.snapshot.nodes import NodeEntry, NodesDocument, NodeState
from evidencerun.snapshot.report import (
    Dimension,
    Level,
    NodeFacts,
    NodeReport,
    ProbeInfo,
    Signal,
    SourceResult,
    SourceState,
    Tier,
    UnknownReason,
)

SAME = {"kernel": "6.8.0", "os": "ubuntu 24.04", "driver": "none", "kubelet": "v1.36.3", "runtime": "containerd://2.0"}


def node(number: int, **changes: Any) -> NodeSummary:
    values = SAME | changes.pop("values", {})
    fields = {"name": f"node{number}", "missing": "", "boot_id": f"boot{number}", "values": values} | changes
    return NodeSummary(**fields)


def test_two_machines_that_agree_pass() -> None:
    result = compare([node(1), node(2)])
    assert result.status is Ending.PASSED
    assert result.message == "2 nodes on 2 machines agree on kernel, os, driver, kubelet, runtime"
    assert "kernel: 6.8.0 on all 2 nodes" in result.lines
    assert result.extra == {"nodesValidated": "2", "nodesTotal": "2"}


def test_nodes_of_one_machine_are_a_stated_skip() -> None:
    result = compare([node(1, boot_id="same"), node(2, boot_id="same"), node(3, boot_id="same")])
    assert result.status is Ending.SKIPPED
    assert result.extra["skipReason"] == "single-machine"
    assert "single-machine" in result.message


def test_one_node_is_a_skip() -> None:
    assert compare([node(1)]).status is Ending.SKIPPED


def test_no_node_is_a_failure() -> None:
    assert compare([]).status is Ending.FAILED


def test_a_missing_report_fails_even_on_one_machine() -> None:
    result = compare([node(1), node(2, missing="node not ready", boot_id="", values={})])
    assert result.status is Ending.FAILED
    assert result.message == "1 of 2 target nodes have no report\n- node2: node not ready"
    assert result.extra["nodesValidated"] == "1"


def test_many_missing_reports_are_counted_and_five_are_named() -> None:
    result = compare([node(number, missing="gone") for number in range(8)])
    assert result.message.splitlines()[0] == "8 of 8 target nodes have no report"
    assert result.message.splitlines()[-1] == "- and 3 more"


@pytest.mark.parametrize("aspect", ASPECTS)
def test_disagreement_lists_values_with_counts_and_names(aspect: str) -> None:
    nodes = [*(node(number) for number in range(7)), node(8, values={aspect: "other"})]
    result = compare(nodes)
    assert result.status is Ending.FAILED
    assert result.message.splitlines()[0] == "the nodes disagree on 1 of 5 aspects"
    expected = f"- {aspect}: {SAME[aspect]} on 7 (node0, node1, node2, node3, node4 and 2 more); other on 1 (node8)"
    assert result.message.splitlines()[1] == expected


@pytest.mark.parametrize("aspect", ASPECTS)
def test_what_is_not_known_on_any_node_is_no_agreement(aspect: str) -> None:
    result = compare([node(1, values={aspect: ""}), node(2, values={aspect: ""})])
    assert result.status is Ending.FAILED
    assert f"{aspect}: not known on 2" in result.message


def test_unknown_boot_id_is_a_failure_not_a_machine() -> None:
    result = compare([node(1), node(2, boot_id="")])
    assert result.status is Ending.FAILED
    assert "node2" in result.message


# --- from reports ----------------------------------------------------------------------------------------------------


def signal(signal_id: str, value: str = "", raw: str = "", error: UnknownReason | None = None) -> Signal:
    return Signal(id=signal_id, tier=Tier.KERNEL, level=Level.KERNEL, value=value, raw=raw or value, error=error)


def entry(
    drivers: list[Signal] | None = None, *, sources: dict[str, SourceState] | None = None, number: int = 1
) -> NodeEntry:
    looked = {"nvidia-proc": SourceState.ABSENT, "amdgpu-module": SourceState.ABSENT} if sources is None else sources
    report = NodeReport(
        run_uid="run",
        node_name=f"node{number}",
        boot_id=f"boot{number}",
        probe=ProbeInfo(version="0.1.0", level=Level.KERNEL, access="auto"),
        started_at="2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:00:00Z",
        sources=[SourceResult(name=name, level=Level.KERNEL, state=state) for name, state in looked.items()],
        signals={
            Dimension.KERNEL: [signal("kernel.release", "6.8.0")],
            Dimension.OS: [signal("host.os-release", "ubuntu", raw="ubuntu 24.04")],
            Dimension.DRIVER: drivers or [],
        },
        measurements={},
        pci=[],
    )
    facts = NodeFacts(
        uid=f"uid{number}",
        name=f"node{number}",
        pool="any",
        kubelet_version="v1.36.3",
        container_runtime_version="containerd://2.0",
    )
    return NodeEntry(facts=facts, state=NodeState.REPORTED, report=report)


def test_summary_takes_the_probes_and_the_apis_words() -> None:
    assert summary(entry()) == NodeSummary(name="node1", missing="", boot_id="boot1", values=SAME)


@pytest.mark.parametrize(
    ("drivers", "expected"),
    [
        ([signal("nvidia.module", "570.86.15"), signal("nvml.driver", "570.86.15")], "nvidia 570.86.15"),
        ([signal("nvidia.module", "570.1"), signal("nvml.driver", "560.2")], "nvidia 560.2, nvidia 570.1"),
        ([signal("amdgpu.module", "inbox"), signal("nvml.cuda", "12.8")], "amdgpu inbox"),
        ([signal("nvidia.module", error=UnknownReason.UNREADABLE)], ""),
    ],
)
def test_drivers_of_a_node(drivers: list[Signal], expected: str) -> None:
    assert summary(entry(drivers)).values["driver"] == expected


@pytest.mark.parametrize("sources", [{}, {"nvidia-proc": SourceState.ABSENT, "amdgpu-module": SourceState.FAILED}])
def test_no_driver_is_said_only_after_both_looks(sources: dict[str, SourceState]) -> None:
    assert summary(entry(sources=sources)).values["driver"] == ""


def test_a_node_that_has_not_reported_keeps_the_apis_words() -> None:
    lost = entry().model_copy(update={"state": NodeState.MISSING, "report": None, "reason": "ImagePullBackOff"})
    assert summary(lost).missing == "ImagePullBackOff"


def test_details_count_nodes_per_value() -> None:
    document = details([node(1), node(2, values={"os": "debian 12"})])
    assert {"aspect": "os", "value": "debian 12", "nodes": 1} in document["items"]


# --- the document ----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(count=st.integers(min_value=0, max_value=6), chunk=st.integers(min_value=7, max_value=5000))
def test_any_piece_size_gives_the_same_nodes(tmp_path_factory: pytest.TempPathFactory, count: int, chunk: int) -> None:
    document = NodesDocument(nodes=[entry(number=number) for number in range(count)])
    path = tmp_path_factory.mktemp("nodes") / "nodes.json"
    path.write_bytes(document.to_bytes())
    assert list(node_entries(path, chunk=chunk)) == document.nodes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"nodes": [',
        '{"nodes": [{}]}',
        '{"nodes": [1]}',
        '{"other": 1}',
        '{"nodes": {}}',
        '{"nodes": [{]}',
        '{"nodes": [' + "[" * 100_000,
        "\xff",
    ],
)
def test_what_is_no_nodes_document_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "nodes.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(EvidenceError) as caught:
        list(node_entries(path))
    assert caught.value.code == "E7703"


def test_a_document_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorldError) as caught:
        list(node_entries(tmp_path / "none"))
    assert caught.value.code == "E7705"


def test_one_entry_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NODE_ENTRY_MAX", limits.MIB)
    path = tmp_path / "nodes.json"
    path.write_text('{"nodes": ["')
    os.truncate(path, 32 * limits.MIB)
    tracemalloc.start()
    try:
        with pytest.raises(EvidenceError):
            list(node_entries(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * limits.MIB


def test_more_nodes_than_a_cluster_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nodes.json"
    path.write_bytes(NodesDocument(nodes=[entry(number=number) for number in range(3)]).to_bytes())
    assert len(list(node_entries(path))) == 3
    monkeypatch.setattr(limits, "NODES_MAX", 2)
    with pytest.raises(EvidenceError) as caught:
        list(node_entries(path))
    assert caught.value.why == "more than 2 nodes"


def test_members_before_the_nodes_are_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    document = {"a": [1, {"nodes": []}], "b": 12, **json.loads(NodesDocument(nodes=[entry()]).to_bytes())}
    path.write_text(json.dumps(document))
    assert [found.facts.name for found in node_entries(path)] == ["node1"]

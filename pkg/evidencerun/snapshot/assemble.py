# SPDX-License-Identifier: Apache-2.0
"""Merges the facts and reports of all target nodes into one snapshot; disagreement is recorded, not hidden.

Readings of `K8s.node` come from the facts of all target nodes, those of `OS` and `GPU` from the nodes that reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from evidencerun import limits
from evidencerun.snapshot.coverage import Coverage
from evidencerun.snapshot.document import (
    Measurement,
    Scalar,
    Snapshot,
    Subtype,
)
from evidencerun.snapshot.merging import merge_readings
from evidencerun.snapshot.nodes import NodeEntry, NodesDocument
from evidencerun.snapshot.provider import provider_of
from evidencerun.snapshot.report import NodeFacts
from evidencerun.snapshot.topology import label_subtype

_TYPE_ORDER: Final = ("K8s", "GPU", "OS", "SystemD", "NodeTopology", "NetworkTopology")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """The API server's `/version`."""

    git_version: str = ""
    platform: str = ""
    go_version: str = ""


def assemble_snapshot(
    nodes: NodesDocument,
    *,
    server: ServerInfo,
    taken_at: str,
    version: str,
    min_coverage_percent: int = 100,
) -> Snapshot:
    """Return the snapshot of these nodes.

    `taken_at` is RFC 3339 in UTC; `version` names the producer. `min_coverage_percent` is the share of target nodes
    that the run asks to have reported (`spec.target.minCoveragePercent`); below it, readings that come from reports
    are absent.
    """
    reported = [entry for entry in nodes.nodes if entry.heard]
    coverage = Coverage(
        targeted=len(nodes.nodes),
        reported=len(reported),
        machines=len({entry.machine for entry in nodes.nodes}),
        minimum_percent=min_coverage_percent,
    )
    groups: dict[str, list[Subtype]] = {"K8s": _k8s(server, nodes.nodes)}
    for address, subtype in _merged_reports(reported).items():
        groups.setdefault(address, []).extend(subtype)
    if nodes.nodes:
        groups.setdefault("NodeTopology", []).extend(_topology(nodes.nodes))
    return Snapshot(
        metadata={"timestamp": taken_at, "version": version, **coverage.metadata()},
        measurements=tuple(
            Measurement(type=kind, subtypes=tuple(sorted(groups[kind], key=lambda subtype: subtype.name)))
            for kind in sorted(groups, key=_type_rank)
            if groups[kind]
        ),
    )


def _type_rank(kind: str) -> tuple[int, str]:
    return (_TYPE_ORDER.index(kind) if kind in _TYPE_ORDER else len(_TYPE_ORDER), kind)


def _k8s(server: ServerInfo, nodes: Sequence[NodeEntry]) -> list[Subtype]:
    version = {"version": server.git_version, "platform": server.platform, "goVersion": server.go_version}
    found: dict[str, Scalar] = {key: text for key, text in version.items() if text}
    subtypes = [Subtype(name="server", data=found)] if found else []
    if nodes:
        subtypes.append(merge_readings("node", [(entry.facts.name, _node(entry.facts)) for entry in nodes]))
        if len(nodes) == 1 and nodes[0].facts.provider_id:
            only = subtypes.pop()
            data = {**only.data, "provider-id": nodes[0].facts.provider_id, "source-node": nodes[0].facts.name}
            subtypes.append(Subtype(name="node", data=data))
    return subtypes


def _node(facts: NodeFacts) -> dict[str, Scalar]:
    runtime, _, runtime_version = facts.container_runtime_version.partition("://")
    readings = {
        "provider": provider_of(facts.provider_id),
        "container-runtime-id": facts.container_runtime_version,
        "container-runtime-name": runtime,
        "container-runtime-version": runtime_version,
        "kubelet-version": facts.kubelet_version,
        "kernel-version": facts.kernel_version,
        "operating-system": facts.operating_system,
        "os-image": facts.os_image,
    }
    return {key: text for key, text in readings.items() if text}


def _merged_reports(reported: Sequence[NodeEntry]) -> dict[str, list[Subtype]]:
    """Return the merged subtypes of the reports by type; a node without a subtype lacks all of its keys."""
    found = Counter(address for entry in reported if entry.report for address in entry.report.measurements)
    merged: dict[str, list[Subtype]] = {}
    for address in sorted(found, key=lambda address: (-found[address], address))[: limits.SUBTYPES_MAX]:
        kind, _, name = address.partition(".")
        if not kind or not name:
            continue
        readings = [
            (entry.facts.name, entry.report.measurements.get(address, {}))
            for entry in reported
            if entry.report is not None
        ]
        merged.setdefault(kind, []).append(merge_readings(name, readings))
    return merged


def _topology(nodes: Sequence[NodeEntry]) -> list[Subtype]:
    labels = label_subtype({entry.facts.name: entry.facts.labels for entry in nodes})
    keys = {key for entry in nodes for key in entry.facts.labels}
    summary: dict[str, Scalar] = {"node-count": len(nodes), "label-count": len(keys)}
    subtypes = [Subtype(name="summary", data=summary)]
    return [*subtypes, labels] if labels.data else subtypes

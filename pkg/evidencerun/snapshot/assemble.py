# SPDX-License-Identifier: Apache-2.0
"""Merges the facts and reports of all target nodes into one snapshot; disagreement is recorded, not hidden.

Readings of `K8s.node` come from the facts of all target nodes, those of `OS` and `GPU` from the nodes that reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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
from evidencerun.snapshot.merging import Readings
from evidencerun.snapshot.nodes import NodeEntry, NodesDocument
from evidencerun.snapshot.provider import provider_of
from evidencerun.snapshot.report import NodeFacts
from evidencerun.snapshot.topology import Labels

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
    """Return the snapshot of these nodes; the arguments are those of `SnapshotBuilder`."""
    builder = SnapshotBuilder(
        server=server, taken_at=taken_at, version=version, min_coverage_percent=min_coverage_percent
    )
    for entry in nodes.nodes:
        builder.add(entry)
    return builder.snapshot()


class SnapshotBuilder:
    """Takes the target nodes one after the other and keeps of their reports only what the snapshot will hold.

    `taken_at` is RFC 3339 in UTC; `version` names the producer. `min_coverage_percent` is the share of target nodes
    that the run asks to have reported (`spec.target.minCoveragePercent`); below it, readings that come from reports
    are absent.
    """

    def __init__(self, *, server: ServerInfo, taken_at: str, version: str, min_coverage_percent: int = 100) -> None:
        self._server = server
        self._metadata = {"timestamp": taken_at, "version": version}
        self._minimum = min_coverage_percent
        self._targeted: list[str] = []
        self._reported: list[str] = []
        self._machines: set[str] = set()
        self._facts = Readings()
        self._first: NodeFacts | None = None
        self._reports: dict[str, Readings] = {}
        self._found: Counter[str] = Counter()
        self._labels = Labels()

    def add(self, entry: NodeEntry) -> None:
        """Take one target node."""
        facts, report = entry.facts, entry.heard
        self._first = self._first or facts
        self._targeted.append(facts.name)
        self._machines.add(entry.machine)
        self._facts.add(facts.name, _node(facts))
        self._labels.add(facts.name, facts.labels)
        if report is None:
            return
        self._reported.append(facts.name)
        self._found.update(report.measurements.keys())
        for address, data in report.measurements.items():
            self._reports.setdefault(address, Readings()).add(facts.name, data)

    def snapshot(self) -> Snapshot:
        """Return the snapshot of all nodes that were taken."""
        coverage = Coverage(
            targeted=len(self._targeted),
            reported=len(self._reported),
            machines=len(self._machines),
            minimum_percent=self._minimum,
        )
        groups: dict[str, list[Subtype]] = {"K8s": self._k8s()}
        for kind, subtype in self._merged_reports():
            groups.setdefault(kind, []).append(subtype)
        if self._targeted:
            groups.setdefault("NodeTopology", []).extend(self._topology())
        return Snapshot(
            metadata=self._metadata | coverage.metadata(),
            measurements=tuple(
                Measurement(type=kind, subtypes=tuple(sorted(groups[kind], key=lambda subtype: subtype.name)))
                for kind in sorted(groups, key=_type_rank)
                if groups[kind]
            ),
        )

    def _k8s(self) -> list[Subtype]:
        server, only = self._server, self._first
        version = {"version": server.git_version, "platform": server.platform, "goVersion": server.go_version}
        found: dict[str, Scalar] = {key: text for key, text in version.items() if text}
        subtypes = [Subtype(name="server", data=found)] if found else []
        if only is None:
            return subtypes
        node = self._facts.merged("node", self._targeted)
        if len(self._targeted) == 1 and only.provider_id:
            node = Subtype(name="node", data={**node.data, "provider-id": only.provider_id, "source-node": only.name})
        return [*subtypes, node]

    def _merged_reports(self) -> Iterator[tuple[str, Subtype]]:
        """Yield type and merged subtype, those of most nodes; a node without a subtype lacks all of its keys."""
        found = self._found
        for address in sorted(found, key=lambda address: (-found[address], address))[: limits.SUBTYPES_MAX]:
            kind, _, name = address.partition(".")
            if kind and name:
                yield kind, self._reports[address].merged(name, self._reported)

    def _topology(self) -> list[Subtype]:
        labels = self._labels.subtype()
        summary: dict[str, Scalar] = {"node-count": len(self._targeted), "label-count": self._labels.keys}
        subtypes = [Subtype(name="summary", data=summary)]
        return [*subtypes, labels] if labels.data else subtypes


def _type_rank(kind: str) -> tuple[int, str]:
    return (_TYPE_ORDER.index(kind) if kind in _TYPE_ORDER else len(_TYPE_ORDER), kind)


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

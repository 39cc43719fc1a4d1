# SPDX-License-Identifier: Apache-2.0
"""Builds nodes, clusters, snapshots and recipes for the tests of the pure core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from evidencerun.recipe import Recipe, load_recipe
from evidencerun.snapshot.assemble import ServerInfo, assemble_snapshot
from evidencerun.snapshot.document import Snapshot
from evidencerun.snapshot.nodes import NodeEntry, NodesDocument, NodeState, nodes_document
from evidencerun.snapshot.report import NodeFacts, NodeReport, PciDevice, ProbeInfo, Signal, SourceResult

HOST_BRIDGE = ("8086", "0d57", "060000")
TAKEN_AT = "2026-11-24T06:00:00Z"


class ClusterBuilder:
    """Composes what probes and the API would have said; every argument has the value of a plain node without GPUs."""

    def node(
        self,
        number: int,
        *,
        pci: Sequence[tuple[str, str, str]] | None = (),
        pci_reason: str = "permission",
        signals: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        release: tuple[str, str] | None = ("debian", "12"),
        readings: Mapping[str, Mapping[str, Any]] | None = None,
        markers: Sequence[str] = (),
        state: str = "reported",
        reason: str = "",
        **facts: Any,
    ) -> NodeEntry:
        """Return one node; `pci` is (vendor, device, class) per function, None for a read that failed."""
        l0 = {
            "uid": f"uid-{number:05d}",
            "name": f"node-{number}",
            "pool": "any",
            "boot_id": f"boot-{number}",
            "kernel_version": "6.1.0-41-amd64",
            "os_image": "Debian GNU/Linux 12 (bookworm)",
            "operating_system": "linux",
            "architecture": "amd64",
            "container_runtime_version": "containerd://2.1.4",
            "kubelet_version": "v1.36.3",
            "system_uuid": f"system-{number}",
            **facts,
        }
        entry = NodeFacts.model_validate(l0)
        if state != "reported":
            return NodeEntry(facts=entry, state=NodeState(state), reason=reason)
        measurements: dict[str, dict[str, Any]] = {
            "OS.sysctl": {"/proc/sys/kernel/osrelease": entry.kernel_version},
            **{address: dict(data) for address, data in (readings or {}).items()},
        }
        if release is not None:
            measurements["OS.release"] = {"ID": release[0], "VERSION_ID": release[1]}
        source = {"name": "pci", "level": "L1", "state": "read" if pci is not None else "failed"}
        report = NodeReport(
            run_uid="run",
            node_name=entry.name,
            boot_id=entry.boot_id,
            probe=ProbeInfo(version="0.1.0", level="L1", access="auto"),
            started_at=TAKEN_AT,
            finished_at=TAKEN_AT,
            sources=[SourceResult.model_validate({**source, "reason": "" if pci is not None else pci_reason})],
            signals={
                "kernel": [
                    self.signal("kernel.release", entry.kernel_version),
                    self.signal("kernel.boot-id", entry.boot_id),
                ],
                **{key: [Signal.model_validate(row) for row in rows] for key, rows in (signals or {}).items()},
            },
            measurements=measurements,
            pci=[self.function(slot, *ids) for slot, ids in enumerate([HOST_BRIDGE, *(pci or ())])],
            markers=list(markers),
        )
        return NodeEntry(facts=entry, state=NodeState.REPORTED, report=report, report_digest="sha256:" + "0" * 64)

    def signal(self, signal_id: str, raw: str, value: str = "", tier: str = "T2", level: str = "L1") -> Signal:
        """Return a signal; its value is its raw text unless another is given."""
        return Signal(id=signal_id, tier=tier, level=level, raw=raw, value=value or raw)

    def function(self, slot: int, vendor: str, device: str, class_code: str, physical: bool = True) -> PciDevice:
        """Return a PCI function."""
        return PciDevice(
            address=f"0000:{slot:02x}:00.0",
            vendor=vendor,
            device=device,
            class_code=class_code,
            physical_function=physical,
        )

    def gpus(self, device: str, count: int = 8, vendor: str = "10de") -> list[tuple[str, str, str]]:
        """Return so many accelerators of one PCI id."""
        return [(vendor, device, "030200" if vendor == "10de" else "120000")] * count

    def nodes(self, *entries: NodeEntry) -> NodesDocument:
        """Return nodes.json."""
        return nodes_document(list(entries))

    def snapshot(self, nodes: NodesDocument, version: str = "v1.36.3", min_coverage_percent: int = 100) -> Snapshot:
        """Return the snapshot of these nodes."""
        return assemble_snapshot(
            nodes,
            server=ServerInfo(git_version=version, platform="linux/amd64", go_version="go1.25.3"),
            taken_at=TAKEN_AT,
            version="0.1.0",
            min_coverage_percent=min_coverage_percent,
        )

    def recipe(
        self,
        criteria: Mapping[str, str | int] | None = None,
        constraints: Sequence[tuple[str, ...]] = (),
        checks: Mapping[str, Sequence[str]] | None = None,
    ) -> Recipe:
        """Return a recipe; constraints are (name, value) or (name, value, severity)."""
        lines = ["kind: RecipeResult", "apiVersion: aicr.run/v1", "metadata: {}"]
        lines += ["criteria:" if criteria else "criteria: {}"]
        lines += [f"    {key}: {value}" for key, value in (criteria or {}).items()]
        if constraints:
            lines.append("constraints:")
            for name, value, *severity in constraints:
                lines += [f"    - name: {name}", f"      value: '{value}'"]
                lines += [f"      severity: {severity[0]}"] if severity else []
        if checks:
            lines.append("validation:")
            for phase, names in checks.items():
                lines += [f"    {phase}:", f"        checks: [{', '.join(names)}]"]
        lines += ["componentRefs: []", "deploymentOrder: []"]
        return load_recipe("\n".join(lines).encode() + b"\n")


@pytest.fixture(scope="session")
def cluster() -> ClusterBuilder:
    """Builder of nodes, snapshots and recipes."""
    return ClusterBuilder()

# SPDX-License-Identifier: Apache-2.0
"""Check `node-agreement`: all target nodes have the same kernel, OS, driver, kubelet and container runtime.

It reads the reports of the probes, no API. Nodes that share a kernel are one machine, which cannot disagree with
itself: with one machine the check is skipped, never passed. A value that is not known on a node is no agreement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evidencerun.checks.checkresult import CheckResult, Ending, details_document, skipped
from evidencerun.snapshot.nodes import NodeEntry
from evidencerun.snapshot.report import Dimension, NodeReport, Signal, SourceState

NAME: Final = "node-agreement"
ASPECTS: Final = ("kernel", "os", "driver", "kubelet", "runtime")
_NAMES_SHOWN: Final = 5
_DRIVER_SOURCES: Final = frozenset({"nvidia-proc", "amdgpu-module"})
_VENDORS: Final = {"nvml.driver": "nvidia", "nvidia.module": "nvidia", "amdgpu.module": "amdgpu"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSummary:
    """What this check needs of a node. `values` holds an entry per aspect; "" stands for "not known"."""

    name: str
    missing: str
    """Why there is no report; empty if there is one."""
    boot_id: str
    values: dict[str, str]


def summary(entry: NodeEntry) -> NodeSummary:
    """Return what the check compares of one node."""
    report = entry.heard
    if report is None:
        reason = entry.reason or str(entry.state)
        return NodeSummary(name=entry.facts.name, missing=reason, boot_id="", values={})
    values = {
        "kernel": _value(report, Dimension.KERNEL, "kernel.release"),
        "os": _raw(report, Dimension.OS, "host.os-release"),
        "driver": _drivers(report),
        "kubelet": entry.facts.kubelet_version,
        "runtime": entry.facts.container_runtime_version,
    }
    return NodeSummary(name=entry.facts.name, missing="", boot_id=report.boot_id, values=values)


def compare(nodes: Sequence[NodeSummary]) -> CheckResult:
    """Return the verdict over all target nodes. Pure."""
    total = str(len(nodes))
    missing = [node for node in nodes if node.missing]
    if not nodes:
        return CheckResult(status=Ending.FAILED, message="the run has no target node")
    counts = {"nodesValidated": str(len(nodes) - len(missing)), "nodesTotal": total}
    if missing:
        shown = "\n".join(f"- {node.name}: {node.missing}" for node in missing[:_NAMES_SHOWN])
        message = f"{len(missing)} of {total} target nodes have no report\n{shown}{_more(len(missing))}"
        return CheckResult(status=Ending.FAILED, message=message, extra=counts)
    nameless = [node.name for node in nodes if not node.boot_id]
    if nameless:
        message = f"the boot id of {len(nameless)} of {total} nodes is not known: {_names(nameless)}"
        return CheckResult(status=Ending.FAILED, message=message, extra=counts)
    machines = len({node.boot_id for node in nodes})
    if machines < 2:
        return skipped("single-machine", f"{total} nodes with one boot id are one machine", **counts)
    return _agreement(nodes, machines, counts)


def details(nodes: Sequence[NodeSummary]) -> dict[str, Any]:
    """Return the content of /results/details.json: per aspect each value with its number of nodes."""
    items = [
        {"aspect": aspect, "value": value, "nodes": len(names)}
        for aspect in ASPECTS
        for value, names in sorted(_by_value(nodes, aspect).items())
    ]
    return details_document(NAME, items)


def _agreement(nodes: Sequence[NodeSummary], machines: int, counts: dict[str, str]) -> CheckResult:
    bad: list[str] = []
    good: list[str] = []
    for aspect in ASPECTS:
        found = _by_value(nodes, aspect)
        if len(found) == 1 and "" not in found:
            good.append(f"{aspect}: {next(iter(found))} on all {len(nodes)} nodes")
        else:
            bad.append(f"{aspect}: {_spread(found)}")
    if not bad:
        message = f"{len(nodes)} nodes on {machines} machines agree on {', '.join(ASPECTS)}"
        return CheckResult(status=Ending.PASSED, message=message, lines=tuple(good), extra=counts)
    message = "\n".join([f"the nodes disagree on {len(bad)} of {len(ASPECTS)} aspects", *(f"- {line}" for line in bad)])
    return CheckResult(status=Ending.FAILED, message=message, lines=(*good, *bad), extra=counts)


def _by_value(nodes: Iterable[NodeSummary], aspect: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        if not node.missing:
            found[node.values.get(aspect, "")].append(node.name)
    return dict(found)


def _spread(found: dict[str, list[str]]) -> str:
    """Return each value, the most frequent first, with its number of nodes and some of their names."""
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return "; ".join(f"{value or 'not known'} on {len(names)} ({_names(names)})" for value, names in ordered)


def _names(names: Sequence[str]) -> str:
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _more(number: int) -> str:
    return f"\n- and {number - _NAMES_SHOWN} more" if number > _NAMES_SHOWN else ""


def _signal(report: NodeReport, dimension: Dimension, signal_id: str) -> Signal | None:
    return next((signal for signal in report.signals.get(dimension, []) if signal.id == signal_id), None)


def _value(report: NodeReport, dimension: Dimension, signal_id: str) -> str:
    signal = _signal(report, dimension, signal_id)
    return signal.value if signal is not None and signal.error is None else ""


def _raw(report: NodeReport, dimension: Dimension, signal_id: str) -> str:
    signal = _signal(report, dimension, signal_id)
    return signal.raw if signal is not None and signal.error is None else ""


def _drivers(report: NodeReport) -> str:
    """Return every version of a GPU driver that was seen, `none` only if the looks at the kernel modules succeeded."""
    signals = [signal for signal in report.signals.get(Dimension.DRIVER, []) if signal.id in _VENDORS]
    if any(signal.error is not None for signal in signals):
        return ""
    versions = sorted({f"{_VENDORS[signal.id]} {signal.value}" for signal in signals})
    if versions:
        return ", ".join(versions)
    looked = {result.name for result in report.sources if result.state is not SourceState.FAILED}
    return "none" if looked >= _DRIVER_SOURCES else ""

# SPDX-License-Identifier: Apache-2.0
"""What a snapshot says at a constraint's path: one value, nothing and why, or values that disagree (docs/spec §6).

A path is resolved only if all target nodes agree. Nodes that have no such key, and nodes that did not report, are not
agreement: the reading is then absent, with the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from evidencerun.constraint import (
    Absent,
    ByField,
    ByIndex,
    Conflicting,
    GpuNodeLabels,
    Reading,
    Selector,
    SnapshotPath,
    UnknownPath,
    ValidatorInput,
    Value,
    parse_path,
)
from evidencerun.snapshot.coverage import coverage_of
from evidencerun.snapshot.document import ABSENT_KIND, OTHERS_KIND, Item, Scalar, Snapshot, Subtype
from evidencerun.snapshot.topology import labels_by_node

_FROM_REPORTS: Final = frozenset({"OS", "GPU", "SystemD", "NetworkTopology"})
"""Types whose readings come from probes and not from the API."""
_GPU_NODE_LABEL: Final = "cloud.google.com/gke-accelerator"
"""The label that makes a node a GPU node for `NodeTopology.gpu-nodes.label`; AICR defines it for GKE alone."""


def read_path(snapshot: Snapshot, name: str) -> Reading:
    """Return what the snapshot says for the constraint called `name`."""
    match parse_path(name):
        case UnknownPath(suggestion=suggestion):
            hint = f", did you mean {suggestion}?" if suggestion else ""
            return Absent(f"{name} is no path of a snapshot{hint}")
        case ValidatorInput():
            return Absent(f"{name} is read by checks and is no path of a snapshot")
        case SnapshotPath(gpu_node_labels=True):
            return _gpu_node_labels(snapshot)
        case SnapshotPath() as path:
            return _read(snapshot, path)


def spelled(value: Scalar) -> str:
    """Return a scalar as constraints compare it: booleans `true`/`false`, whole floats without a fraction."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _read(snapshot: Snapshot, path: SnapshotPath) -> Reading:
    coverage = coverage_of(snapshot)
    if coverage is not None and path.type in _FROM_REPORTS and not coverage.enough:
        return Absent(
            f"only {coverage.reported} of {coverage.targeted} target nodes reported, "
            f"{coverage.minimum_percent} % are asked for"
        )
    subtypes = list(snapshot.subtypes(path.type, path.subtype))
    if not subtypes:
        return Absent(f"the snapshot holds no {path.type}.{path.subtype}")
    if path.selector is not None:
        return _selected(subtypes, path.selector, path.key)
    for subtype in subtypes:
        if records := subtype.conflicts(path.key):
            return _disagreement(path.key, records)
    return _agreed(path.key, [subtype.data[path.key] for subtype in subtypes if path.key in subtype.data])


def _agreed(key: str, values: Iterable[Scalar]) -> Reading:
    distinct = sorted({spelled(value) for value in values})
    if not distinct:
        return Absent(f"the snapshot holds no value for {key}")
    return Value(distinct[0]) if len(distinct) == 1 else Conflicting(tuple(distinct))


def _disagreement(key: str, records: tuple[Item, ...]) -> Reading:
    lacking = sum(
        count
        for item in records
        if item.context.get("kind") == ABSENT_KIND and isinstance(count := item.data.get("node-count"), int)
    )
    if lacking:
        return Absent(f"{lacking} nodes have no {key}, others have")
    if any(item.context.get("kind") == OTHERS_KIND for item in records):
        return Absent(f"nodes disagree about {key}, and not all of the values are listed")
    return Conflicting(tuple(item.context.get("value", "") for item in records))


def _selected(subtypes: list[Subtype], selector: Selector, key: str) -> Reading:
    items = [item for subtype in subtypes for item in subtype.items]
    match selector:
        case ByIndex(index=index):
            chosen = items[index : index + 1]
        case ByField(key=field, value=wanted):
            chosen = [item for item in items if _field(item, field) == wanted]
    values = [value for item in chosen if (value := _field(item, key)) is not None]
    return _agreed(key, values)


def _field(item: Item, key: str) -> str | None:
    if key in item.data:
        return spelled(item.data[key])
    return item.context.get(key)


def _gpu_node_labels(snapshot: Snapshot) -> Reading:
    labels, complete = labels_by_node(snapshot.subtypes("NodeTopology", "label"))
    gpu_nodes = {node: found for node, found in labels.items() if _GPU_NODE_LABEL in found}
    # Our own snapshots hold an allow-list of labels and target nodes only, which is never the whole answer.
    return GpuNodeLabels(labels=gpu_nodes, complete=complete and coverage_of(snapshot) is None)

# SPDX-License-Identifier: Apache-2.0
"""AICR's snapshot: measurements of a cluster by type and subtype, and where the nodes disagreed.

Shapes: `data` maps keys to scalars; `items` are records of `context` (text) and `data`. Where target nodes disagree
about a key, the key does not stand in `data`; one item per value does, with the context `key`, `value`, `kind` and
`note: conflict`, and the data `node-count`, `node-list` and `truncated`. Whatever a newer producer adds is kept in
`extra` and written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from evidencerun.constraint import Reading
from evidencerun.snapshot.yaml_writer import Value, write_yaml

KIND: Final = "Snapshot"
API_VERSION: Final = "aicr.run/v1"
"""The newest generation, which is the one that is written."""
API_VERSIONS: Final = ("aicr.nvidia.com/v1alpha1", "aicr.run/v1alpha2", "aicr.run/v1")
"""All generations that are read."""
CONFLICT_NOTE: Final = "conflict"
ABSENT_KIND: Final = "absent"
"""The `kind` of a disagreement's record for the nodes that have no such key."""
CUT_NOTE: Final = "cut"
"""The `note` of a record that stands for what a limit left out."""
OTHERS_KIND: Final = "others"
"""The `kind` of the record for values that are not listed one by one."""

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A record of a subtype."""

    context: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtype:
    """One group of readings, such as `OS.release`; `name` is written as the key `subtype`."""

    name: str
    data: Mapping[str, Scalar] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)
    items: tuple[Item, ...] = ()
    extra: Mapping[str, Value] = field(default_factory=dict)

    def conflicts(self, key: str) -> tuple[Item, ...]:
        """Return the records of a disagreement about `key`; empty if there is none."""
        return tuple(
            item for item in self.items if item.context.get("key") == key and item.context.get("note") == CONFLICT_NOTE
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """All subtypes of one type: K8s, GPU, OS, SystemD, NodeTopology, NetworkTopology."""

    type: str
    subtypes: tuple[Subtype, ...]
    extra: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A whole snapshot.

    `stored_fingerprint` is the block as it was read. It is a claim: nobody decides by it, everybody recomputes it
    with `evidencerun.fingerprint.fingerprint`.
    """

    kind: str = KIND
    api_version: str = API_VERSION
    metadata: Mapping[str, str] = field(default_factory=dict)
    stored_fingerprint: Mapping[str, Value] | None = None
    measurements: tuple[Measurement, ...] = ()
    extra: Mapping[str, Value] = field(default_factory=dict)

    def subtypes(self, type_: str, name: str) -> Iterator[Subtype]:
        """Yield every subtype of that address; a well-formed document has at most one."""
        for measurement in self.measurements:
            if measurement.type == type_:
                yield from (subtype for subtype in measurement.subtypes if subtype.name == name)

    def scalar(self, type_: str, name: str, key: str) -> Scalar | None:
        """Return the one value at an address, or None if there is none or the document holds several."""
        found = [subtype.data[key] for subtype in self.subtypes(type_, name) if key in subtype.data]
        return found[0] if len({(type(value), value) for value in found}) == 1 else None

    def with_fingerprint(self, block: Mapping[str, Value]) -> Snapshot:
        """Return the snapshot with this fingerprint at its top level."""
        return replace(self, stored_fingerprint=block)

    def reading(self, path: str) -> Reading:
        """Return what the snapshot says for the constraint path, e.g. `K8s.server.version`."""
        from evidencerun.snapshot.reading import read_path

        return read_path(self, path)

    def to_yaml(self) -> bytes:
        """Return the snapshot as YAML: one form only, keys of maps sorted, measurements in their order."""
        document: dict[str, Value] = {}
        if self.kind:
            document["kind"] = self.kind
        if self.api_version:
            document["apiVersion"] = self.api_version
        if self.metadata:
            document["metadata"] = _sorted(self.metadata)
        if self.stored_fingerprint is not None:
            document["fingerprint"] = self.stored_fingerprint
        document.update(_sorted(self.extra))
        document["measurements"] = [_measurement(measurement) for measurement in self.measurements]
        return write_yaml(document)


def _measurement(measurement: Measurement) -> Value:
    return {
        "type": measurement.type,
        **_sorted(measurement.extra),
        "subtypes": [_subtype(subtype) for subtype in measurement.subtypes],
    }


def _subtype(subtype: Subtype) -> Value:
    document: dict[str, Value] = {"subtype": subtype.name, **_sorted(subtype.extra)}
    if subtype.context:
        document["context"] = _sorted(subtype.context)
    document["data"] = _sorted(subtype.data)
    if subtype.items:
        document["items"] = [{"context": _sorted(item.context), "data": _sorted(item.data)} for item in subtype.items]
    return document


def _sorted(members: Mapping[str, str] | Mapping[str, Scalar] | Mapping[str, Value]) -> dict[str, Value]:
    return {key: members[key] for key in sorted(members)}

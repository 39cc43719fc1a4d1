# SPDX-License-Identifier: Apache-2.0
"""The fingerprint: what a cluster is, per dimension, with every signal that says so (docs/spec §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

from evidencerun import limits
from evidencerun.snapshot.report import Level, Tier, UnknownReason
from evidencerun.snapshot.yaml_writer import Value

if TYPE_CHECKING:
    from evidencerun.fingerprint.match import MatchResult
    from evidencerun.recipe import Recipe

NONE: Final = "none"
"""The accelerator of a cluster without one: a PCI read that succeeded on every target node."""


_DESCRIBED: Final = 5
"""Values that a sentence for people lists."""
SHARED_KERNEL: Final = "shared-kernel"
"""The mark of a cluster in which several nodes are one machine: their devices are counted once."""


class Status(StrEnum):
    """How sure a value is."""

    RESOLVED = "resolved"
    """All target nodes agree, by a sourced signal that not everybody can write."""
    CLAIMED = "claimed"
    """Said only by labels, by an unsourced row, or by a hint."""
    UNKNOWN = "unknown"


class Rank(IntEnum):
    """What a signal may decide."""

    DECIDES = 0
    FALLS_BACK = 1
    """Decides if no signal of the first rank says anything: the platform below a service."""
    SUPPORTS = 2
    """Never more than claimed by itself: a cloud that suggests its own service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One signal on one node.

    `value` is what the tables make of `raw`, "" if nothing. `sourced` says whether the row is. `family` groups signals
    that share an origin.
    """

    id: str
    tier: Tier
    level: Level
    raw: str
    value: str = ""
    sourced: bool = True
    family: str = ""
    rank: Rank = Rank.DECIDES
    error: UnknownReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalCount:
    """Equal observations of several nodes."""

    id: str
    tier: Tier
    level: Level
    raw: str
    value: str
    sourced: bool
    error: UnknownReason | None
    nodes: int

    def to_dict(self) -> dict[str, Value]:
        """Return the wire form."""
        document: dict[str, Value] = {
            "id": self.id,
            "tier": self.tier.value,
            "level": self.level.value,
            "raw": self.raw,
        }
        if self.error is not None:
            document["error"] = self.error.value
        else:
            document["value"] = self.value
        if not self.sourced:
            document["sourced"] = False
        document["nodes"] = self.nodes
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueCount:
    """How many nodes have a value; `machines` counts nodes that share a kernel once."""

    nodes: int
    machines: int
    devices: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """One dimension of the fingerprint.

    `value` is "" unless `status` is resolved or claimed. `values` counts the nodes per value, `unknown` per reason;
    together they are all target nodes. `conflicts` are the signals that say something else than the node's value.
    """

    status: Status = Status.UNKNOWN
    value: str = ""
    reason: str = UnknownReason.NOT_COLLECTED.value
    source: str = ""
    tier: Tier | None = None
    values: Mapping[str, ValueCount] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    signals: tuple[SignalCount, ...] = ()
    conflicts: tuple[SignalCount, ...] = ()

    @property
    def resolved(self) -> bool:
        """Whether the value may be relied on."""
        return self.status is Status.RESOLVED

    def describe(self) -> str:
        """Return the value, or all values with their nodes, or `unknown(reason)`: for people."""
        if self.status is Status.RESOLVED:
            return self.value
        if self.status is Status.CLAIMED:
            return f"{self.value} (claimed)"
        if len(self.values) > 1:
            shown = [f"{value} ({count.nodes})" for value, count in self.values.items()]
            rest = [f"{len(shown) - _DESCRIBED} more values"] if len(shown) > _DESCRIBED else []
            return ", ".join([*shown[:_DESCRIBED], *rest])
        return f"unknown({self.reason})"

    def to_dict(self) -> dict[str, Value]:
        """Return the wire form, without the members that stand elsewhere."""
        document: dict[str, Value] = {"value": self.value if self.resolved else "", "status": self.status.value}
        if self.status is Status.CLAIMED:
            document["claimed"] = self.value
        if not self.resolved:
            document["reason"] = self.reason
        if self.source:
            document["source"] = self.source
        if self.tier is not None:
            document["tier"] = self.tier.value
        if self.values:
            listed = list(self.values.items())[: limits.SIGNALS_MAX]
            document["values"] = [_value_count(value, count) for value, count in listed]
        if len(self.values) > limits.SIGNALS_MAX:
            document["moreValues"] = len(self.values) - limits.SIGNALS_MAX
        if self.unknown:
            document["unknown"] = [{"reason": reason, "nodes": nodes} for reason, nodes in self.unknown.items()]
        if self.signals:
            document["signals"] = [signal.to_dict() for signal in self.signals]
        if self.conflicts:
            document["conflicts"] = [signal.to_dict() for signal in self.conflicts]
        return document


def _value_count(value: str, count: ValueCount) -> Value:
    document: dict[str, Value] = {"value": value, "nodes": count.nodes, "machines": count.machines}
    if count.devices:
        document["devices"] = count.devices
    return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which nodes the fingerprint speaks for.

    `machines` counts kernels: nodes with one boot id are one. `in_cluster` is what a snapshot says about the whole
    cluster, 0 if it says nothing.
    """

    targeted: int
    reported: int
    machines: int
    minimum_percent: int = 100
    in_cluster: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Signs of simulation, and the weakest tier by which a value was resolved."""

    tier: Tier | None = None
    markers: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether anything says that the hardware is simulated."""
        return bool(self.markers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a cluster is. AICR's eight members have the same meaning as there."""

    service: Facet
    accelerator: Facet
    gpu_model: Facet
    os: Facet
    os_version: Facet
    k8s_version: Facet
    region: Facet
    kernel: Facet
    driver: Facet
    machine: Facet
    fabric: Facet
    scope: Scope
    trust: Trust
    node_count: int
    gpu_node_count: int
    shared_kernel: bool
    zones: Mapping[str, int]

    @property
    def markers(self) -> tuple[str, ...]:
        """Marks that a reader must see: `shared-kernel` if nodes are fewer machines than it seems."""
        return (SHARED_KERNEL,) if self.shared_kernel else ()

    def match(self, recipe: Recipe) -> MatchResult:
        """Compare with what a recipe asks for; the one function for run, verifier and command line."""
        from evidencerun.fingerprint.match import match_criteria

        return match_criteria(self, recipe.criteria)

    def to_dict(self) -> dict[str, Value]:
        """Return the `fingerprint:` block: AICR's members first, each with its signals, then ours."""
        from evidencerun.fingerprint.render import fingerprint_block

        return fingerprint_block(self)

    def aicr_members(self) -> dict[str, Value]:
        """Return exactly AICR's eight members, for the signed predicate."""
        from evidencerun.fingerprint.render import aicr_members

        return aicr_members(self)

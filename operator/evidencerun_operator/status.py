# SPDX-License-Identifier: Apache-2.0
"""`EvidenceRun.status` (docs/architecture.md): what the operator writes, and nobody else.

Bounded everywhere, so that it stays far below etcd's limit. Reading is lenient: an older operator survives members that
a newer one wrote. A member that is absent was not known yet; nothing is written as 0 or "" to say "unknown".
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from evidencerun import limits
from evidencerun.validation.spec import SpecModel

Digest = Annotated[str, Field(max_length=80)]
Time = Annotated[str, Field(max_length=32)]
"""RFC 3339, UTC, whole seconds."""
Count = Annotated[int, Field(ge=0)]
Word = Annotated[str, Field(max_length=253)]
Sentence = Annotated[str, Field(max_length=1024)]
Command = Annotated[str, Field(max_length=2048)]

MESSAGE_MAX = 1024
"""Characters of a condition's message."""


class RunPhase(StrEnum):
    """The states of docs/architecture.md, derived for people; nothing branches on the stored word."""

    PENDING = "Pending"
    PLANNED = "Planned"
    PROBING = "Probing"
    EVALUATING = "Evaluating"
    CHECKING = "Checking"
    SEALING = "Sealing"
    DELIVERING = "Delivering"
    CLEANING_UP = "CleaningUp"
    FINISHED = "Finished"


class ConditionType(StrEnum):
    """All conditions of a run; each is written from the first pass on."""

    ACCEPTED = "Accepted"
    """Recipe, policy, names and limits are right."""
    PLANNED = "Planned"
    """The plan is frozen in the store and in status."""
    DURABLE = "Durable"
    """The store keeps its data on a volume that outlives it."""
    NODES_REPORTED = "NodesReported"
    """Every target node has reported."""
    CHECKS_FINISHED = "ChecksFinished"
    """Every declared check has a recorded outcome."""
    SEALED = "Sealed"
    """The bundle is signed."""
    DELIVERED = "Delivered"
    """The copies that `spec.deliver` asks for exist."""
    CLEANED_UP = "CleanedUp"
    """No object of this run is left but the run itself and its deliver Job."""
    STORE_UNAVAILABLE = "StoreUnavailable"
    """True while the evidence store does not answer; the only condition whose good state is False."""
    COMPLETE = "Complete"
    """Nothing more will happen, whatever the verdict."""


class ConditionStatus(StrEnum):
    """Kubernetes' three values."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(SpecModel):
    """A Kubernetes condition."""

    type: Annotated[str, Field(max_length=63)]
    status: ConditionStatus
    reason: Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z]([A-Za-z0-9]*)$")]
    message: Annotated[str, Field(max_length=MESSAGE_MAX)] = ""
    last_transition_time: Time
    observed_generation: Count = 0


class PlanStatus(SpecModel):
    """The frozen plan's digests; the plan itself is in the store and in the bundle."""

    recipe_name: Word
    recipe_digest: Digest
    catalog_digest: Digest
    policy_generation: Count
    target_nodes_digest: Digest
    target_node_count: Count
    images: Annotated[dict[Word, Annotated[str, Field(max_length=512)]], Field(max_length=8)]
    nonce: Word
    frozen_at: Time
    deadline_time: Time
    plan_digest: Digest


class NodeSample(SpecModel):
    """A node that has not reported, with the API's own words."""

    name: Word
    reason: Sentence


class NodesStatus(SpecModel):
    """Coverage of the target nodes."""

    targeted: Count
    reported: Count = 0
    failed: Count = 0
    missing: Count = 0
    sample: Annotated[tuple[NodeSample, ...], Field(max_length=limits.STATUS_SAMPLE_MAX)] = ()


class MatchDimension(SpecModel):
    """One dimension: what the recipe asks, what was seen."""

    name: Word
    recipe: Word
    observed: Sentence
    outcome: Word


class MatchStatus(SpecModel):
    """Fingerprint against recipe."""

    overall: Word
    dimensions: Annotated[tuple[MatchDimension, ...], Field(max_length=32)] = ()


class CheckSample(SpecModel):
    """A check with an attempt that failed or came to nothing."""

    name: Word
    outcome: Word
    """Such as `failed`, `other(oom-killed)`, `passed after failed`."""
    message: Sentence = ""


class ChecksStatus(SpecModel):
    """Denominators; `other` holds what is neither passed, failed nor skipped."""

    declared: Count = 0
    executed: Count = 0
    passed: Count = 0
    failed: Count = 0
    skipped: Count = 0
    other: Count = 0
    attempts: Count = 0
    sample: Annotated[tuple[CheckSample, ...], Field(max_length=limits.STATUS_SAMPLE_MAX)] = ()


class DeliveredCopy(SpecModel):
    """One copy of the bundle outside of the store."""

    kind: Word
    ref: Sentence


class BundleStatus(SpecModel):
    """The bundle and how to get it with kubectl alone."""

    archive_digest: Digest = ""
    manifest_digest: Digest = ""
    inventory_digest: Digest = ""
    logs_digest: Digest = ""
    size: Count = 0
    signer: Word = ""
    fetch: Command = ""
    fetch_logs: Command = ""
    delivered: Annotated[tuple[DeliveredCopy, ...], Field(max_length=8)] = ()


class RunStatus(SpecModel):
    """`EvidenceRun.status`."""

    observed_generation: Count = 0
    phase: Annotated[str, Field(max_length=32)] = ""
    summary: Annotated[str, Field(max_length=512)] = ""
    next_action: Command = ""
    plan: PlanStatus | None = None
    nodes: NodesStatus | None = None
    match: MatchStatus | None = None
    checks: ChecksStatus | None = None
    verdict: Annotated[str, Field(max_length=32)] = ""
    bundle: BundleStatus | None = None
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = ()

    def to_wire(self) -> dict[str, object]:
        """Return the JSON form; what is not known yet is absent, not empty."""
        wire = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        if "bundle" in wire:
            wire["bundle"] = _without_empty(wire["bundle"])
        return _without_empty(wire)


def _without_empty(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value != ""}

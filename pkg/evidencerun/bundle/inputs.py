# SPDX-License-Identifier: Apache-2.0
"""What a bundle is assembled from, as the store holds it: raw, not redacted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from evidencerun.recipe import Recipe
from evidencerun.snapshot.nodes import NodeEntry
from evidencerun.validation.plan import Plan
from evidencerun.validation.storeapi import AttemptView, ContainerEnding, SealRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One attempt of a check as the store's ledger knows it.

    `view` carries the outcome. `ending` is absent if no end was seen. `log` is what was kept of the container's log,
    `log_truncated` counts the bytes left out of it. `results` are the files under /results by name.
    """

    view: AttemptView
    ending: ContainerEnding | None = None
    log: bytes = b""
    log_truncated: int = 0
    results: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RanImage:
    """An image of our own pods beside the checks': `role` is `probe`; `image_id` is the kubelet's.

    `pods` is the number of those that were looked at and ran it.
    """

    role: str
    image: str
    image_id: str
    pods: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInputs:
    """Everything that goes into a bundle.

    `plan_bytes` are the plan as the store keeps it. `nodes` are all target nodes, sorted by uid, with raw identifiers,
    as the run was evaluated at `taken_at`; they are gone through twice, and only one of them is held at a time.
    `redaction_key` (at least 16 random bytes, one per run) never leaves the store. `sealed_at` is when the bundle is
    built; both times are RFC 3339, UTC, whole seconds. `version` is the producer's, without a name (`0.1.0`). `images`
    are those of our own pods that are no checks.
    """

    plan: Plan
    plan_bytes: bytes
    recipe: Recipe
    nodes: Iterable[NodeEntry]
    taken_at: str
    attempts: Sequence[AttemptRecord]
    seal: SealRequest
    redaction_key: bytes
    sealed_at: str
    version: str
    images: Sequence[RanImage] = ()

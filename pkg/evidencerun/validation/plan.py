# SPDX-License-Identifier: Apache-2.0
"""The frozen plan of a run: everything that must not change once the first child object exists (docs/architecture.md).

The operator builds it, the store checks and keeps it, `run.json` repeats it, and the verifier recomputes its digests.
The wire form is RFC 8785 JSON.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Base64Bytes, Field

from evidencerun.canonical import canonical_json, sha256_prefixed
from evidencerun.snapshot.report import NodeFacts
from evidencerun.validation.spec import CatalogEntry, Name, Phase, PolicySpec, RunSpec, SpecModel

PLAN_SCHEMA = "https://evidencerun.dev/schemas/plan/v1"
Text = Annotated[str, Field(max_length=4096)]


class PlannedCheck(SpecModel):
    """A check that the recipe declares and the run did not narrow away.

    `entry` is absent if the policy's catalog has no check of this name in this phase: such a check is recorded as
    `other(not-in-catalog)`. `skipped` is true if `spec.checks` excluded it: it is recorded as skipped(excluded).
    """

    name: Name
    phase: Phase
    entry: CatalogEntry | None = None
    excluded: bool = False


class RunIdentity(SpecModel):
    """Which EvidenceRun object this is."""

    uid: Text
    name: Text
    namespace: Text
    generation: int


class PolicyIdentity(SpecModel):
    """Which EvidencePolicy object, at which generation."""

    uid: Text
    name: Text
    generation: int


class ServerVersion(SpecModel):
    """The API server's `/version`."""

    git_version: Text = ""
    platform: Text = ""
    go_version: Text = ""


class ClusterIdentity(SpecModel):
    """What tells this cluster from another: the digest of its CA certificate as pods see it."""

    ca_digest: Text
    server: ServerVersion


class PlanImages(SpecModel):
    """Our own images, as the chart pinned them."""

    evidencerun: Text
    probe: Text


class Plan(SpecModel):
    """The plan. `target_nodes` is sorted by uid, `checks` by phase order and then by catalog order."""

    plan_schema: Annotated[str, Field(alias="schema")] = PLAN_SCHEMA
    run: RunIdentity
    spec: RunSpec
    policy: PolicyIdentity
    policy_spec: PolicySpec
    recipe_name: Text
    recipe_digest: Text
    """The v3 digest of C(the user's bytes): 64 hex digits."""
    recipe: Base64Bytes
    """The user's bytes, never re-encoded."""
    cluster: ClusterIdentity
    target_nodes: list[NodeFacts]
    checks: list[PlannedCheck]
    images: PlanImages
    nonce: Text
    """32 random hex digits: results of another run cannot be passed off as this one's."""
    frozen_at: Text
    deadline_time: Text
    """RFC 3339, UTC, whole seconds."""

    def to_bytes(self) -> bytes:
        """Return the RFC 8785 form."""
        return canonical_json(self.model_dump(mode="json", by_alias=True, exclude_none=True))

    @property
    def catalog_digest(self) -> str:
        """`sha256:` digest over the RFC 8785 form of the policy's catalog."""
        entries = [entry.model_dump(mode="json", by_alias=True) for entry in self.policy_spec.catalog]
        return sha256_prefixed(canonical_json(entries))

    @property
    def target_nodes_digest(self) -> str:
        """`sha256:` digest over the RFC 8785 form of [{uid, name}] sorted by uid."""
        nodes = sorted(({"name": node.name, "uid": node.uid} for node in self.target_nodes), key=lambda n: n["uid"])
        return sha256_prefixed(canonical_json(nodes))

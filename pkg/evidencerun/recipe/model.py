# SPDX-License-Identifier: Apache-2.0
"""A recipe as it was read: what it asks of a cluster, what it deploys, what is to be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from evidencerun.constraint import Constraint

ANY: Final = "any"
PHASES: Final = ("readiness", "deployment", "conformance", "performance")
"""The phases that a recipe can declare; `readiness` holds constraints only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What the recipe is for, normalised (lower case, aliases resolved). "" or "any": not asked; nodes 0: not asked."""

    service: str = ""
    accelerator: str = ""
    os: str = ""
    intent: str = ""
    platform: str = ""
    nodes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedResource:
    """A Kubernetes object that must exist and be ready; `namespace` "" for the component's own or cluster scope."""

    kind: str
    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One thing that the recipe deploys. `type` is `Helm` or `Kustomize`; texts that are not given are ""."""

    name: str
    type: str = ""
    namespace: str = ""
    version: str = ""
    source: str = ""
    chart: str = ""
    tag: str = ""
    path: str = ""
    enabled: bool = True
    dependencies: tuple[str, ...] = ()
    manifest_files: tuple[str, ...] = ()
    expected_resources: tuple[ExpectedResource, ...] = ()
    health_check_asserts: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePlan:
    """What one phase declares; all empty if the recipe says nothing about it.

    `unread_fields` names members of the format that nothing acts on (`timeout`, `nodeSelection`, `infrastructure`).
    """

    checks: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    unread_fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The profile value that the recipe was made with; `advertiser` "" if none is named."""

    name: str
    value: str
    advertiser: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownField:
    """A member that no known generation of the format has; kept in the bytes, not understood."""

    path: str
    where: str


_NOTHING: Final = PhasePlan()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A fully resolved recipe (kind RecipeResult), of any generation.

    `source` is what was read, byte for byte; `canonical` its canonical form; `digest` the v3 recipe digest, 64 bare
    hexadecimal digits. `constraints` are those of the readiness gate: the top-level ones, then those of
    `validation.readiness`.
    """

    api_version: str
    source: bytes = field(repr=False)
    canonical: bytes = field(repr=False)
    digest: str
    criteria: Criteria
    constraints: tuple[Constraint, ...] = ()
    components: tuple[Component, ...] = ()
    phases: Mapping[str, PhasePlan] = field(default_factory=dict)
    deployment_order: tuple[str, ...] = ()
    producer_version: str = ""
    applied_overlays: tuple[str, ...] = ()
    profile: Profile | None = None
    unknown_fields: tuple[UnknownField, ...] = ()

    @property
    def name(self) -> str:
        """The recipe's name: criteria that are asked, joined by hyphens, then the profile; `recipe` if nothing is."""
        asked = self.criteria
        words = [asked.accelerator, asked.service, asked.os, asked.intent, asked.platform]
        slug = "-".join(word for word in words if word not in ("", ANY)) or "recipe"
        return f"{slug}-{self.profile.name}-{self.profile.value}".lower() if self.profile else slug

    def phase(self, name: str) -> PhasePlan:
        """Return what the recipe declares for a phase; an empty plan if it does not name it."""
        return self.phases.get(name, _NOTHING)

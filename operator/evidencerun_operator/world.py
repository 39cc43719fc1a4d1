# SPDX-License-Identifier: Apache-2.0
"""Everything that a decision may look at besides the run itself; frozen values, no adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evidencerun.validation.plan import ClusterIdentity, Plan, PlanImages
from evidencerun.validation.storeapi import RunView
from evidencerun_operator.run_object import Faulty, Policy
from evidencerun_operator.views import ChildView, NodeHealth, NodeView, PodView


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An object that a run refers to and that does not exist (yet)."""

    what: str
    """Such as `ConfigMap evidence/recipe-h100`."""
    fix: str
    """A literal command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDown:
    """The store does not answer, or answers with a failure of its own."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLost:
    """The store answers, but does not know a run whose plan was frozen: its volume is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Namespaces and addresses of this installation."""

    system: str
    probes: str
    checks: str
    runs: tuple[str, ...]
    store_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWorld:
    """What is looked at before the plan is frozen."""

    places: Places
    policy: Policy | Faulty | Missing
    recipe: bytes | Missing
    nodes: tuple[NodeView, ...]
    occupied: int
    """Runs with a plan that are not complete."""
    ahead: int
    """Accepted runs without a plan that are older than this one."""
    store: Plan | StoreDown | None
    """The plan that the store holds already; None if it has none."""
    cluster: ClusterIdentity
    images: PlanImages
    nonce: str
    """Fresh random digits, used only if the plan is made now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedWorld:
    """The same for a run that goes on waiting for its turn."""

    policy: Policy
    position: int
    store: Plan | StoreDown | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveWorld:
    """What is looked at once the plan is frozen. Lists hold what the stage needs; others are empty."""

    places: Places
    plan: Plan | None
    """None only while the store is away and this process has not seen the plan."""
    store: RunView | StoreDown | StoreLost
    children: tuple[ChildView, ...] = ()
    pods: tuple[PodView, ...] = ()
    troubles: Mapping[str, str] = field(default_factory=dict)
    """Name of a child or pod to the newest warning that the API has about it."""
    nodes: Mapping[str, NodeHealth] = field(default_factory=dict)
    store_ca: str = ""
    """PEM text of the store's CA."""
    runtime_classes: frozenset[str] = frozenset()

    def child(self, kind: str, namespace: str, name: str) -> ChildView | None:
        """Return the child of that name that is not being deleted, if it exists."""
        for known in self.children:
            if (known.kind, known.namespace, known.name) == (kind, namespace, name):
                return known
        return None

    def pod_of(self, owner: str) -> PodView | None:
        """Return the newest pod of a Job."""
        mine = [pod for pod in self.pods if pod.owner == owner]
        return max(mine, key=lambda pod: pod.created_at, default=None)


World = PendingWorld | QueuedWorld | ActiveWorld

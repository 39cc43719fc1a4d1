# SPDX-License-Identifier: Apache-2.0
"""What a decision asks for. Each action may be repeated: it changes nothing the second time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from evidencerun.kube.base import Resource
from evidencerun.validation.plan import Plan
from evidencerun.validation.storeapi import AttemptRequest, SealRequest
from evidencerun_operator.status import RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class PutPlan:
    """Freeze the plan in the store; what is stored already wins."""

    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAttempt:
    """Write news of an attempt into the store's ledger."""

    request: AttemptRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """Ask the store to merge and evaluate; the first result is kept."""

    stragglers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Ask the store to assemble and seal; the first request is kept."""

    request: SealRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Tell the store that the run is over; retention begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensure:
    """Create an object, or verify that the one of this name is ours and the same."""

    resource: Resource
    manifest: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete one object by name and uid, its dependents in the background."""

    resource: Resource
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePods:
    """Delete all pods of a run in a namespace; `force` does not wait for a kubelet that is gone."""

    namespace: str
    selector: str
    force: bool = False


Action = PutPlan | RecordAttempt | Evaluate | Seal | Close | Ensure | Delete | DeletePods


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Chains of actions that do not wait for each other; a chain ends at its first failure."""

    chains: tuple[tuple[Action, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome of one pass: actions in their order, then the status, then when to look again (None: never)."""

    status: RunStatus
    actions: tuple[Action | SideBySide, ...] = ()
    requeue_after: float | None = None

    def flat(self) -> Iterator[Action]:
        """Return the single actions, chain after chain."""
        for action in self.actions:
            if isinstance(action, SideBySide):
                for chain in action.chains:
                    yield from chain
            else:
                yield action

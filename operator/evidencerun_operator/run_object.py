# SPDX-License-Identifier: Apache-2.0
"""Our two kinds as the API server returns them, read leniently; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from evidencerun.validation.plan import PolicyIdentity
from evidencerun.validation.spec import PolicySpec, RunSpec
from evidencerun_operator.conditions import find
from evidencerun_operator.naming import RunRef
from evidencerun_operator.status import ConditionStatus, ConditionType, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """An object that cannot be read; `faults` are `field path: message` texts."""

    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An EvidenceRun."""

    ref: RunRef
    generation: int
    resource_version: str
    created_at: str
    deleting: bool
    spec: RunSpec | Faulty
    status: RunStatus
    raw_status: dict[str, Any]

    @property
    def complete(self) -> bool:
        """Whether nothing more will ever happen."""
        condition = find(self.status.conditions, ConditionType.COMPLETE)
        return condition is not None and condition.status is ConditionStatus.TRUE

    @property
    def cancelled(self) -> bool:
        """Whether the user asked for the end."""
        return isinstance(self.spec, RunSpec) and self.spec.cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An EvidencePolicy."""

    identity: PolicyIdentity
    spec: PolicySpec


def read_run(body: dict[str, Any]) -> Run:
    """Return the run of an EvidenceRun object; a status that cannot be read counts as empty."""
    meta = body["metadata"]
    raw = body.get("status")
    raw_status = raw if isinstance(raw, dict) else {}
    try:
        spec: RunSpec | Faulty = RunSpec.model_validate(body.get("spec"))
    except ValidationError as fault:
        spec = Faulty(faults=_faults(fault))
    try:
        status = RunStatus.model_validate(raw_status)
    except ValidationError:
        status = RunStatus()
    return Run(
        ref=RunRef(uid=meta["uid"], namespace=meta["namespace"], name=meta["name"]),
        generation=int(meta.get("generation") or 0),
        resource_version=str(meta.get("resourceVersion") or ""),
        created_at=str(meta.get("creationTimestamp") or ""),
        deleting=bool(meta.get("deletionTimestamp")),
        spec=spec,
        status=status,
        raw_status=raw_status,
    )


def read_policy(body: dict[str, Any]) -> Policy | Faulty:
    """Return the policy of an EvidencePolicy object."""
    meta = body["metadata"]
    try:
        spec = PolicySpec.model_validate(body.get("spec"))
    except ValidationError as fault:
        return Faulty(faults=_faults(fault))
    identity = PolicyIdentity(uid=meta["uid"], name=meta["name"], generation=int(meta.get("generation") or 0))
    return Policy(identity=identity, spec=spec)


def _faults(fault: ValidationError) -> tuple[str, ...]:
    return tuple(
        f"spec.{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in fault.errors(include_input=False)[:10]
    )

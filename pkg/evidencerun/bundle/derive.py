# SPDX-License-Identifier: Apache-2.0
"""What follows from the primary parts of a bundle, computed in one place for builder and verifier.

Primary: recipe.yaml, nodes.json, and of run.json the plan, the seal and the checks. Derived: snapshot, fingerprint,
match, readiness, node counts, digests, check counts, verdict. A claim that does not follow is therefore never written,
and never accepted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evidencerun.bundle.record import AttemptRun, CheckRun, NodeCounts, PlanRecord, Straggler, TrustRecord
from evidencerun.canonical import canonical_json, sha256_prefixed
from evidencerun.fingerprint import Fingerprint, MatchResult
from evidencerun.fingerprint.build import fingerprint_of
from evidencerun.fingerprint.node_signals import node_view
from evidencerun.fingerprint.node_view import NodeView
from evidencerun.recipe import Recipe
from evidencerun.snapshot.assemble import ServerInfo, SnapshotBuilder
from evidencerun.snapshot.document import Snapshot
from evidencerun.snapshot.nodes import NodeEntry, NodeState
from evidencerun.validation.outcome import began
from evidencerun.validation.readiness import Readiness, evaluate_readiness
from evidencerun.validation.storeapi import (
    AttemptView,
    CheckCounts,
    CheckStatus,
    ContainerEnding,
    SealReason,
    Verdict,
)
from evidencerun.validation.verdict import (
    CheckRecord,
    VerdictInputs,
    count_checks,
    coverage_met,
    decide_verdict,
    derive_checks,
    empty_phases,
    incomplete_reasons,
    left_out,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured, as the documents of one bundle say it. `snapshot` carries the fingerprint block."""

    snapshot: Snapshot
    fingerprint: Fingerprint
    match: MatchResult
    readiness: Readiness
    nodes: tuple[NodeSummary, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSummary:
    """What of a target node is counted and named, without its report."""

    uid: str
    name: str
    state: NodeState
    reason: str
    conflicting_reports: int


class Measuring:
    """Takes the target nodes of a run one after the other, sorted by uid; their reports are not kept."""

    def __init__(self, recipe: Recipe, *, plan: PlanRecord, taken_at: str, version: str) -> None:
        server = plan.cluster.server
        self._recipe = recipe
        self._views: list[NodeView] = []
        self._nodes: list[NodeSummary] = []
        self._snapshot = SnapshotBuilder(
            server=ServerInfo(git_version=server.git_version, platform=server.platform, go_version=server.go_version),
            taken_at=taken_at,
            version=version,
            min_coverage_percent=plan.spec.target.min_coverage_percent,
        )

    def taking(self, nodes: Iterable[NodeEntry]) -> Iterator[NodeEntry]:
        """Yield the nodes as they come, each taken on its way."""
        for entry in nodes:
            self._snapshot.add(entry)
            self._views.append(node_view(entry))
            self._nodes.append(
                NodeSummary(
                    uid=entry.facts.uid,
                    name=entry.facts.name,
                    state=entry.state,
                    reason=entry.reason,
                    conflicting_reports=entry.conflicting_reports,
                )
            )
            yield entry

    def measured(self) -> Measured:
        """Return snapshot, fingerprint, match and readiness of the nodes that were taken."""
        snapshot = self._snapshot.snapshot()
        found = fingerprint_of(snapshot, self._views)
        return Measured(
            snapshot=snapshot.with_fingerprint(found.to_dict()),
            fingerprint=found,
            match=found.match(self._recipe),
            readiness=evaluate_readiness(self._recipe, snapshot),
            nodes=tuple(self._nodes),
        )


def measure(recipe: Recipe, nodes: Iterable[NodeEntry], *, plan: PlanRecord, taken_at: str, version: str) -> Measured:
    """Return snapshot, fingerprint, match and readiness of these nodes, sorted by uid."""
    measuring = Measuring(recipe, plan=plan, taken_at=taken_at, version=version)
    for _ in measuring.taking(nodes):
        pass
    return measuring.measured()


def count_nodes(nodes: Sequence[NodeSummary], min_coverage_percent: int) -> NodeCounts:
    """Return the denominators of the probe."""
    states = [node.state for node in nodes]
    reported = states.count(NodeState.REPORTED)
    return NodeCounts(
        targeted=len(states),
        reported=reported,
        failed=states.count(NodeState.FAILED),
        missing=states.count(NodeState.MISSING),
        min_coverage_percent=min_coverage_percent,
        coverage_met=coverage_met(reported=reported, targeted=len(states), minimum_percent=min_coverage_percent),
        conflicting_reports=sum(node.conflicting_reports for node in nodes),
        stragglers=[
            Straggler(name=node.name, state=node.state.value, reason=node.reason)
            for node in nodes
            if node.state is not NodeState.REPORTED
        ],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """The end of the chain: the outcome of each declared check, counts, verdict, what is missing (failures aside)."""

    checks: tuple[CheckRecord, ...]
    counts: CheckCounts
    verdict: Verdict
    incomplete: tuple[str, ...]


def conclude(
    plan: PlanRecord,
    recipe: Recipe,
    *,
    seal: SealReason,
    nodes: NodeCounts,
    measured: Measured,
    checks: Sequence[CheckRun],
) -> Conclusion:
    """Return what follows for the whole run from the attempts of its checks and from what was measured."""
    records = derive_checks(plan, [view for check in checks for view in _views(check)])
    inputs = VerdictInputs(
        seal_reason=seal,
        checks=records,
        overall=measured.match.overall,
        ready=measured.readiness.ready,
        coverage_met=nodes.coverage_met,
        narrowed=left_out(plan, recipe),
        empty=empty_phases(recipe),
        fingerprint_only=plan.spec.fingerprint_only,
    )
    # Complete is: would be Passed if every check that failed had passed. Failing is another question.
    as_if_passed = tuple(
        replace(check, status=CheckStatus.PASSED) if check.status is CheckStatus.FAILED else check for check in records
    )
    return Conclusion(
        checks=records,
        counts=count_checks(records),
        verdict=decide_verdict(inputs),
        incomplete=incomplete_reasons(replace(inputs, checks=as_if_passed)),
    )


def _views(check: CheckRun) -> list[AttemptView]:
    return [
        AttemptView(
            check=check.name,
            phase=check.phase,
            attempt=attempt.attempt,
            job_name=attempt.job_name,
            state=attempt.state,
            status=attempt.status,
            reason=attempt.reason,
            started=began(ending_of(attempt)),
        )
        for attempt in check.attempts
    ]


def ending_of(attempt: AttemptRun) -> ContainerEnding:
    """Return the ending that run.json records of an attempt."""
    return ContainerEnding(
        exit_code=attempt.exit_code,
        signal=attempt.signal,
        reason=attempt.ending[:4096],
        started_at=attempt.started_at[:4096],
        finished_at=attempt.finished_at[:4096],
    )


def catalog_digest(plan: PlanRecord) -> str:
    """Return the digest over the RFC 8785 form of the policy's catalog (as `Plan.catalog_digest`)."""
    entries = [entry.model_dump(mode="json", by_alias=True) for entry in plan.policy_spec.catalog]
    return sha256_prefixed(canonical_json(entries))


def target_nodes_digest(nodes: Sequence[NodeSummary]) -> str:
    """Return the digest over [{name, uid}] sorted by uid, with the names that nodes.json gives."""
    named = [{"name": node.name, "uid": node.uid} for node in nodes]
    return sha256_prefixed(canonical_json(sorted(named, key=lambda node: node["uid"])))


def match_record(match: MatchResult) -> dict[str, Any]:
    """Return the match as run.json holds it."""
    return _plain(match.to_dict())


def readiness_record(readiness: Readiness) -> dict[str, Any]:
    """Return the readiness gate as run.json holds it."""
    return _plain(
        {
            "ready": readiness.ready,
            "constraints": [
                {
                    "name": row.name,
                    "expected": row.expected,
                    "found": row.found,
                    "outcome": str(row.outcome),
                    "severity": str(row.severity),
                    "reason": row.reason,
                }
                for row in readiness.constraints
            ],
        }
    )


def _plain(document: Mapping[str, object]) -> dict[str, Any]:
    """Return the document as a JSON reader finds it: words of closed sets become text."""
    found: dict[str, Any] = json.loads(json.dumps(document))
    return found


def trust_record(found: Fingerprint) -> TrustRecord:
    """Return the signs of simulation."""
    return TrustRecord(synthetic=found.trust.synthetic, markers=list(found.trust.markers))

# SPDX-License-Identifier: Apache-2.0
"""From the reports to snapshot, fingerprint, match and readiness: made once per run, then only read. Blocking code."""

from __future__ import annotations

from collections.abc import Mapping

from evidencerun import __version__, limits
from evidencerun.bundle.derive import Measured, count_nodes, measure
from evidencerun.bundle.plan_record import plan_record
from evidencerun.canonical import parse_json
from evidencerun.recipe import load_recipe, validation_input
from evidencerun.snapshot.nodes import NodeEntry, NodesDocument, NodeState, nodes_document
from evidencerun.snapshot.report import NodeFacts, NodeReport
from evidencerun.store import disk, report_files
from evidencerun.store.probe_images import SeenImages
from evidencerun.store.run_folder import RunFolder
from evidencerun.validation.plan import Plan
from evidencerun.validation.storeapi import ConstraintView, DimensionView, Evaluation

INPUT_FILES = ("recipe.yaml", "snapshot.yaml", "validation.yaml", "nodes.json")
"""What a check may fetch."""


def load_plan(folder: RunFolder) -> Plan:
    """Return the stored plan."""
    return Plan.model_validate_json(folder.read("plan.json"))


def evaluate(folder: RunFolder, *, stragglers: Mapping[str, str], taken_at: str, images: SeenImages) -> Evaluation:
    """Evaluate the reports and store the result; if there is one already, that is returned.

    The snapshot that checks are given is the one that the bundle holds, from the same function, before redaction.
    `stragglers` maps uids of nodes that have not reported to the API's own words; `taken_at` is RFC 3339 in UTC.
    """
    stored = folder.load_evaluation()
    if stored is not None:
        return stored
    plan = load_plan(folder)
    nodes = nodes_document([_entry(folder, facts, stragglers) for facts in plan.target_nodes])
    recipe = load_recipe(plan.recipe)
    measured = measure(recipe, nodes, plan=plan_record(plan), taken_at=taken_at, version=__version__)
    evaluation = _evaluation(plan, nodes, measured, taken_at)
    disk.put_folder(
        folder.evaluation,
        {
            "nodes.json": nodes.to_bytes(),
            "snapshot.yaml": measured.snapshot.to_yaml(),
            "validation.yaml": validation_input(recipe),
            "recipe.yaml": recipe.canonical,
            "images.json": images.model_dump_json(by_alias=True).encode(),
            "evaluation.json": evaluation.model_dump_json(by_alias=True).encode(),
        },
    )
    return evaluation


def _entry(folder: RunFolder, facts: NodeFacts, stragglers: Mapping[str, str]) -> NodeEntry:
    stored = report_files.read_report(folder.nodes, facts.uid)
    if stored is None:
        return NodeEntry(facts=facts, state=NodeState.MISSING, reason=stragglers.get(facts.uid, ""))
    origin = stored.origin
    return NodeEntry(
        facts=facts,
        state=NodeState.REPORTED,
        report=parse_report(stored.content),
        report_digest=f"sha256:{origin.sha256}",
        pod_uid=origin.pod_uid,
        received_at=origin.received_at,
        conflicting_reports=stored.conflicts,
    )


def parse_report(content: bytes) -> NodeReport:
    """Return a report as a model; raises `InputError` for bytes that break JSON's rules, `ValidationError`."""
    plain = parse_json(
        content,
        what="the node report",
        max_bytes=limits.REPORT_MAX,
        max_depth=limits.REPORT_JSON_DEPTH,
        max_values=limits.REPORT_VALUES_MAX,
    )
    return NodeReport.model_validate(plain)


def _evaluation(plan: Plan, nodes: NodesDocument, measured: Measured, taken_at: str) -> Evaluation:
    match, readiness = measured.match, measured.readiness
    counted = count_nodes(nodes, plan.spec.target.min_coverage_percent)
    return Evaluation(
        taken_at=taken_at,
        overall=match.describe(),
        dimensions=[
            DimensionView(name=row.name, recipe=row.recipe, observed=row.observed, outcome=row.outcome)
            for row in match.dimensions
        ],
        ready=readiness.ready,
        constraints=[
            ConstraintView(
                name=row.name,
                expected=row.expected,
                found=row.found,
                outcome=row.outcome,
                severity=row.severity,
                reason=row.reason,
            )
            for row in readiness.constraints
        ],
        reported=counted.reported,
        failed=counted.failed,
        missing=counted.missing,
        coverage_met=counted.coverage_met,
        markers=list(measured.fingerprint.trust.markers),
    )

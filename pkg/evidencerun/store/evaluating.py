# SPDX-License-Identifier: Apache-2.0
"""From the reports to snapshot, fingerprint, match and readiness: made once per run, then only read. Blocking code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from evidencerun import __version__, limits
from evidencerun.bundle.derive import Measured, Measuring, count_nodes
from evidencerun.bundle.plan_record import plan_record
from evidencerun.canonical import parse_json
from evidencerun.errors import StoreError
from evidencerun.recipe import load_recipe, validation_input
from evidencerun.snapshot.nodes import NodeEntry, NodeState, node_pieces
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
    disk.write_folder(folder.evaluation, _files(folder, stragglers=stragglers, taken_at=taken_at, images=images))
    return Evaluation.model_validate_json(folder.read("evaluation/evaluation.json"))


def _files(
    folder: RunFolder, *, stragglers: Mapping[str, str], taken_at: str, images: SeenImages
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield names and contents. The reports are read once, while nodes.json is written: one at a time.

    All of 5,000 together take more memory than the store has.
    """
    plan = load_plan(folder)
    recipe = load_recipe(plan.recipe)
    measuring = Measuring(recipe, plan=plan_record(plan), taken_at=taken_at, version=__version__)
    targets = sorted(plan.target_nodes, key=lambda facts: facts.uid)
    entries = measuring.taking(_entry(folder, facts, stragglers) for facts in targets)
    yield "nodes.json", _bounded(node_pieces(entries))
    measured = measuring.measured()
    yield "snapshot.yaml", [measured.snapshot.to_yaml()]
    yield "validation.yaml", [validation_input(recipe)]
    yield "recipe.yaml", [recipe.canonical]
    yield "images.json", [images.model_dump_json(by_alias=True).encode()]
    yield "evaluation.json", [_evaluation(plan, measured, taken_at).model_dump_json(by_alias=True).encode()]


def _bounded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Stop where no bundle could hold the document: a report takes more room here than where it came from."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limits.NODES_DOCUMENT_MAX:
            raise StoreError(
                "E4522",
                "the node reports of this run are too large for a bundle",
                why=f"nodes.json would have more than {limits.NODES_DOCUMENT_MAX} bytes",
                fix="look at fewer nodes in one run: narrow spec.target.pools",
                retryable=False,
            )
        yield piece


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


def _evaluation(plan: Plan, measured: Measured, taken_at: str) -> Evaluation:
    match, readiness = measured.match, measured.readiness
    counted = count_nodes(measured.nodes, plan.spec.target.min_coverage_percent)
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

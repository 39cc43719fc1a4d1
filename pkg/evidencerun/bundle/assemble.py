# SPDX-License-Identifier: Apache-2.0
"""Builds a bundle: the same inputs give the same bytes on any machine, gzip excepted, which is made once."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evidencerun.attest.statement import unsigned_statement
from evidencerun.bom.images import image_digest
from evidencerun.bundle import layout
from evidencerun.bundle.archive import write_archive
from evidencerun.bundle.artifact import build_artifact
from evidencerun.bundle.bom_of import bom_of
from evidencerun.bundle.checks import CheckContext, check_runs, epoch_milliseconds
from evidencerun.bundle.derive import (
    Measured,
    Measuring,
    catalog_digest,
    conclude,
    count_nodes,
    match_record,
    readiness_record,
    target_nodes_digest,
    trust_record,
)
from evidencerun.bundle.inputs import AttemptRecord, BundleInputs, RanImage
from evidencerun.bundle.manifest import build_manifest
from evidencerun.bundle.phase_page import phase_pages
from evidencerun.bundle.phase_reports import phase_reports
from evidencerun.bundle.plan_record import plan_record
from evidencerun.bundle.predicate_of import derive_predicate
from evidencerun.bundle.record import (
    CheckRun,
    ImageRun,
    LogsRecord,
    ObservedImage,
    PlanDigests,
    Producer,
    RedactionRecord,
    RunRecord,
    SealRecord,
)
from evidencerun.bundle.redaction import POLICY, VERSION, Redactor
from evidencerun.bundle.verify_page import verify_page
from evidencerun.canonical import sha256_prefixed
from evidencerun.errors import EvidenceError
from evidencerun.recipe import Recipe
from evidencerun.snapshot.nodes import NodeEntry, NodeState, node_pieces
from evidencerun.validation.spec import LogsMode, Redaction
from evidencerun.validation.storeapi import CheckCounts, Verdict

__all__ = ["AssembledBundle", "AttemptRecord", "BundleInputs", "RanImage", "assemble"]

PRODUCER_NAME: Final = "evidencerun"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledBundle:
    """A bundle ready to be signed.

    `files` is everything but the attestation. The three OCI blobs and the log archive are made once: their digests
    hold for these bytes only. `logs_archive` is empty and `logs_digest` "" if the logs stand in the bundle. Digests
    carry `sha256:`; `inventory_digest` is that of manifest.json, `manifest_digest` that of the OCI manifest.
    """

    files: Mapping[str, bytes]
    inventory_digest: str
    oci_layer: bytes
    oci_config: bytes
    oci_manifest: bytes
    manifest_digest: str
    logs_archive: bytes
    logs_digest: str
    verdict: Verdict
    counts: CheckCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the record is made of."""

    recipe: Recipe
    nodes: bytes
    measured: Measured
    checks: Sequence[CheckRun]
    observed: Sequence[ObservedImage]
    images: Sequence[ImageRun]
    fired: Mapping[str, int]
    logs: LogsRecord


def assemble(inputs: BundleInputs) -> AssembledBundle:
    """Build the bundle of a run.

    Raises:
        EvidenceError: E2050, an image that ran has no digest, or redaction would change what was measured.

    """
    recipe = inputs.recipe
    redactor = _redactor(inputs, recipe)
    nodes, measured = _published(inputs, redactor)
    context = CheckContext(plan=inputs.plan, rewrite=redactor.text if redactor else str)
    checks, observed = check_runs(context, inputs.attempts)
    logs = _logs(inputs)
    bundled = inputs.plan.spec.logs is LogsMode.BUNDLED
    mtime = epoch_milliseconds(inputs.sealed_at) // 1000
    logs_archive = b"" if bundled else write_archive(logs, mtime)
    logs_digest = sha256_prefixed(logs_archive) if logs_archive else ""
    parts = _Parts(
        recipe=recipe,
        nodes=nodes,
        measured=measured,
        checks=checks,
        observed=observed,
        images=_images(inputs, checks),
        fired=dict((redactor.fired if redactor else Counter[str]()) + context.fired),
        logs=LogsRecord(mode=inputs.plan.spec.logs, files=len(logs), digest=logs_digest),
    )
    record = _record(inputs, parts, redactor)
    files = _files(parts, record) | (logs if bundled else {})
    files = _with_statement(files, record, measured)
    artifact = build_artifact(files, version=f"{PRODUCER_NAME}/{inputs.version}")
    return AssembledBundle(
        files=files,
        inventory_digest=sha256_prefixed(files[layout.MANIFEST]),
        oci_layer=artifact.layer,
        oci_config=artifact.config,
        oci_manifest=artifact.manifest,
        manifest_digest=artifact.manifest_digest,
        logs_archive=logs_archive,
        logs_digest=logs_digest,
        verdict=record.verdict,
        counts=record.counts,
    )


def _redactor(inputs: BundleInputs, recipe: Recipe) -> Redactor | None:
    if inputs.plan.policy_spec.redaction is Redaction.NONE:
        return None
    constraints = [*recipe.constraints, *(c for plan in recipe.phases.values() for c in plan.constraints)]
    return Redactor(inputs.redaction_key, constraint_paths=[constraint.name for constraint in constraints])


def _with_stragglers(inputs: BundleInputs) -> Iterator[NodeEntry]:
    """Yield the nodes with the reasons that the API gave for those which did not report."""
    for entry in inputs.nodes:
        if entry.state is NodeState.REPORTED:
            yield entry
        else:
            reason = entry.reason or inputs.seal.stragglers.get(entry.facts.uid, "")
            yield entry.model_copy(update={"reason": reason})


def _published(inputs: BundleInputs, redactor: Redactor | None) -> tuple[bytes, Measured]:
    """Return nodes.json as it is published, and what was measured by it."""
    if redactor is None:
        return _written(inputs, _with_stragglers(inputs))
    raw = _measuring(inputs)
    redactor.learn(raw.taking(_with_stragglers(inputs)))
    truth = raw.measured()
    data, found = _written(inputs, map(redactor.entry, _with_stragglers(inputs)))
    _check_redaction(truth, found)
    return data, found


def _measuring(inputs: BundleInputs) -> Measuring:
    plan = plan_record(inputs.plan)
    return Measuring(inputs.recipe, plan=plan, taken_at=inputs.taken_at, version=inputs.version)


def _written(inputs: BundleInputs, nodes: Iterable[NodeEntry]) -> tuple[bytes, Measured]:
    measuring = _measuring(inputs)
    buffer = io.BytesIO()
    buffer.writelines(node_pieces(measuring.taking(nodes)))
    return buffer.getvalue(), measuring.measured()


def _check_redaction(truth: Measured, found: Measured) -> None:
    """Refuse if the redacted documents say something else than the raw ones."""
    for name, one, other in (
        ("fingerprint", truth.fingerprint.aicr_members(), found.fingerprint.aicr_members()),
        ("match", match_record(truth.match), match_record(found.match)),
        # What was found may name nodes; whether a constraint holds may not depend on their names.
        ("readiness", _outcomes(truth), _outcomes(found)),
    ):
        if one != other:
            raise EvidenceError(
                "E2051",
                f"redaction would change the {name}",
                why="the redacted documents do not say what the raw ones say",
                fix="report this with the recipe; a policy with `redaction: none` seals the run meanwhile",
            )


def _outcomes(measured: Measured) -> list[tuple[str, str]]:
    return [(row.name, row.outcome) for row in measured.readiness.constraints]


def _logs(inputs: BundleInputs) -> dict[str, bytes]:
    return {
        layout.log_path(record.view.phase, record.view.check, record.view.attempt): record.log
        for record in inputs.attempts
        if record.log
    }


def _images(inputs: BundleInputs, checks: Sequence[CheckRun]) -> list[ImageRun]:
    ran = Counter(
        ("check", attempt.image, attempt.image_id)
        for check in checks
        for attempt in check.attempts
        if attempt.image_digest
    )
    for seen in inputs.images:
        if image_digest(seen.image_id):
            ran[(seen.role, seen.image, seen.image_id)] += seen.pods
    return [
        ImageRun(role=role, pods=pods, image=image, image_id=image_id, digest=image_digest(image_id))
        for (role, image, image_id), pods in sorted(ran.items())
    ]


def _record(inputs: BundleInputs, parts: _Parts, redactor: Redactor | None) -> RunRecord:
    plan = plan_record(inputs.plan)
    seal = SealRecord(
        reason=inputs.seal.reason,
        message=redactor.text(inputs.seal.message) if redactor else inputs.seal.message,
        run_started_at=inputs.seal.started_at,
        taken_at=inputs.taken_at,
        sealed_at=inputs.sealed_at,
    )
    counted = count_nodes(parts.measured.nodes, plan.spec.target.min_coverage_percent)
    end = conclude(plan, parts.recipe, seal=seal.reason, nodes=counted, measured=parts.measured, checks=parts.checks)
    return RunRecord(
        producer=Producer(name=PRODUCER_NAME, version=inputs.version),
        plan=plan,
        digests=PlanDigests(
            recipe=parts.recipe.digest,
            catalog=catalog_digest(plan),
            target_nodes=target_nodes_digest(parts.measured.nodes),
            plan=sha256_prefixed(inputs.plan_bytes),
        ),
        seal=seal,
        nodes=counted,
        match=match_record(parts.measured.match),
        readiness=readiness_record(parts.measured.readiness),
        trust=trust_record(parts.measured.fingerprint),
        checks=list(parts.checks),
        images=list(parts.images),
        observed_images=list(parts.observed),
        redaction=RedactionRecord(
            policy=POLICY if redactor else "none",
            version=VERSION if redactor else "",
            fired=dict(sorted(parts.fired.items())),
        ),
        logs=parts.logs,
        counts=end.counts,
        verdict=end.verdict,
    )


def _files(parts: _Parts, record: RunRecord) -> dict[str, bytes]:
    return {
        layout.RECIPE: parts.recipe.canonical,
        layout.SNAPSHOT: parts.measured.snapshot.to_yaml(),
        layout.NODES: parts.nodes,
        layout.RUN: record.to_bytes(),
        layout.BOM: bom_of(record, parts.recipe),
        layout.VERIFY_PAGE: verify_page(),
        **phase_reports(record),
        **phase_pages(record),
    }


def _with_statement(files: dict[str, bytes], record: RunRecord, measured: Measured) -> dict[str, bytes]:
    files = files | {layout.MANIFEST: build_manifest(files)}
    predicate = derive_predicate(
        files,
        record,
        fingerprint=measured.fingerprint.aicr_members(),
        criteria_match=measured.match.aicr(),
    )
    return files | {layout.STATEMENT: layout.document_bytes(unsigned_statement(predicate))}

# SPDX-License-Identifier: Apache-2.0
"""The predicate of a bundle, derived from its files alone: by the builder to write it, by the verifier to compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evidencerun.attest.predicate import (
    PRODUCER_PREFIX,
    SCHEMA_VERSION,
    BomSummary,
    CriteriaMatch,
    ManifestSummary,
    PhaseSummary,
    Predicate,
    RecipeIdentity,
    RedactionSummary,
    ValidatorImage,
)
from evidencerun.bom.bom_reader import FORMAT, SPEC_VERSION, component_count
from evidencerun.bundle import layout
from evidencerun.bundle.manifest import load_manifest
from evidencerun.bundle.phase_reports import phases_of
from evidencerun.bundle.record import RunRecord
from evidencerun.canonical import sha256_prefixed
from evidencerun.ctrf.report import counts, load_ctrf


def derive_predicate(
    files: Mapping[str, bytes], record: RunRecord, *, fingerprint: Mapping[str, Any], criteria_match: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the predicate (version 3) that belongs to these files.

    `fingerprint` and `criteria_match` are AICR's members as derived from snapshot.yaml, nodes.json and recipe.yaml.
    Counts come from the CTRF files, `failed` holds failed, other and pending.
    """
    bom = files[layout.BOM]
    redaction = record.redaction
    predicate = Predicate(
        schema_version=SCHEMA_VERSION,
        attested_at=record.seal.sealed_at,
        aicr_version=f"{PRODUCER_PREFIX}{record.producer.version}",
        validator_catalog_version=record.digests.catalog,
        validator_images=[
            ValidatorImage(image=image.image, digest=image.digest) for image in record.images if image.role == "check"
        ],
        recipe=RecipeIdentity(name=record.plan.recipe_name, digest=record.digests.recipe),
        fingerprint=dict(fingerprint),
        criteria_match=CriteriaMatch.model_validate(criteria_match),
        phases={phase.value: _phase(files, layout.ctrf_path(phase)) for phase in phases_of(record)},
        bom=BomSummary(
            format=FORMAT, version=SPEC_VERSION, digest=sha256_prefixed(bom), image_count=component_count(bom)
        ),
        manifest=ManifestSummary(
            digest=sha256_prefixed(files[layout.MANIFEST]), file_count=len(load_manifest(files[layout.MANIFEST]).files)
        ),
        redaction=RedactionSummary(policy=redaction.policy, version=redaction.version, applied=sorted(redaction.fired))
        if redaction.policy != "none"
        else None,
    )
    return predicate.to_dict()


def _phase(files: Mapping[str, bytes], path: str) -> PhaseSummary:
    found = counts(load_ctrf(files[path], where=path).results.tests)
    return PhaseSummary(
        passed=found.passed, failed=found.not_passed, skipped=found.skipped, ctrf_digest=sha256_prefixed(files[path])
    )

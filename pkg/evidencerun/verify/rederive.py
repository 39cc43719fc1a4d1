# SPDX-License-Identifier: Apache-2.0
"""Derives everything in run.json that follows from the rest of the bundle, and compares (docs/spec §6)."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evidencerun import limits
from evidencerun.bom.bom_reader import container_digests
from evidencerun.bom.images import image_digest
from evidencerun.bundle import layout
from evidencerun.bundle.bom_of import bom_contents, bom_of
from evidencerun.bundle.derive import (
    Conclusion,
    Measured,
    Measuring,
    NodeSummary,
    catalog_digest,
    conclude,
    count_nodes,
    match_record,
    readiness_record,
    target_nodes_digest,
    trust_record,
)
from evidencerun.bundle.phase_page import phase_pages
from evidencerun.bundle.phase_reports import phase_reports
from evidencerun.bundle.record import RunRecord
from evidencerun.canonical import parse_json, sha256_prefixed
from evidencerun.errors import EvidenceError, InputError
from evidencerun.recipe import Recipe
from evidencerun.snapshot.nodes_reader import read_nodes
from evidencerun.snapshot.read import load_snapshot
from evidencerun.validation.spec import LogsMode
from evidencerun.verify.compare import contradiction, first_difference
from evidencerun.verify.stated import check_nodes, check_stated

_KNOWN: Final = layout.NOT_INVENTORIED | {
    layout.RECIPE,
    layout.SNAPSHOT,
    layout.NODES,
    layout.RUN,
    layout.BOM,
    layout.VERIFY_PAGE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rederived:
    """What the verifier found itself: the measurements and the conclusion."""

    measured: Measured
    conclusion: Conclusion


def check_record(files: Mapping[str, bytes], record: RunRecord, recipe: Recipe) -> Rederived:
    """Derive again what run.json, snapshot.yaml, the reports and the pages say.

    Raises:
        EvidenceError: E2080 with the place, what is claimed and what follows; E2004 for a missing file.

    """
    for path in (layout.NODES, layout.RUN, layout.VERIFY_PAGE):
        if path not in files:
            raise EvidenceError("E2004", "a file that a bundle of EvidenceRun has is missing", where=path)
    _check_spelling(files, record, recipe)
    measured = _measured(files, record, recipe)
    nodes = measured.nodes
    counted = count_nodes(nodes, record.plan.spec.target.min_coverage_percent)
    conclusion = conclude(
        record.plan, recipe, seal=record.seal.reason, nodes=counted, measured=measured, checks=record.checks
    )
    derived = {
        "nodes": counted.model_dump(mode="json", by_alias=True),
        "match": match_record(measured.match),
        "readiness": readiness_record(measured.readiness),
        "trust": trust_record(measured.fingerprint).model_dump(mode="json", by_alias=True),
        "counts": conclusion.counts.model_dump(mode="json", by_alias=True),
        "verdict": conclusion.verdict.value,
    }
    claimed = record.model_dump(mode="json", by_alias=True)
    _same({name: claimed[name] for name in derived}, derived, layout.RUN)
    _check_plan(record, recipe, nodes)
    check_stated(record, recipe)
    _check_outcomes(record, conclusion)
    _check_images(files, record)
    _check_bom(files, record, recipe)
    _check_snapshot(files, measured)
    _check_rendered(files, record)
    _check_logs(files, record)
    return Rederived(measured=measured, conclusion=conclusion)


def _measured(files: Mapping[str, bytes], record: RunRecord, recipe: Recipe) -> Measured:
    """Measure nodes.json anew, and check what it states; it is read one node at a time, in its one form."""
    measuring = Measuring(recipe, plan=record.plan, taken_at=record.seal.taken_at, version=record.producer.version)
    try:
        check_nodes(record, measuring.taking(read_nodes(io.BytesIO(files[layout.NODES]), exact=True)))
    except InputError as fault:
        if fault.code == "E1422":
            contradiction(layout.NODES, f"it is not written in its one form: {fault.why}")
        raise EvidenceError(
            "E2040", fault.what, where=f"{layout.NODES} {fault.where}".strip(), why=fault.why
        ) from fault
    return measuring.measured()


def _check_spelling(files: Mapping[str, bytes], record: RunRecord, recipe: Recipe) -> None:
    """Check that the primary documents are written in their one form, and that nothing stands beside the known files.

    Whatever is signed and cannot be derived would be believed: a comment in the recipe, a page of results.
    """
    for path, data in (
        (layout.RECIPE, recipe.canonical),
        (layout.RUN, record.to_bytes()),
    ):
        if files[path] != data:
            contradiction(path, "it is not written in its one form")
    for path in sorted(files.keys() - _KNOWN):
        if not path.startswith(("ctrf/", "evidence/", "logs/")):
            contradiction(ascii(path)[1:-1], "no such file is part of a bundle")


def _check_plan(record: RunRecord, recipe: Recipe, nodes: Sequence[NodeSummary]) -> None:
    plan, digests = record.plan, record.digests
    claimed: dict[str, Any] = {
        "digests": {
            "recipe": digests.recipe,
            "catalog": digests.catalog,
            "targetNodes": digests.target_nodes,
        },
        "plan": {"recipeDigest": plan.recipe_digest, "recipeName": plan.recipe_name},
        "checks": [[check.phase.value, check.name] for check in record.checks],
    }
    derived = {
        "digests": {
            "recipe": recipe.digest,
            "catalog": catalog_digest(plan),
            "targetNodes": target_nodes_digest(nodes),
        },
        "plan": {"recipeDigest": recipe.digest, "recipeName": recipe.name},
        "checks": [[check.phase.value, check.name] for check in plan.checks],
    }
    _same(claimed, derived, layout.RUN)


def _check_outcomes(record: RunRecord, conclusion: Conclusion) -> None:
    """Check that each check's outcome is that of its last attempt, and that attempts are numbered from 1."""
    for check, planned, found in zip(record.checks, record.plan.checks, conclusion.checks, strict=True):
        where = f"{layout.RUN} checks {check.name}"
        claimed = {
            "status": check.status.value,
            "reason": check.reason,
            "mandatory": check.mandatory,
            "catalogued": check.catalogued,
            "excluded": check.excluded,
            "attempts": [attempt.attempt for attempt in check.attempts],
        }
        derived = {
            "status": found.status.value,
            "reason": found.reason,
            "mandatory": found.mandatory,
            "catalogued": planned.entry is not None,
            "excluded": planned.excluded,
            "attempts": list(range(1, len(check.attempts) + 1)),
        }
        _same(claimed, derived, where)


def _check_images(files: Mapping[str, bytes], record: RunRecord) -> None:
    """Check the digests of images that ran: in the attempts, in the list, in the BOM."""
    attempts = [attempt for check in record.checks for attempt in check.attempts]
    ran = Counter((a.image, a.image_id, a.image_digest) for a in attempts if a.image_digest)
    listed = {(i.image, i.image_id, i.digest): i.pods for i in record.images if i.role == "check"}
    wrong = [image_id for _, image_id, digest in {*ran, *listed} if image_digest(image_id) != digest]
    wrong += [image.image_id for image in record.images if image_digest(image.image_id) != image.digest]
    rows = [(image.role, image.image, image.image_id) for image in record.images]
    if dict(ran) != listed or wrong or rows != sorted(set(rows)):
        contradiction(f"{layout.RUN} images", "the images of the attempts and the list of images are not the same")
    in_bom = container_digests(files[layout.BOM])
    for role in {image.role for image in record.images} | (in_bom.keys() - {"workload"}):
        expected = {image.digest for image in record.images if image.role == role}
        if in_bom.get(role, set()) != expected:
            contradiction(layout.BOM, f"the {ascii(role)[:40]} images are not those of run.json")
    seen = {image_digest(image.image_id) for image in record.observed_images} - {""}
    if in_bom.get("workload", set()) != seen:
        contradiction(layout.BOM, "the workload images are not those of run.json")


def _check_bom(files: Mapping[str, bytes], record: RunRecord, recipe: Recipe) -> None:
    """Check that the BOM says what recipe and record amount to, and nothing more."""
    try:
        made = bom_of(record, recipe)
    except ValueError as fault:
        contradiction(layout.BOM, f"none can be made of what {layout.RUN} says: {fault}")
    if len(files[layout.BOM]) > 2 * len(made):
        contradiction(layout.BOM, f"it has {len(files[layout.BOM])} bytes, what it has to say takes {len(made)}")
    claimed, expected = (
        bom_contents(parse_json(data, what=layout.BOM, max_bytes=limits.BOM_MAX)) for data in (files[layout.BOM], made)
    )
    _same(claimed, expected, layout.BOM)


def _check_snapshot(files: Mapping[str, bytes], measured: Measured) -> None:
    """Check that snapshot.yaml is what nodes.json merges to, fingerprint block included."""
    if files[layout.SNAPSHOT] == measured.snapshot.to_yaml():
        return
    try:
        found = load_snapshot(files[layout.SNAPSHOT])
    except InputError as fault:
        raise EvidenceError(
            "E2040", fault.what, where=f"{layout.SNAPSHOT} {fault.where}".strip(), why=fault.why
        ) from fault
    part = "fingerprint" if found.measurements == measured.snapshot.measurements else "measurements"
    contradiction(f"{layout.SNAPSHOT} {part}", f"it is not what {layout.NODES} amounts to")


def _check_rendered(files: Mapping[str, bytes], record: RunRecord) -> None:
    """Check reports and pages against what run.json renders to, byte for byte."""
    rendered = phase_reports(record) | phase_pages(record)
    present = {path for path in files if path.startswith(("ctrf/", "evidence/"))}
    for path in sorted(present | rendered.keys()):
        if files.get(path) != rendered.get(path):
            contradiction(path, f"it is not what {layout.RUN} amounts to")


def _check_logs(files: Mapping[str, bytes], record: RunRecord) -> None:
    """Check bundled logs against their attempts; a separate archive is bound by its digest alone."""
    separate = record.logs.mode is LogsMode.SEPARATE
    attempts = [(check, attempt.attempt, attempt.log) for check in record.checks for attempt in check.attempts]
    logs = [(layout.log_path(check.phase, check.name, number), log) for check, number, log in attempts if log.size]
    if any(log.path != ("" if separate else path) for path, log in logs):
        contradiction(f"{layout.RUN} logs", "a log stands in another place than its mode and its attempt say")
    bundled = {} if separate else {path: (log.size, log.sha256) for path, log in logs}
    kept = {path: (len(data), sha256_prefixed(data)) for path, data in files.items() if path.startswith("logs/")}
    if kept != bundled:
        contradiction("logs", "the logs are not those of the attempts")
    if bool(record.logs.digest) is not separate:
        contradiction(f"{layout.RUN} logs", "separate logs, and they alone, are bound by the digest of an archive")
    if record.logs.mode is not record.plan.spec.logs or record.logs.files != len(logs):
        contradiction(f"{layout.RUN} logs", "mode or number of logs does not fit the attempts")


def _same(claimed: object, derived: object, where: str) -> None:
    if found := first_difference(claimed, derived):
        contradiction(f"{where} {found.place}", f"claimed {found.claimed}, derived {found.derived}")

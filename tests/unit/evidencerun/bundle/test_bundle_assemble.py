# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from composed_run import RECIPE, ComposedRun, attempt, node
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidencerun.bundle import layout
from evidencerun.bundle.archive import read_archive
from evidencerun.bundle.assemble import assemble
from evidencerun.bundle.record import load_record
from evidencerun.canonical import RecipePredicate, canonical_recipe_digest, canonical_yaml, sha256_prefixed
from evidencerun.errors import EvidenceError
from evidencerun.validation.storeapi import ContainerEnding
from evidencerun.verify.duties import verify_artifact, verify_unsigned


def record_of(bundle):
    return load_record(bundle.files[layout.RUN])


def test_the_layout_is_the_documented_one(composed_run):
    bundle = assemble(composed_run.inputs())
    assert sorted(bundle.files) == [
        "VERIFY.md", "bom.cdx.json", "ctrf/deployment.json", "evidence/deployment.md", "manifest.json", "nodes.json",
        "recipe.yaml", "run.json", "snapshot.yaml", "statement.intoto.json",
    ]  # fmt: skip


def test_the_same_inputs_give_the_same_bytes(composed_run):
    first, second = assemble(composed_run.inputs()), assemble(composed_run.inputs())
    assert first == second


def test_the_bytes_do_not_depend_on_hash_seed_or_locale(composed_run, repository):
    code = "from composed_run import *; print(assemble(ComposedRun().inputs()).inventory_digest)"
    support = str(repository / "tests/support")
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": "C", "TZ": zone, "PYTHONPATH": support},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert found == {assemble(composed_run.inputs()).inventory_digest}


@pytest.mark.parametrize("path", [layout.MANIFEST, layout.STATEMENT])
def test_the_composed_run_gives_the_bytes_on_record(composed_run, path):
    """manifest.json holds the digest of every file: what changes here changes every bundle."""
    recorded = Path(__file__).parent / "golden" / path
    assert assemble(composed_run.inputs()).files[path].decode() == recorded.read_text()


def test_recipe_and_digests(composed_run):
    bundle = assemble(composed_run.inputs())
    statement = json.loads(bundle.files[layout.STATEMENT])
    assert bundle.files[layout.RECIPE] == canonical_yaml(composed_run.recipe)
    assert statement["subject"] == [
        {
            "name": "recipe:none-ubuntu",
            "digest": {"sha256": canonical_recipe_digest(bundle.files[layout.RECIPE], RecipePredicate.V3)},
        }
    ]
    assert statement["predicate"]["manifest"]["digest"] == bundle.inventory_digest
    assert bundle.inventory_digest == sha256_prefixed(bundle.files[layout.MANIFEST])
    assert statement["predicate"]["aicrVersion"] == "evidencerun/0.1.0"


def test_the_artifact_holds_exactly_these_files(composed_run):
    bundle = assemble(composed_run.inputs())
    artifact, _ = verify_artifact(bundle.oci_manifest, bundle.oci_layer)
    assert artifact.files == bundle.files
    assert artifact.manifest_digest == bundle.manifest_digest == sha256_prefixed(bundle.oci_manifest)


def test_the_bom_is_valid_and_holds_what_ran(composed_run, compose_attempt):
    seen = [
        {"namespace": "evidence-demo", "kind": "Deployment", "name": "demo-web", "container": "web",
         "image": "docker.io/library/nginx:1.29", "imageID": "docker.io/library/nginx@sha256:" + "e" * 64,
         "component": "demo-web"},
        {"namespace": "evidence-demo", "kind": "Deployment", "name": "demo-web", "container": "side",
         "image": "side:1", "imageID": "", "component": "demo-web"},
    ]  # fmt: skip
    attempts = (
        compose_attempt("expected-resources", results={"images.json": json.dumps(seen).encode()}),
        compose_attempt("node-agreement"),
    )
    bundle = assemble(composed_run.with_changes(attempts=attempts).inputs())
    text = bundle.files[layout.BOM].decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = {entry["bom-ref"]: entry for entry in json.loads(text)["components"]}
    web = components[f"image:docker.io/library/nginx@sha256:{'e' * 64}"]
    assert web["hashes"] == [{"alg": "SHA-256", "content": "e" * 64}]
    assert "hashes" not in components["image:side@unknown:side:1"]
    links = {entry["ref"]: entry.get("dependsOn") for entry in json.loads(text)["dependencies"]}
    assert links["recipe:none-ubuntu/demo-web"] == [
        f"image:docker.io/library/nginx@sha256:{'e' * 64}", "image:side@unknown:side:1",
    ]  # fmt: skip
    roles = {p["value"] for c in components.values() for p in c["properties"] if p["name"].endswith(":role")}
    assert roles == {"check", "probe", "workload"}
    verify_unsigned(bundle.files)


def test_without_a_look_at_the_workload_its_images_are_unknown(composed_run):
    components = json.loads(assemble(composed_run.inputs()).files[layout.BOM])["components"]
    web = next(entry for entry in components if entry["name"] == "demo-web")
    assert {"name": "evidencerun:images", "value": "unknown"} in web["properties"]


def test_an_image_without_a_digest_is_an_error(composed_run, compose_attempt):
    attempts = (compose_attempt("expected-resources", ending=_ending(image_id="registry.example.com/x:1")),)
    with pytest.raises(EvidenceError, match="no digest") as caught:
        assemble(composed_run.with_changes(attempts=attempts).inputs())
    assert caught.value.code == "E2050"


def test_an_image_that_never_started_is_left_out(composed_run, compose_attempt):
    ending = ContainerEnding(reason="ImagePullBackOff", message="not found", image="x")
    pull = compose_attempt("node-agreement", status="other", reason="image-pull", ending=ending, log=b"")
    bundle = assemble(composed_run.with_changes(attempts=(compose_attempt("expected-resources"), pull)).inputs())
    assert [image.role for image in record_of(bundle).images] == ["check", "probe"]
    assert record_of(bundle).counts.executed == 1


def _ending(**changes):
    return ContainerEnding(
        exit_code=0,
        reason="Completed",
        started_at="2026-09-20T10:02:00Z",
        finished_at="2026-09-20T10:02:02Z",
        **changes,
    )


def test_every_attempt_is_disclosed(composed_run, compose_attempt):
    attempts = (
        compose_attempt("expected-resources", status="failed", message="first"),
        compose_attempt("expected-resources", number=2),
        compose_attempt("node-agreement"),
    )
    bundle = assemble(composed_run.with_changes(attempts=attempts).inputs())
    found = record_of(bundle).checks[0]
    assert [attempt.status.value for attempt in found.attempts] == ["failed", "passed"]
    assert json.loads(bundle.files["ctrf/deployment.json"])["results"]["tests"][0]["extra"] == {"attempts": "2"}
    assert b"attempt 1: failed" in bundle.files["evidence/deployment.md"]


def test_an_attempt_of_an_unknown_check_is_an_error(composed_run, compose_attempt):
    with pytest.raises(EvidenceError, match="not planned"):
        assemble(composed_run.with_changes(attempts=(compose_attempt("stranger"),)).inputs())


def test_logs_are_separate_and_bound_by_their_digest(composed_run):
    bundle = assemble(composed_run.inputs())
    assert bundle.logs_digest == sha256_prefixed(bundle.logs_archive) == record_of(bundle).logs.digest
    # Logs of one phase share one folder, which the reader of archives leaves out.
    assert read_archive(bundle.logs_archive)["deployment/expected-resources.1.log"] == b"log of expected-resources\n"


def test_logs_may_stand_in_the_bundle(composed_run):
    bundle = assemble(composed_run.with_changes(spec={"logs": "bundled"}).inputs())
    assert (bundle.logs_archive, bundle.logs_digest) == (b"", "")
    assert bundle.files["logs/deployment/node-agreement.1.log"] == b"log of node-agreement\n"
    verify_unsigned(bundle.files)


def test_numbers_keep_their_units_and_bad_files_are_noted(composed_run, compose_attempt):
    numbers = [
        {"name": "nccl.busbw", "value": 489.2, "unit": "GB/s", "node": "worker-1.lab.example.com", "other": 1},
        {"name": "nodes", "value": 2, "unit": ""},
    ]
    attempts = (
        compose_attempt("expected-resources", results={"measurements.json": json.dumps(numbers).encode()}),
        compose_attempt("node-agreement", results={"measurements.json": b'[{"name": "x", "value": NaN}]'}),
    )
    bundle = assemble(composed_run.with_changes(attempts=attempts).inputs())
    good, bad = (check.attempts[0] for check in record_of(bundle).checks)
    assert [(number.name, number.value, number.unit) for number in good.measurements] == [
        ("nccl.busbw", 489.2, "GB/s"), ("nodes", 2, ""),
    ]  # fmt: skip
    assert good.measurements[0].node.startswith("node-")
    assert bad.measurements == []
    assert "was not used" in bad.notes[0]
    assert b"489.2" in bundle.files["evidence/deployment.md"]
    verify_unsigned(bundle.files)


def test_checks_without_an_attempt_say_why(composed_run, compose_catalog):
    entry = compose_catalog("expected-resources")
    checks = (
        {"name": "expected-resources", "phase": "deployment", "entry": entry},
        {"name": "node-agreement", "phase": "deployment"},
        {"name": "gpu-ready", "phase": "conformance", "excluded": True},
    )
    changes = {
        "recipe": composed_run.recipe + b"  conformance:\n    checks: [gpu-ready]\n",
        "policy": {"catalog": [entry]},
        "spec": {"checks": {"skip": ["gpu-ready"]}},
        "seal": {"reason": "cancelled"},
    }
    bundle = assemble(composed_run.with_changes(checks=checks, attempts=(), **changes).inputs())
    found = [(check.status.value, check.reason) for check in record_of(bundle).checks]
    assert found == [("other", "not-run"), ("other", "not-in-catalog"), ("skipped", "excluded")]
    predicate = json.loads(bundle.files[layout.STATEMENT])["predicate"]
    assert predicate["phases"]["deployment"]["failed"] == 2
    assert predicate["phases"]["conformance"]["skipped"] == 1
    verify_unsigned(bundle.files)


STATUSES = st.sampled_from(["passed", "failed", "skipped", "other"])
REASONS = {"other": "timeout", "skipped": "stated"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    outcomes=st.lists(st.tuples(STATUSES, TEXTS), min_size=0, max_size=2),
    retried=st.booleans(),
    states=st.lists(st.booleans(), min_size=1, max_size=4),
    reason=st.sampled_from(["finished", "not-ready", "cancelled", "deadline", "error"]),
    accelerator=st.sampled_from(["none", "h100", "any"]),
    options=st.fixed_dictionaries({"logs": st.sampled_from(["separate", "bundled"]), "fingerprintOnly": st.booleans()}),
    redaction=st.sampled_from(["minimal", "none"]),
)
def test_whatever_a_run_was_its_bundle_keeps_its_word(
    outcomes, retried, states, reason, accelerator, options, redaction
):
    names = ["expected-resources", "node-agreement"]
    attempts = [
        attempt(name, status=status, reason=REASONS.get(status, ""), message=text)
        for name, (status, text) in zip(names, outcomes, strict=False)
    ]
    if retried and attempts:
        attempts.append(attempt(names[0], number=2))
    gone = {"state": "missing", "report": None, "reason": "worker-1.lab.example.com is gone", "reportDigest": ""}
    run = ComposedRun(
        recipe=RECIPE.replace(b"accelerator: none", f"accelerator: {accelerator}".encode()),
        nodes=tuple(node(n, **({} if heard else gone)) for n, heard in enumerate(states, 1)),
        spec=options,
        policy={"redaction": redaction},
        seal={"reason": reason},
        attempts=tuple(attempts),
    )
    bundle = assemble(run.inputs())
    duties = verify_unsigned(bundle.files)
    assert duties.derived is not None
    assert duties.derived.conclusion.verdict is bundle.verdict
    assert duties.derived.conclusion.counts == bundle.counts
    if any(status == "other" for status, _ in outcomes[1:]) or not attempts:
        assert bundle.verdict.value != "Passed"

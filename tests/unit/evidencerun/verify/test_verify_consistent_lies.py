# SPDX-License-Identifier: Apache-2.0
"""Lies of a signer who makes everything anew that follows from them: counts, verdict, reports, digests, signature."""

from __future__ import annotations

import copy
import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from evidencerun.attest.statement import signed_payload, unsigned_statement
from evidencerun.bom.images import image_digest
from evidencerun.bundle import layout
from evidencerun.bundle.bom_of import bom_of
from evidencerun.bundle.derive import (
    catalog_digest,
    conclude,
    count_nodes,
    match_record,
    measure,
    readiness_record,
    target_nodes_digest,
    trust_record,
)
from evidencerun.bundle.manifest import build_manifest
from evidencerun.bundle.phase_page import phase_pages
from evidencerun.bundle.phase_reports import phase_reports
from evidencerun.bundle.predicate_of import derive_predicate
from evidencerun.bundle.record import RunRecord
from evidencerun.recipe import load_recipe
from evidencerun.snapshot.nodes import NodesDocument
from evidencerun.verify.result import Outcome, QuestionId
from evidencerun.verify.run import verify_bundle

NOW = datetime(2026, 9, 21, tzinfo=UTC)
ARTIFACT = "sha256:" + "a" * 64
OTHER = "registry.example.com/other@sha256:" + "3" * 64


def plain(model):
    return model.model_dump(mode="json", by_alias=True)


def forged(files, key, *, run=None, nodes=None, beside=None):
    """Return the bundle after a change of run.json, nodes.json or of the files, with all that follows made anew."""
    record, document = json.loads(files[layout.RUN]), json.loads(files[layout.NODES])
    if run:
        run(record)
    if nodes:
        nodes(document)
    recipe, table = load_recipe(files[layout.RECIPE]), NodesDocument.model_validate(document)
    for check, planned in zip(record["checks"], record["plan"]["checks"], strict=True):
        if check["attempts"]:
            check |= {"status": check["attempts"][-1]["status"], "reason": check["attempts"][-1]["reason"]}
        check["mandatory"] = bool(planned["entry"] and planned["entry"]["mandatory"])
    attempts = [each for check in record["checks"] for each in check["attempts"]]
    ran = Counter((each["image"], each["imageId"]) for each in attempts if each["imageDigest"])
    record["images"] = [
        *(
            {"role": "check", "pods": pods, "image": a, "imageId": b, "digest": image_digest(b)}
            for (a, b), pods in sorted(ran.items())
        ),
        *(image for image in record["images"] if image["role"] != "check"),
    ]
    stated = RunRecord.model_validate(record)
    plan = stated.plan
    found = measure(recipe, table.nodes, plan=plan, taken_at=stated.seal.taken_at, version=stated.producer.version)
    counted = count_nodes(found.nodes, plan.spec.target.min_coverage_percent)
    end = conclude(plan, recipe, seal=stated.seal.reason, nodes=counted, measured=found, checks=stated.checks)
    record |= {
        "nodes": plain(counted),
        "match": match_record(found.match),
        "readiness": readiness_record(found.readiness),
        "trust": plain(trust_record(found.fingerprint)),
        "counts": plain(end.counts),
        "verdict": end.verdict.value,
    }
    record["digests"] |= {"catalog": catalog_digest(plan), "targetNodes": target_nodes_digest(found.nodes)}
    stated = RunRecord.model_validate(record)
    made = {path: data for path, data in files.items() if not path.startswith(("ctrf/", "evidence/"))}
    made |= {layout.RUN: stated.to_bytes(), layout.NODES: table.to_bytes(), layout.SNAPSHOT: found.snapshot.to_yaml()}
    made |= {layout.BOM: bom_of(stated, recipe)}
    made |= phase_reports(stated) | phase_pages(stated)
    made |= beside(made) if beside else {}
    made |= {layout.MANIFEST: build_manifest(made)}
    predicate = derive_predicate(
        made, stated, fingerprint=found.fingerprint.aicr_members(), criteria_match=found.match.aicr()
    )
    made[layout.STATEMENT] = layout.document_bytes(unsigned_statement(predicate))
    return {**made, layout.ATTESTATION: key.sign(signed_payload(made, ARTIFACT))}


@pytest.fixture
def judge(sealed_bundle, signing_key):
    def judged(**changes):
        return verify_bundle(forged(sealed_bundle, signing_key, **changes), now=NOW, key_pem=signing_key.pem)

    return judged


def test_without_a_lie_it_is_accepted(judge):
    assert judge().exit_code == 0


def on_attempt(**changes):
    return lambda run: run["checks"][0]["attempts"][0].update(changes)


def on_log(**changes):
    return lambda run: run["checks"][0]["attempts"][0]["log"].update(changes)


def on_plan(*place, **changes):
    def change(run):
        target = run["plan"]
        for step in place:
            target = target[step]
        target.update(changes)

    return change


def mandatory_only_in_the_catalog(run):
    run["plan"]["policySpec"]["catalog"][0]["mandatory"] = True
    on_attempt(status="skipped", reason="stated", exitCode=2)(run)


def an_invented_check(run):
    for checks in (run["checks"], run["plan"]["checks"], run["plan"]["policySpec"]["catalog"]):
        checks.append({**copy.deepcopy(checks[0]), "name": "gpu-burn"})
    run["plan"]["checks"][-1]["entry"]["name"] = "gpu-burn"
    run["logs"]["files"] += 1


def attempts_of_an_excluded_check(run):
    on_plan("spec", "checks", skip=["node-agreement"])(run)
    for check in (run["checks"][1], run["plan"]["checks"][1]):
        check["excluded"] = True


NO_TIMES = {"startedAt": "", "finishedAt": "", "duration": 0}
RUN_LIES = {
    "passed with exit code 1": on_attempt(exitCode=1),
    "passed without an exit code": on_attempt(exitCode=None),
    "passed while it was killed": on_attempt(ending="OOMKilled"),
    "passed by a signal": on_attempt(signal=9),
    "passed before it had ended": on_attempt(state="running"),
    "passed with a reason": on_attempt(reason="timeout"),
    "passed without an image": on_attempt(**NO_TIMES, imageId="", imageDigest=""),
    "an image of what never started": on_attempt(
        **NO_TIMES, status="other", reason="image-pull", exitCode=None, ending="ErrImagePull"
    ),
    "a start before there were computers": on_attempt(startedAt="1970-01-01T00:00:00Z", duration=1789898522000),
    "never started and yet with a start": on_attempt(
        status="other", reason="not-started", exitCode=None, ending="NeverStarted"
    ),
    "passed with another image": on_attempt(image=OTHER, imageId=OTHER, imageDigest=image_digest(OTHER)),
    "pending after its end": on_attempt(status="pending"),
    "failed and called skipped": on_attempt(status="skipped", reason="stated", exitCode=1),
    "failed and called other": on_attempt(status="other", reason="timeout", exitCode=1),
    "skipped without a reason": on_attempt(status="skipped", reason="", exitCode=2),
    "other for a word of no meaning": on_attempt(status="other", reason="whatever", exitCode=3),
    "a container without its digest": on_attempt(status="other", reason="signal", exitCode=137, imageDigest=""),
    "a container of an image that nobody knows": on_attempt(imageId="", imageDigest=""),
    "an image that is known and called unknown": on_attempt(status="other", reason="image-unknown", exitCode=137),
    "a duration": on_attempt(duration=1),
    "a pass after its time": on_attempt(finishedAt="2026-09-21T10:02:02Z", duration=86_402_000),
    "a log without a digest": on_log(sha256=""),
    "a digest without a log": on_log(size=0),
    "a log that is not whole for no reason": on_log(complete=False),
    "a whole log with a reason why it is not": on_log(reason="the pod was gone"),
    "a whole log of which bytes were dropped": on_log(dropped=5),
    "a separate log in the bundle": on_log(path="logs/deployment/expected-resources.1.log"),
    "mandatory only in the catalog": mandatory_only_in_the_catalog,
    "an invented check": an_invented_check,
    "attempts of an excluded check": attempts_of_an_excluded_check,
    "a skip that was not excluded": on_plan("spec", "checks", skip=["node-agreement"]),
    "an only that was not excluded": on_plan("spec", "checks", only=["node-agreement"]),
    "phases that do not hold the checks": on_plan("spec", phases=["conformance"]),
    "an entry that the catalog lacks": on_plan("policySpec", catalog=[]),
    "an entry of another name": on_plan("checks", 0, "entry", name="other"),
    "an entry of another phase": on_plan("checks", 0, "entry", phase="performance"),
    "another policy": on_plan("policy", name="strict"),
    "another producer": lambda run: run["producer"].update(name="aicr"),
    "containers that no check has listed": lambda run: run["observedImages"].append(
        {"namespace": "a", "kind": "Pod", "name": "b", "container": "c", "image": "d", "imageId": "", "component": ""}
    ),
    "numbers that came in no file": on_attempt(measurements=[{"name": "bw", "value": 1, "unit": "GB/s", "node": ""}]),
    "more probes than nodes": lambda run: run["images"][-1].update(pods=3),
    "a role of no meaning": lambda run: run["images"].append(
        {"role": "qa", "pods": 1, "image": OTHER, "imageId": OTHER, "digest": image_digest(OTHER)}
    ),
    "redaction against the policy": on_plan("policySpec", redaction="none"),
    "no redaction against the policy": lambda run: run["redaction"].update(policy="none", version="", fired={}),
    "a redaction of no version": lambda run: run["redaction"].update(version=""),
    "a message that redaction leaves out": on_plan("images", evidencerun=OTHER),
    "a node's name beside a number": on_attempt(
        measurements=[{"name": "busbw", "value": 1, "unit": "", "node": "worker-1.lab.example.com"}]
    ),
    "more texts about containers than a run can have": lambda run: run["observedImages"].extend(
        {"namespace": "n", "kind": "Pod", "name": f"p{number}", "container": "c", "image": "x" * 8000, "imageId": "",
         "component": ""} for number in range(140)
    ),
    "an extra that is never published": lambda run: run["checks"][0].update(extra={"secret": "x"}),
    "a provenance that is never published": lambda run: run["checks"][0].update(provenance={"path": "/x"}),
}  # fmt: skip


@pytest.mark.parametrize("lie", RUN_LIES)
def test_a_lie_in_the_record_is_refused(judge, lie):
    report = judge(run=RUN_LIES[lie])
    assert (report.exit_code, report.questions[0].code) == (Outcome.INVALID, "E2080")


def on_node(*place, **changes):
    def change(document):
        target = document["nodes"][1]
        for step in place:
            target = target[step]
        target.update(changes)

    return change


def the_first_ones(name):
    return lambda document: document["nodes"][1].update({name: document["nodes"][0][name]})


def one_name_for_two(document):
    name = document["nodes"][0]["facts"]["name"]
    document["nodes"][1]["facts"]["name"] = document["nodes"][1]["report"]["nodeName"] = name


NODE_LIES = {
    "a report of another run": on_node("report", runUid="7d3b1f7e-0000-4a5e-9d54-3a1b6c0d9e11"),
    "a report about another node": on_node("report", nodeName="node-000000000000"),
    "a report without a digest": on_node(reportDigest=""),
    "one report for two nodes": the_first_ones("reportDigest"),
    "one pod on two nodes": the_first_ones("podUid"),
    "one name for two nodes": one_name_for_two,
    "a pool that there is not": on_node("facts", pool="hidden"),
    "a machine id that was not replaced": on_node("facts", machineId="0" * 32),
    "a boot id that was not replaced": on_node("report", bootId="1b4e28ba-2fa1-11d2-883f-0016d3cca427"),
}


@pytest.mark.parametrize("lie", NODE_LIES)
def test_a_lie_about_nodes_is_refused(judge, lie):
    report = judge(nodes=NODE_LIES[lie])
    assert (report.exit_code, report.questions[0].code) == (Outcome.INVALID, "E2080")


def bom(change):
    def changed(files):
        document = json.loads(files[layout.BOM])
        change(document)
        return {layout.BOM: layout.document_bytes(document)}

    return changed


FILES = {
    "another version of a component": bom(lambda bom: bom["components"][0].update(version="9.9.9")),
    "another name of a component": bom(lambda bom: bom["components"][0].update(name="gpu-operator")),
    "a component more": bom(lambda bom: bom["components"].append(bom["components"][0] | {"bom-ref": "x"})),
    "a component less": bom(lambda bom: bom["components"].pop(0)),
    "another property": bom(lambda bom: bom["components"][0]["properties"][-1].update(value="seen")),
    "a description": bom(lambda bom: bom["components"][0].update(description="tested on 512 GPUs")),
    "services": bom(lambda bom: bom.update(services=[{"name": "x"}])),
    "an author": bom(lambda bom: bom["metadata"].update(authors=[{"name": "NVIDIA"}])),
    "a BOM of nothing but room": lambda files: {layout.BOM: files[layout.BOM] + b" " * 10_000},
    "a page of results": lambda files: {"RESULTS.md": b"All GPUs passed\n"},
    "a page beside the evidence": lambda files: {"evidence/summary.md": b"All GPUs passed\n"},
    "a comment in the recipe": lambda files: {layout.RECIPE: files[layout.RECIPE] + b"# tested on 512 GPUs\n"},
    "a recipe with other line ends": lambda files: {layout.RECIPE: files[layout.RECIPE].replace(b"\n", b"\r\n")},
    "a record in another spelling": lambda files: {layout.RUN: json.dumps(json.loads(files[layout.RUN])).encode()},
    "nodes in another spelling": lambda files: {layout.NODES: json.dumps(json.loads(files[layout.NODES])).encode()},
    "a flag as text": lambda files: {layout.NODES: files[layout.NODES].replace(b'"ready": true', b'"ready": "yes"')},
}


@pytest.mark.parametrize("lie", FILES)
def test_what_nobody_derives_is_no_part_of_a_bundle(judge, lie):
    report = judge(beside=FILES[lie])
    assert (report.exit_code, report.questions[0].code) == (Outcome.INVALID, "E2080")


def test_a_pass_after_a_failure_shows_both(judge):
    def retry(run):
        first = run["checks"][0]["attempts"][0]
        run["checks"][0]["attempts"] = [first | {"status": "failed", "exitCode": 1}, first | {"attempt": 2}]
        run["logs"]["files"] += 1

    report = judge(run=retry)
    passed = next(question for question in report.questions if question.id is QuestionId.PASSED)
    assert report.exit_code == 0
    assert passed.lines == ["retried: deployment/expected-resources: failed, then passed"]

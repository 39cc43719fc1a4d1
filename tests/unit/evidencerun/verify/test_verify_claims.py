# SPDX-License-Identifier: Apache-2.0
"""No yes for lack of data, no sentence that says more than was measured, and no silence where less was looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evidencerun.bundle.assemble import assemble
from evidencerun.fingerprint import fingerprint
from evidencerun.verify.claims import hardware_claim
from evidencerun.verify.result import Answer, Outcome, QuestionId
from evidencerun.verify.run import verify_bundle

NOW = datetime(2026, 9, 21, tzinfo=UTC)
MORE = b"  conformance:\n    checks: [gpu-ready]\n"


@pytest.fixture
def judge(seal, signing_key):
    def judged(run, *, sealed_at="", **options):
        inputs = run.inputs()
        if sealed_at:
            inputs = replace(inputs, sealed_at=sealed_at)
        options.setdefault("now", NOW)
        return verify_bundle(seal(assemble(inputs)), key_pem=signing_key.pem, **options)

    return judged


def question(report, identity):
    return next(entry for entry in report.questions if entry.id is identity)


@pytest.mark.parametrize("reason", ["not-ready", "cancelled", "error", "deadline"])
def test_a_run_that_was_broken_off_is_incomplete_though_every_check_passed(judge, composed_run, reason):
    report = judge(composed_run.with_changes(seal={"reason": reason}))
    found = question(report, QuestionId.COMPLETE)
    assert (report.exit_code, found.answer) == (Outcome.INCOMPLETE, Answer.NO)
    assert found.lines == [f"the run did not come to its end: {reason}"]
    assert question(report, QuestionId.PASSED).answer is Answer.NOT_JUDGED


def test_old_reports_do_not_become_recent_by_a_new_seal(judge, composed_run):
    later = datetime(2027, 9, 20, 10, 3, tzinfo=UTC)
    fresh = judge(composed_run, sealed_at="2027-09-20T10:03:00Z", now=later)
    assert fresh.exit_code == 0
    report = judge(composed_run, sealed_at="2027-09-20T10:03:00Z", now=later, max_age=90 * 86400)
    found = question(report, QuestionId.RECENT)
    assert (report.exit_code, found.code) == (Outcome.STALE, "E2601")
    assert found.detail.startswith("365.0 days old")


def test_a_snapshot_from_the_future_is_not_recent(judge, composed_run):
    now = datetime(2026, 9, 20, 10, 1, 30, tzinfo=UTC) - timedelta(seconds=600)
    report = judge(composed_run, sealed_at="2026-09-20T09:51:30Z", now=now, max_age=86400)
    assert question(report, QuestionId.RECENT).code == "E2602"


def test_a_recipe_that_asks_nothing_is_not_called_matched(judge, composed_run):
    recipe = composed_run.recipe.replace(b"accelerator: none, os: ubuntu", b"accelerator: any, os: any")
    found = question(judge(composed_run.with_changes(recipe=recipe)), QuestionId.PASSED)
    assert found.answer is Answer.YES
    assert found.detail == "2 passed, and the recipe asks for nothing that can be observed on a cluster"


def test_what_nobody_can_observe_is_said_to_be_asked_for(judge, composed_run):
    recipe = composed_run.recipe.replace(b"os: ubuntu", b"os: ubuntu, intent: training")
    found = question(judge(composed_run.with_changes(recipe=recipe)), QuestionId.PASSED)
    assert found.lines == ["asked for and not observable: intent training"]
    assert found.detail.endswith("recipe asks for in all that can be observed; not observable: intent")


def test_the_numbers_say_how_checks_ended_and_how_many_containers_started(judge, composed_run):
    found = question(judge(composed_run), QuestionId.COMPLETE)
    assert found.detail.startswith("2 passed, of 2 declared; 2 executed (a container started); ")


def test_a_match_of_simulated_hardware_is_called_synthetic(judge, composed_run, compose_node):
    first = compose_node(1)
    first["report"]["markers"] = ["M1"]
    report = judge(composed_run.with_changes(nodes=(first, compose_node(2))))
    assert "synthetic" in question(report, QuestionId.PASSED).detail


def test_a_phase_in_which_all_was_skipped_is_named(judge, composed_run, compose_attempt, compose_catalog):
    entries = [compose_catalog("expected-resources"), compose_catalog("node-agreement")]
    entries.append(compose_catalog("gpu-ready", phase="conformance"))
    run = composed_run.with_changes(
        recipe=composed_run.recipe + MORE,
        policy={"catalog": entries},
        checks=tuple({"name": entry["name"], "phase": entry["phase"], "entry": entry} for entry in entries),
        attempts=(
            compose_attempt("expected-resources"),
            compose_attempt("node-agreement"),
            _in_phase(compose_attempt("gpu-ready", status="skipped", reason="stated", message="no GPU"), "conformance"),
        ),
    )
    found = question(judge(run), QuestionId.PASSED)
    assert found.answer is Answer.YES
    assert found.lines == ["skipped: conformance/gpu-ready: no GPU", "nothing passed in phase conformance"]


def _in_phase(record, phase):
    return replace(record, view=record.view.model_copy(update={"phase": phase}))


def test_a_phase_of_the_recipe_without_a_check_makes_a_run_incomplete(judge, composed_run):
    recipe = composed_run.recipe + b"  conformance:\n    checks: []\n"
    report = judge(composed_run.with_changes(recipe=recipe))
    assert question(report, QuestionId.COMPLETE).lines == ["phase conformance of the recipe declares no check"]


def test_what_was_narrowed_away_is_named(judge, composed_run):
    run = composed_run.with_changes(recipe=composed_run.recipe + MORE, spec={"phases": ["deployment"]})
    (line,) = question(judge(run), QuestionId.COMPLETE).lines
    assert line.endswith("without conformance/gpu-ready")


def test_nodes_that_did_not_report_are_named_in_a_run_that_may_do_without(judge, composed_run, compose_node):
    silent = compose_node(2, state="missing", report=None, reason="gone", reportDigest="", podUid="")
    target = {"target": {"minCoveragePercent": 50}}
    recipe = composed_run.recipe.replace(b"accelerator: none", b"accelerator: any")
    report = judge(composed_run.with_changes(recipe=recipe, nodes=(compose_node(1), silent), spec=target))
    assert report.exit_code == 0
    assert report.warnings == ["1 of 2 target nodes did not report; the run asked for 50 %"]


def test_a_choice_of_pools_and_reports_that_differ_are_named(judge, composed_run, compose_node):
    run = composed_run.with_changes(
        spec={"target": {"pools": ["any"]}}, nodes=(compose_node(1, conflictingReports=2), compose_node(2))
    )
    assert judge(run).warnings == [
        "the run looked at the nodes of any alone, by its own choice",
        "nodes sent 2 more reports that differ from the ones used",
    ]


def test_a_probe_image_that_nobody_saw_is_named(seal, signing_key, composed_run):
    bundle = assemble(replace(composed_run.inputs(), images=()))
    report = verify_bundle(seal(bundle), key_pem=signing_key.pem, now=NOW)
    assert report.warnings == ["which probe image ran is not known"]


@pytest.mark.parametrize(("value", "words"), [(">= 1.99", "violated, found v1.36.3"), ("ubuntu", "unknown, ")])
def test_a_constraint_that_only_warns_is_still_told(judge, composed_run, value, words):
    name = "K8s.server.version" if value.startswith(">") else "OS.grub.quiet"
    more = f'constraints:\n  - {{name: {name}, value: "{value}", severity: warning}}\n'.encode()
    report = judge(composed_run.with_changes(recipe=composed_run.recipe.replace(b"constraints:\n", more)))
    assert report.exit_code == 0
    assert report.warnings[0].startswith(f"{name} {value}: {words}")


def test_what_cannot_be_derived_is_listed(judge, composed_run):
    found = judge(composed_run).not_derived
    assert "how the attempts ended" in found
    assert "the logs, whose archive is not here" in found
    assert (
        "the logs, whose archive is not here"
        not in judge(composed_run.with_changes(spec={"logs": "bundled"})).not_derived
    )


def _claim(cluster, *nodes):
    document = cluster.nodes(*nodes)
    return hardware_claim(fingerprint(cluster.snapshot(document), document))


def test_a_hardware_claim_names_its_weakest_witness(cluster):
    gpus, kind = cluster.gpus("2330"), {"node.kubernetes.io/instance-type": "p5.48xlarge"}
    read = cluster.node(1, pci=gpus)
    assert _claim(cluster, read) == "accelerator h100 on 1 of 1 nodes, read on the nodes, not signed by hardware"
    told = cluster.node(2, pci=None, labels=kind)
    assert _claim(cluster, read, told) == "accelerator h100 on 2 of 2 nodes, on some nodes by the cloud's word alone"
    label = cluster.node(3, pci=None, labels={"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"})
    assert _claim(cluster, label).endswith("nothing is proven about GPUs")
    assert _claim(cluster, cluster.node(1)) == "accelerator none: nothing is claimed about GPUs"


def test_simulated_hardware_proves_nothing(cluster):
    claim = _claim(cluster, cluster.node(1, pci=cluster.gpus("2330"), markers=["M3"]))
    assert claim == "accelerator h100, simulated (M3): nothing is proven about GPUs"

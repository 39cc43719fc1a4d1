# SPDX-License-Identifier: Apache-2.0
"""What a finished run tells to do next: mend what is named, delete, apply again; a good one is fetched and verified."""

from __future__ import annotations

import re
import shlex

import pytest
from operator_samples import (
    START,
    active_world,
    at,
    condition_of,
    make_plan,
    make_run,
    pending_world,
    planned_run,
    stamp,
)

from evidencerun_operator.decide import decide
from evidencerun_operator.status import RunStatus
from evidencerun_operator.world import Missing, StoreDown

FETCH = "kubectl get --raw /api/v1/x > bundle.tar.gz"
DELETE = "kubectl delete -n evidence evr/demo   # "
THEN = ", then apply it again: a run is immutable"


def ended(
    verdict: str,
    *,
    sealed: tuple[str, str] = ("True", "Signed"),
    status=None,
    finished=("True", "AllRecorded"),
    delivered="NotRequested",
    **spec,
) -> RunStatus:
    """The final status of a run whose work is over and whose objects are gone."""
    plan = make_plan(**spec)
    conditions = [
        ("ChecksFinished", *finished),
        ("Sealed", *sealed),
        ("Delivered", "True" if delivered == "Delivered" else "False", delivered),
        ("CleanedUp", "True", "NothingLeft"),
    ]
    before = {
        "verdict": verdict,
        "bundle": {"archiveDigest": "sha256:" + "a" * 64, "fetch": FETCH},
        "conditions": [
            {"type": kind, "status": state, "reason": reason, "lastTransitionTime": stamp(), "message": ""}
            for kind, state, reason in conditions
        ],
        **(status or {}),
    }
    run = planned_run(plan, status={key: value for key, value in before.items() if value is not None}, **spec)
    decision = decide(at(400), run, active_world(plan, StoreDown(message="away")))
    assert condition_of(decision.status, "Complete").status == "True"
    return decision.status


def checks(*samples: tuple[str, str], declared: int = 2, passed: int = 1, skipped: int = 0) -> dict:
    sample = [{"name": name, "outcome": outcome} for name, outcome in samples]
    return {"declared": declared, "executed": declared, "passed": passed, "skipped": skipped, "sample": sample}


def dimension(name: str, outcome: str) -> dict[str, str]:
    return {"name": name, "recipe": "h100", "observed": "none", "outcome": outcome}


@pytest.mark.parametrize("verdict", ["Passed", "FingerprintOnly"])
def test_a_good_bundle_is_fetched_and_verified(verdict: str):
    step = ended(verdict).next_action
    assert step.startswith(f"{FETCH} && kubectl get ")
    assert step.endswith("&& evr verify bundle.tar.gz --key evidence.pub")


def test_a_bundle_that_the_policy_leaves_unsigned_is_shown():
    assert ended("Passed", sealed=("False", "Unsigned")).next_action == f"{FETCH} && evr show bundle.tar.gz"


def test_a_signature_that_did_not_come_is_what_has_to_be_mended():
    step = ended("Passed", sealed=("False", "SigningTimedOut")).next_action
    assert step == f"{FETCH} && {DELETE}mend this: the bundle could not be signed{THEN}"


WHY = {
    "failed": (
        "ChecksFailed",
        {"checks": checks(("a", "failed"), ("b", "failed, attempt 2"), ("c", "passed after failed"))},
        "checks a, b failed",
    ),
    "failed and killed": (
        "ChecksFailed",
        {"checks": checks(("a", "failed"), ("b", "other(oom-killed)"))},
        "check a failed, check b came to no result",
    ),
    "many": (
        "ChecksFailed",
        {"checks": checks(*((f"c{number}", "failed") for number in range(5)))},
        "checks c0, c1, c2 and 2 more failed",
    ),
    "mismatched": (
        "Mismatched",
        {"match": {"overall": "mismatched", "dimensions": [dimension("accelerator", "mismatched")]}},
        "accelerator is not what the recipe asks for",
    ),
    "not ready": ("NotReady", {}, "the readiness constraints do not hold"),
    "nodes": (
        "Incomplete",
        {"nodes": {"targeted": 3, "reported": 1, "missing": 2}, "checks": checks()},
        "2 of 3 nodes gave no report",
    ),
    "unproven": (
        "Incomplete",
        {"match": {"overall": "unproven", "dimensions": [dimension("driver", "unknown")]}, "checks": checks()},
        "driver is unknown",
    ),
    "nothing declared": ("Incomplete", {"checks": checks(declared=0, passed=0)}, "no check is declared"),
    "nothing passed": ("Incomplete", {"checks": checks(passed=0, skipped=2)}, "no check passed"),
    "mandatory skipped": (
        "Incomplete",
        {"checks": checks(("a", "skipped"), skipped=1)},
        "check a was skipped",
    ),
    "optional skipped": (
        "Incomplete",
        {
            "match": {"overall": "unproven", "dimensions": [dimension("driver", "unknown")]},
            "checks": checks(("a", "skipped"), skipped=1),
        },
        "driver is unknown",
    ),
    "error": ("Error", {}, "what the summary names"),
}


@pytest.mark.parametrize("name", WHY)
def test_a_bad_verdict_says_what_to_mend_and_that_a_run_is_immutable(name: str):
    verdict, status, why = WHY[name]
    found = ended(verdict, status=status)
    assert found.next_action == f"{FETCH} && {DELETE}mend this: {why}{THEN}"


def test_the_run_s_own_wishes_and_its_deadline_are_named():
    narrowed = ended("Incomplete", status={"checks": checks(skipped=1)}, checks={"skip": ["node-agreement"]})
    assert "spec.checks leaves checks out" in narrowed.next_action
    nothing = {"nodes": {"targeted": 3, "missing": 3}, "checks": checks(declared=2, passed=0)}
    late = ended("Incomplete", status=nothing, finished=("False", "DeadlineExceeded"))
    assert late.next_action == f"{FETCH} && {DELETE}mend this: the deadline was too short{THEN}"


def test_the_summary_of_an_incomplete_run_says_why():
    status = {"nodes": {"targeted": 3, "reported": 1, "missing": 2}, "checks": checks()}
    assert ended("Incomplete", status=status).summary.endswith("; Incomplete: 2 of 3 nodes gave no report")
    assert ended("Passed", status={"checks": checks(passed=2)}).summary.endswith("; Passed")


def test_without_a_bundle_none_is_to_be_fetched():
    step = ended("Error", sealed=("False", "StoreLostData"), status={"bundle": None}).next_action
    assert step == f"{DELETE}mend this: what the summary names{THEN}"


def test_a_cancelled_run_is_not_cancelled_again():
    step = ended("Cancelled").next_action
    assert step == f"{FETCH} && {DELETE}take spec.cancel out of the manifest{THEN}"


def test_a_run_that_is_cancelled_before_its_plan_or_whose_spec_is_wrong():
    early = decide(START, make_run(cancel=True), pending_world()).status
    assert early.next_action == f"{DELETE}take spec.cancel out of the manifest{THEN}"
    wrong = decide(START, make_run(deadline="7h"), pending_world()).status
    assert wrong.next_action == f"{DELETE}mend the manifest{THEN}"


def test_what_was_missing_is_made_first_and_the_rejected_run_makes_room():
    fix = "kubectl create -n evidence configmap r --from-file=recipe.yaml=FILE"
    world = pending_world(recipe=Missing(what="ConfigMap evidence/r", fix=fix))
    waiting = decide(START, make_run(), world).status
    assert waiting.next_action == fix
    over = decide(at(120), make_run(status=waiting.to_wire()), world).status
    assert over.verdict == "Rejected"
    assert over.next_action == (
        f"{fix} && kubectl delete -n evidence evr/demo   # then apply it again: a run is immutable"
    )


def test_what_others_say_never_becomes_part_of_a_command():
    evil = "x; rm -rf ~ $(id) `id` 'a\" | & > # !"
    status = {
        "checks": checks((evil, "failed")),
        "match": {"overall": "mismatched", "dimensions": [dimension(evil, "mismatched")]},
    }
    for verdict in ("ChecksFailed", "Mismatched"):
        step = ended(verdict, status=status).next_action
        command, _, remark = step.partition("   # ")
        assert command.startswith(f"{FETCH} && ")
        rest = command.removeprefix(f"{FETCH} && ")
        assert shlex.split(rest) == ["kubectl", "delete", "-n", "evidence", "evr/demo"]
        assert re.fullmatch(r"[A-Za-z0-9 .,:/_-]+", remark)


def test_nodes_that_had_all_reported_before_a_cancel_are_not_called_unreported():
    found = condition_of(ended("Cancelled", status={"nodes": {"targeted": 3, "reported": 3}}), "NodesReported")
    assert (found.status, found.reason, found.message) == ("True", "AllReported", "3 nodes have reported")


def test_nodes_that_had_not_reported_before_a_cancel_are_counted():
    found = condition_of(
        ended("Cancelled", status={"nodes": {"targeted": 3, "reported": 1, "missing": 2}}), "NodesReported"
    )
    assert (found.status, found.reason) == ("False", "NotReached")
    assert found.message == "1 of 3 nodes had reported when the run ended"


def test_a_cancel_before_any_node_was_counted():
    found = condition_of(ended("Cancelled"), "NodesReported")
    assert (found.status, found.message) == ("False", "the run ended before")


CLAIM = "PersistentVolumeClaim evidence in namespace evidence"
REGISTRY = "registry registry.example.com/team/evidence with Secret push"
DELIVER = {
    "pvc": {"claimName": "evidence"},
    "oci": {"repository": "registry.example.com/team/evidence", "secretName": "push"},
}


@pytest.mark.parametrize("reason", ["DeliveryFailed", "DeliveryTimedOut"])
@pytest.mark.parametrize("verdict", ["Passed", "FingerprintOnly"])
def test_good_evidence_that_was_not_delivered_is_fetched_and_the_place_is_named(verdict: str, reason: str):
    step = ended(verdict, delivered=reason, deliver=DELIVER).next_action
    command, _, remark = step.partition("   # ")
    assert command == ended(verdict).next_action
    assert remark == (
        "not delivered, the bundle is still in the store and this fetches it. to have it delivered: "
        f"mend {CLAIM} and {REGISTRY}, kubectl delete -n evidence evr/demo, apply it again"
    )


def test_an_undelivered_bundle_without_a_signature_is_shown_and_the_place_is_named():
    step = ended("Passed", sealed=("False", "Unsigned"), delivered="DeliveryFailed", deliver=DELIVER).next_action
    assert step.startswith(f"{FETCH} && evr show bundle.tar.gz   # not delivered, ")


def test_only_the_place_where_nothing_arrived_is_named():
    bundle = {"archiveDigest": "sha256:" + "a" * 64, "fetch": FETCH, "delivered": [{"kind": "pvc", "ref": "x"}]}
    step = ended("Passed", delivered="DeliveryFailed", status={"bundle": bundle}, deliver=DELIVER).next_action
    assert f": mend {REGISTRY}, " in step
    assert CLAIM not in step


def test_a_registry_without_a_secret_is_said_to_have_none():
    deliver = {"oci": {"repository": "registry.example.com/team/evidence"}}
    step = ended("Passed", delivered="DeliveryFailed", deliver=deliver).next_action
    assert "mend registry registry.example.com/team/evidence without a Secret, " in step


def test_a_bad_verdict_names_a_failed_delivery_beside_its_reasons():
    step = ended("NotReady", delivered="DeliveryFailed", deliver=DELIVER).next_action
    why = f"the readiness constraints do not hold, not delivered to {CLAIM}, not delivered to {REGISTRY}"
    assert step == f"{FETCH} && {DELETE}mend this: {why}{THEN}"
    step = ended("Cancelled", delivered="DeliveryFailed", deliver={"pvc": DELIVER["pvc"]}).next_action
    assert step == f"{FETCH} && {DELETE}take spec.cancel out of the manifest, mend {CLAIM}{THEN}"


def test_a_delivery_that_worked_is_not_mended():
    assert ended("Passed", delivered="Delivered", deliver=DELIVER).next_action == ended("Passed").next_action


def test_the_longest_remark_still_fits_into_status():
    status = {"match": {"overall": "mismatched", "dimensions": [dimension(c * 253, "mismatched") for c in "abc"]}}
    deliver = {
        "pvc": {"claimName": "c" * 253},
        "oci": {"repository": "r.example/" + "r" * 245, "secretName": "s" * 253},
    }
    step = ended("Mismatched", status=status, delivered="DeliveryFailed", deliver=deliver).next_action
    assert step.startswith(f"{FETCH} && {DELETE}mend this: aaa")
    assert step.endswith("...")
    assert len(step.partition("   # ")[2]) == 1024

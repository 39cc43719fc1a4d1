# SPDX-License-Identifier: Apache-2.0
"""Single decisions of the stages after the plan: what is asked for, and what people are told."""

import json

import pytest
from operator_samples import (
    PLACES,
    UID,
    active_world,
    at,
    attempt,
    condition_of,
    entry,
    evaluation,
    make_plan,
    planned_run,
    pod_body,
    policy_spec,
    stamp,
    view,
)

from evidencerun.validation.storeapi import BundleView, Evaluation
from evidencerun_operator.actions import Close, Delete, Ensure, Evaluate, RecordAttempt, Seal
from evidencerun_operator.decide import decide
from evidencerun_operator.delivering import read_result
from evidencerun_operator.views import ChildView, NodeHealth, pod_view
from evidencerun_operator.world import StoreDown, StoreLost

ANCHORS = tuple(
    ChildView(
        kind="ConfigMap",
        namespace=namespace,
        name=f"ev-{UID[:8]}-anchor",
        uid="anchor",
        created_at=stamp(),
        deleting=False,
        data={"access.any": "pciOnly"},
    )
    for namespace in (PLACES.probes, PLACES.checks)
)
BUNDLE = BundleView(archive_digest="sha256:" + "a" * 64, logs_key="k" * 32, signer="key:sha256:f", size=9)


def job_child(name, namespace=PLACES.checks, *, deleting=False):
    return ChildView(
        kind="Job", namespace=namespace, name=name, uid=f"uid-{name}", created_at=stamp(), deleting=deleting, data={}
    )


def status_with(*conditions):
    return {
        "conditions": [
            {"type": kind, "status": status, "reason": reason, "lastTransitionTime": stamp(-age)}
            for kind, status, reason, age in conditions
        ]
    }


def healthy(*names):
    return {name: NodeHealth(uid=f"uid-{name}", ready=True, since=stamp(-60), message="") for name in names}


LOST = NodeHealth(uid="uid-node2", ready=False, since="", message="lost")


def probing(seconds, **world):
    plan = make_plan(spec=policy_spec(limits={"probe": "5m"}))
    store = view(reported=["uid-node1"])
    return decide(at(seconds), planned_run(plan), active_world(plan, store, children=ANCHORS, **world))


def test_probing_makes_the_daemon_set_of_the_pool_that_has_nodes():
    decision = probing(1, nodes=healthy("node1", "node2"))
    assert [action.manifest["metadata"]["name"] for action in decision.actions] == [f"ev-{UID[:8]}-probe-any"]
    assert decision.status.summary.startswith("1/2 nodes")


@pytest.mark.parametrize(
    ("world", "words"),
    [
        ({"nodes": healthy("node1")}, "the node is gone"),
        (
            {
                "nodes": {
                    **healthy("node1"),
                    "node2": NodeHealth(uid="uid-node2", ready=False, since="", message="lost"),
                }
            },
            "the node is not ready: lost",
        ),
        (
            {
                "nodes": healthy("node1", "node2"),
                "pods": (
                    pod_view(
                        pod_body(
                            "p",
                            "ds",
                            component="probe",
                            node="node2",
                            containerStatuses=[
                                {
                                    "name": "probe",
                                    "state": {"waiting": {"reason": "ErrImagePull", "message": "no such"}},
                                }
                            ],
                        )
                    ),
                ),
            },
            "ErrImagePull: no such",
        ),
        (
            {"nodes": healthy("node1", "node2"), "troubles": {f"ev-{UID[:8]}-probe-any": "violates PodSecurity"}},
            "no probe pod: violates PodSecurity",
        ),
    ],
)
def test_stragglers_are_named_with_the_apis_words_at_once_and_at_the_deadline(world, words):
    early = probing(3, **world)
    assert words in condition_of(early.status, "NodesReported").message
    late = probing(300, **world)
    assert late.actions == (Evaluate(stragglers={"uid-node2": late.actions[0].stragglers["uid-node2"]}),)
    assert words in late.actions[0].stragglers["uid-node2"]
    assert condition_of(late.status, "NodesReported").status == "False"
    assert late.status.nodes.sample[0].name == "node2"


@pytest.mark.parametrize(("seconds", "told"), [(3, False), (20, True)])
def test_a_probe_that_runs_is_news_only_after_a_while(seconds, told):
    state = [{"name": "probe", "state": {"running": {"startedAt": stamp()}}}]
    pod = pod_view(pod_body("p", "ds", component="probe", node="node2", phase="Running", containerStatuses=state))
    status = probing(seconds, nodes=healthy("node1", "node2"), pods=(pod,)).status
    assert ("node2: its probe runs and has not reported" in status.summary) is told
    assert ("node2" in condition_of(status, "NodesReported").message) is told
    assert status.nodes.sample[0].reason == "its probe runs and has not reported"


def checking(*attempts, catalog=None, seconds=10, deadline=7200, **world):
    plan = make_plan(spec=policy_spec(catalog=catalog), seconds=deadline)
    store = view(reported=["uid-node1", "uid-node2"], evaluation=evaluation(), attempts=list(attempts))
    run = planned_run(plan, **world.pop("run", {}))
    values = {"children": ANCHORS, "nodes": healthy("node1", "node2"), **world}
    return decide(at(seconds), run, active_world(plan, store, **values))


def names(decision):
    return [
        (type(action).__name__, action.request.job_name, str(action.request.state))
        if isinstance(action, RecordAttempt)
        else (type(action).__name__, action.manifest["metadata"]["name"])
        if isinstance(action, Ensure)
        else (type(action).__name__,)
        for action in decision.flat()
    ]


def test_checks_of_a_phase_start_side_by_side_each_in_the_ledger_first():
    stem = f"ev-{UID[:8]}"
    assert names(checking()) == [
        ("RecordAttempt", f"{stem}-expected-resources-1", "created"),
        ("Ensure", f"{stem}-expected-resources-1"),
        ("RecordAttempt", f"{stem}-node-agreement-1", "created"),
        ("Ensure", f"{stem}-node-agreement-1"),
    ]


def test_checks_that_exclude_each_other_run_one_after_the_other():
    catalog = [entry("expected-resources", exclusive="gpu"), entry("node-agreement", exclusive="gpu")]
    assert len(names(checking(catalog=catalog))) == 2
    busy = checking(
        attempt("expected-resources"),
        catalog=catalog,
        children=(*ANCHORS, job_child(f"ev-{UID[:8]}-expected-resources-1")),
    )
    assert names(busy) == []


def test_a_later_phase_waits_for_the_earlier_one():
    catalog = [entry("expected-resources"), entry("node-agreement", phase="performance")]
    started = names(checking(catalog=catalog))
    assert [item[1] for item in started] == [f"ev-{UID[:8]}-expected-resources-1"] * 2


def test_a_retry_is_a_new_attempt_with_its_own_job():
    catalog = [entry("expected-resources", retries=1)]
    failed = attempt("expected-resources", state="ended", status="failed")
    assert names(checking(failed, catalog=catalog)) == [
        ("RecordAttempt", f"ev-{UID[:8]}-expected-resources-2", "created"),
        ("Ensure", f"ev-{UID[:8]}-expected-resources-2"),
    ]
    twice = checking(failed, attempt("expected-resources", 2, state="ended", status="failed"), catalog=catalog)
    assert isinstance(twice.actions[0], Seal)


def test_a_job_that_could_go_on_after_its_attempt_was_given_up_is_deleted_before_anything_takes_its_place():
    name = f"ev-{UID[:8]}-expected-resources-1"
    catalog = [entry("expected-resources", retries=1, exclusive="gpu"), entry("node-agreement", exclusive="gpu")]
    given_up = attempt("expected-resources", state="ended", status="other")
    pod = pod_view(pod_body("p", name, phase="Running"))
    going_on = checking(given_up, catalog=catalog, children=(*ANCHORS, job_child(name)), pods=(pod,))
    assert names(going_on) == [("Delete",)]
    going = checking(given_up, catalog=catalog, children=(*ANCHORS, job_child(name, deleting=True)), pods=(pod,))
    assert ("Ensure", f"ev-{UID[:8]}-expected-resources-2") in names(going)


def test_an_attempt_that_ended_by_itself_keeps_its_job():
    name = f"ev-{UID[:8]}-expected-resources-1"
    over = pod_view(pod_body("p", name, phase="Failed"))
    catalog = [entry("expected-resources", retries=1)]
    failed = attempt("expected-resources", state="ended", status="failed")
    again = checking(failed, catalog=catalog, children=(*ANCHORS, job_child(name)), pods=(over,))
    assert [one[0] for one in names(again)] == ["RecordAttempt", "Ensure"]


def test_a_bad_ending_is_told_while_the_store_judges_it():
    name = f"ev-{UID[:8]}-expected-resources-1"
    state = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    pod = pod_view(pod_body("p", name, phase="Failed", containerStatuses=[{"name": "validator", "state": state}]))
    decision = checking(attempt("expected-resources"), children=(*ANCHORS, job_child(name)), pods=(pod,))
    assert ("RecordAttempt", name, "ended") in names(decision)
    assert "expected-resources: OOMKilled, ended with exit code 137" in decision.status.summary


def test_a_pod_that_cannot_start_is_told_in_the_summary_at_once():
    name = f"ev-{UID[:8]}-expected-resources-1"
    waiting = {"reason": "ImagePullBackOff", "message": "manifest unknown"}
    pod = pod_view(pod_body("p", name, containerStatuses=[{"name": "validator", "state": {"waiting": waiting}}]))
    decision = checking(attempt("expected-resources"), children=(*ANCHORS, job_child(name)), pods=(pod,), seconds=2)
    assert "expected-resources: ImagePullBackOff: manifest unknown" in decision.status.summary
    assert condition_of(decision.status, "ChecksFinished").reason == "CheckBlocked"


@pytest.mark.parametrize(
    ("run", "seconds", "reason"),
    [({"cancel": True}, 10, "cancelled"), ({}, 7200, "deadline")],
)
def test_cancel_and_deadline_end_attempts_and_then_seal(run, seconds, reason):
    name = f"ev-{UID[:8]}-expected-resources-1"
    pod = pod_view(pod_body("p", name))
    alive = {"children": (*ANCHORS, job_child(name)), "pods": (pod,), "seconds": seconds, "run": run}
    stopping = checking(attempt("expected-resources"), **alive)
    assert [type(action) for action in stopping.flat()] == [Delete]
    gone = checking(attempt("expected-resources"), seconds=seconds, run=run)
    assert names(gone) == [("RecordAttempt", name, "ended")]
    sealing = checking(attempt("expected-resources", state="ended", status="other"), seconds=seconds, run=run)
    assert str(sealing.actions[0].request.reason) == reason
    assert condition_of(sealing.status, "ChecksFinished").status == "False"


def test_constraints_that_do_not_hold_seal_without_checks():
    plan = make_plan()
    store = view(reported=["uid-node1"], evaluation=evaluation(ready=False))
    decision = decide(at(5), planned_run(plan), active_world(plan, store))
    assert str(decision.actions[0].request.reason) == "not-ready"


def test_a_run_that_is_not_ready_names_the_constraint_and_what_was_found():
    plan = make_plan()
    constraints = [
        {"name": "K8s.server.version", "expected": ">= 9.30", "found": "1.36.3", "outcome": "violated"},
        {"name": "OS.release.ID", "expected": "ubuntu", "found": "", "outcome": "unknown", "reason": "not reported"},
        {"name": "K8s.node.count", "expected": ">= 1", "found": "2", "outcome": "satisfied"},
        {"name": "mild", "expected": "1", "found": "2", "outcome": "violated", "severity": "warning"},
    ]
    found = evaluation(ready=False).model_dump() | {"constraints": constraints}
    store = view(reported=["uid-node1"], evaluation=Evaluation.model_validate(found))
    decision = decide(at(5), planned_run(plan), active_world(plan, store))
    assert condition_of(decision.status, "ChecksFinished").message == (
        "the readiness constraints do not hold; no check ran; K8s.server.version: expected >= 9.30, found 1.36.3; "
        "OS.release.ID: expected ubuntu, found not reported"
    )


def test_a_run_without_checks_does_not_claim_to_have_recorded_any():
    plan = make_plan(fingerprintOnly=True).model_copy(update={"checks": []})
    decision = decide(at(5), planned_run(plan), active_world(plan, view(evaluation=evaluation())))
    assert str(decision.actions[0].request.reason) == "finished"
    assert condition_of(decision.status, "ChecksFinished").reason == "NoChecks"


def sealing(seconds, seal="failed", **more):
    plan = make_plan(spec=policy_spec(limits={"seal": "15m"}))
    status = status_with(("Sealed", "False", "Sealing", 0))
    store = view(evaluation=evaluation(), seal=seal, seal_reason="the Secret does not exist", bundle=BUNDLE, **more)
    return decide(at(seconds), planned_run(plan, status=status), active_world(plan, store))


def test_signing_trouble_is_shown_and_retried_until_its_limit():
    early = sealing(60)
    assert condition_of(early.status, "Sealed").reason == "SigningFails"
    assert "the Secret does not exist" in early.status.summary
    assert "evidence-sealer" in early.status.next_action
    assert early.requeue_after
    late = sealing(900, verdict="Passed")
    assert condition_of(late.status, "Sealed").reason == "SigningTimedOut"
    assert late.status.bundle.archive_digest == BUNDLE.archive_digest
    assert late.status.verdict == "Passed"


def test_a_sealed_bundle_can_be_fetched_by_kubectl_alone():
    decision = sealing(60, seal="sealed", verdict="Passed")
    bundle = decision.status.bundle
    assert bundle.fetch == (
        "kubectl get --raw /api/v1/namespaces/evidencerun-system/services/https:evidence-store:443/proxy/v1/bundles/"
        f"{BUNDLE.archive_digest} > bundle.tar.gz"
    )
    assert "/v1/logs/" + "k" * 32 in bundle.fetch_logs


def test_a_verdict_stays_what_it_was():
    plan = make_plan()
    status = {**status_with(("Sealed", "False", "StoreUnavailable", 0)), "verdict": "Error"}
    store = view(evaluation=evaluation(), seal="sealed", bundle=BUNDLE, verdict="Passed")
    decision = decide(at(9), planned_run(plan, status=status), active_world(plan, store))
    assert decision.status.verdict == "Error"


DELIVER = {"deliver": {"pvc": {"claimName": "evidence"}, "oci": {"repository": "r.example/x", "secretName": "push"}}}


def delivering(seconds, *, since=0, reason="Delivering", pods=(), troubles=None, sealed=("True", "Signed"), spec=None):
    wanted = DELIVER if spec is None else spec
    plan = make_plan(**wanted)
    status = status_with(("Sealed", *sealed, 5), ("Delivered", "False", reason, since))
    store = view(evaluation=evaluation(), seal="sealed", bundle=BUNDLE, verdict="Passed")
    world = active_world(plan, store, pods=pods, troubles=troubles or {})
    return decide(at(seconds), planned_run(plan, status=status, **wanted), world)


def deliver_pod(**status):
    return pod_view(pod_body("d", f"ev-{UID[:8]}-deliver", component="deliver", **status))


def test_a_missing_claim_is_named_within_seconds_and_ends_delivery_soon():
    unschedulable = [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": '0/3 nodes are available: persistentvolumeclaim "evidence" not found.',
        }
    ]
    pod = deliver_pod(conditions=unschedulable)
    early = delivering(1, pods=(pod,))
    delivered = condition_of(early.status, "Delivered")
    assert (delivered.status, delivered.reason) == ("False", "DeliveryBlocked")
    assert 'persistentvolumeclaim "evidence" not found' in delivered.message
    late = delivering(31, pods=(pod,), reason="DeliveryBlocked")
    assert condition_of(late.status, "Delivered").reason == "DeliveryFailed"


def ended(message, code):
    state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}}
    return deliver_pod(phase="Failed" if code else "Succeeded", containerStatuses=[{"name": "deliver", "state": state}])


def test_the_result_of_delivery_is_taken_from_its_termination_message():
    message = json.dumps(
        {
            "delivered": [{"kind": "pvc", "ref": "evidence/runs/x.tar.gz"}],
            "errors": [{"kind": "oci", "code": "E6001", "what": "401 Unauthorized", "fix": "mend Secret push"}],
        }
    )
    decision = delivering(5, pods=(ended(message, 1),))
    delivered = condition_of(decision.status, "Delivered")
    assert (delivered.status, delivered.reason) == ("False", "DeliveryFailed")
    assert "spec.deliver.oci: E6001 401 Unauthorized; fix: mend Secret push" in delivered.message
    assert [copy.ref for copy in decision.status.bundle.delivered] == ["evidence/runs/x.tar.gz"]
    good = delivering(5, pods=(ended('{"delivered":[{"kind":"pvc","ref":"a"}],"errors":[]}', 0),))
    assert condition_of(good.status, "Delivered").status == "True"


@pytest.mark.parametrize("message", ["", "Traceback", "[]", '{"delivered": 1, "errors": "x"}', "[" * 100000])
def test_any_other_termination_message_gives_no_copies(message):
    assert read_result(message) == ([], [])


def test_without_a_signature_nothing_is_delivered_and_without_wish_neither():
    assert condition_of(delivering(1, sealed=("False", "SigningTimedOut")).status, "Delivered").reason == "NotSealed"
    assert condition_of(delivering(1, spec={}).status, "Delivered").reason == "NotRequested"


def finished_work(seconds, *, cleaned=("Unknown", "Waiting", 0), store=None, **world):
    plan = make_plan()
    status = status_with(
        ("Sealed", "True", "Signed", 5), ("Delivered", "False", "NotRequested", 5), ("CleanedUp", *cleaned)
    )
    status["verdict"] = "Passed"
    known = view(evaluation=evaluation(), seal="sealed", bundle=BUNDLE, verdict="Passed") if store is None else store
    return decide(at(seconds), planned_run(plan, status=status), active_world(plan, known, **world))


def test_what_cannot_be_removed_is_named_and_does_not_hold_the_run_forever():
    pod = pod_view(pod_body("p", "x", component="probe"))
    first = finished_work(1, pods=(pod,), children=ANCHORS)
    assert condition_of(first.status, "CleanedUp").reason == "CleaningUp"
    assert first.actions
    last = finished_work(180, cleaned=("False", "CleaningUp", 0), pods=(pod,))
    assert condition_of(last.status, "CleanedUp").reason == "LeftBehind"
    assert "Pod evidencerun-checks/p on node1" in condition_of(last.status, "CleanedUp").message


def test_complete_comes_after_the_store_has_heard_of_it():
    cleaned = ("True", "NothingLeft", 0)
    asking = finished_work(1, cleaned=cleaned)
    assert asking.actions == (Close(),)
    assert condition_of(asking.status, "Complete").status == "Unknown"
    closed = view(evaluation=evaluation(), seal="sealed", bundle=BUNDLE, verdict="Passed", closed=True)
    done = finished_work(2, cleaned=cleaned, store=closed)
    assert condition_of(done.status, "Complete").status == "True"
    assert done.requeue_after is None
    away = finished_work(299, cleaned=cleaned, store=StoreDown(message="gone"))
    assert condition_of(away.status, "Complete").status == "Unknown"
    enough = finished_work(300, cleaned=cleaned, store=StoreDown(message="gone"))
    assert condition_of(enough.status, "Complete").status == "True"


def test_the_store_away_at_the_deadline_is_an_error_and_never_a_failed_check():
    plan = make_plan(seconds=100)
    away = status_with(("StoreUnavailable", "True", "Unreachable", 40))
    early = decide(at(50), planned_run(plan, status=away), active_world(None, StoreDown(message="no route")))
    assert not early.status.verdict
    assert "StoreUnavailable: no route" in early.status.summary
    late = decide(at(101), planned_run(plan, status=away), active_world(plan, StoreDown(message="no route")))
    assert late.status.verdict == "Error"
    assert condition_of(late.status, "Sealed").reason == "StoreUnavailable"
    back = decide(at(102), planned_run(plan, status=late.status.to_wire()), active_world(plan, view()))
    assert str(back.actions[0].request.reason) == "error"
    given_up = decide(
        at(101 + 900),
        planned_run(plan, status=late.status.to_wire()),
        active_world(plan, StoreDown(message="no route")),
    )
    assert condition_of(given_up.status, "Sealed").reason == "StoreNotReached"


def test_a_store_that_lost_the_run_ends_it_after_a_moment():
    plan = make_plan()
    first = decide(at(1), planned_run(plan), active_world(None, StoreLost()))
    assert not first.status.verdict
    later = decide(at(31), planned_run(plan, status=first.status.to_wire()), active_world(None, StoreLost()))
    assert later.status.verdict == "Error"
    assert condition_of(later.status, "Sealed").reason == "StoreLostData"


def test_a_store_without_a_volume_is_disclosed():
    plan = make_plan()
    decision = decide(at(1), planned_run(plan), active_world(plan, view(durable=False)))
    assert condition_of(decision.status, "Durable").status == "False"

# SPDX-License-Identifier: Apache-2.0
"""Every fault that keeps a run from being planned: one clear message with field, found, expected; nothing created."""

import pytest
from operator_samples import (
    RECIPE,
    START,
    at,
    condition_of,
    entry,
    make_run,
    nodes,
    pending_world,
    policy,
    policy_spec,
    stamp,
)

from evidencerun.errors import StoreError
from evidencerun_operator.acceptance import Accepted, Rejection, examine
from evidencerun_operator.actions import PutPlan
from evidencerun_operator.decide import decide
from evidencerun_operator.failures import explained
from evidencerun_operator.run_object import Faulty
from evidencerun_operator.world import Missing, StoreDown

TWO_NODES = {"target": {"maxNodes": 1}}
FAULTS = {
    "wrong-api-version": (
        {},
        {"recipe": RECIPE.replace("aicr.run/v1", "aicr.run/v9").encode()},
        "InvalidRecipe",
        ["spec.recipe.inline", "aicr.run/v9"],
    ),
    "recipe-does-not-parse": ({}, {"recipe": b"a: [1,\n"}, "InvalidRecipe", ["spec.recipe.inline"]),
    "unknown-check": (
        {"checks": {"only": ["expected-resource"]}},
        {},
        "UnknownCheck",
        ["spec.checks.only", "expected-resource", "did you mean expected-resources?"],
    ),
    "unknown-skip": ({"checks": {"skip": ["zzz"]}}, {}, "UnknownCheck", ["spec.checks.skip", "known:"]),
    "check-not-declared": (
        {"checks": {"only": ["spare"]}},
        {"policy": policy(policy_spec(catalog=[entry("spare")]))},
        "CheckNotDeclared",
        ["spec.checks.only", "spare", "expected-resources"],
    ),
    "too-many-nodes": (TWO_NODES, {}, "TooManyNodes", ["spec.target.maxNodes", "found 2", "at most 1"]),
    "too-many-for-the-policy": (
        {},
        {"policy": policy(policy_spec(limits={"maxNodes": 1}))},
        "TooManyNodes",
        ["limits.maxNodes of policy default", "found 2", "at most 1"],
    ),
    "no-target-nodes": ({"target": {"pools": ["nvidia"]}}, {}, "NoTargetNodes", ["none of the 2 nodes", "nvidia"]),
    "unknown-pool": (
        {"target": {"pools": ["nvidai"]}},
        {},
        "UnknownPool",
        ["spec.target.pools", "did you mean nvidia?"],
    ),
    "deadline": ({"deadline": "7h"}, {}, "DeadlineTooLong", ["spec.deadline", "found 7h", "at most 6h"]),
    "no-time": ({"deadline": "0s"}, {}, "InvalidSpec", ["spec.deadline", "0s"]),
    "policy-cannot-be-read": (
        {},
        {"policy": Faulty(faults=("spec.pools: bad",))},
        "InvalidPolicy",
        ["spec.pools: bad"],
    ),
    "spec-cannot-be-read": ({"logs": "elsewhere"}, {}, "InvalidSpec", ["spec.logs"]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_nothing_is_created(name):
    spec, world, reason, words = FAULTS[name]
    decision = decide(START, make_run(**spec), pending_world(**world))
    accepted = condition_of(decision.status, "Accepted")
    assert (accepted.status, accepted.reason) == ("False", reason)
    for word in words:
        assert word in accepted.message
    assert decision.status.verdict == "Rejected"
    assert condition_of(decision.status, "Complete").status == "True"
    assert decision.actions == ()
    assert decision.requeue_after is None
    assert decision.status.next_action.startswith("kubectl ")


def test_a_namespace_that_is_not_allowed_is_named_with_the_allowed_ones():
    found = examine(make_run(namespace="elsewhere"), pending_world())
    assert isinstance(found, Rejection)
    assert found.reason == "NamespaceNotAllowed"
    assert found.fix == (
        "kubectl delete -n elsewhere evr/demo   # change metadata.namespace to one that is served: evidence, "
        "then apply it again: a run is immutable"
    )
    assert "found elsewhere" in found.message
    assert "evidence" in found.message


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        ({"policy": Missing(what="EvidencePolicy default", fix="kubectl get evidencepolicies")}, "PolicyNotFound"),
        ({"recipe": Missing(what="ConfigMap evidence/r", fix="kubectl create …")}, "RecipeNotFound"),
    ],
)
def test_what_is_missing_is_waited_for_two_minutes_by_the_conditions_own_time(world, reason):
    first = decide(START, make_run(), pending_world(**world))
    assert condition_of(first.status, "Accepted").reason == reason
    assert first.requeue_after
    assert not first.status.verdict
    waiting = make_run(status=first.status.to_wire())
    later = decide(at(119), waiting, pending_world(**world))
    assert condition_of(later.status, "Accepted").last_transition_time == stamp()
    assert not later.status.verdict
    over = decide(at(120), make_run(status=later.status.to_wire()), pending_world(**world))
    assert over.status.verdict == "Rejected"
    healed = decide(at(119), waiting, pending_world())
    assert isinstance(healed.actions[0], PutPlan)


def test_the_plan_holds_what_was_asked_and_what_was_found():
    run = make_run(checks={"skip": ["node-agreement"]})
    decision = decide(START, run, pending_world())
    (action,) = decision.actions
    plan = action.plan
    assert plan.recipe == RECIPE.encode()
    assert [(c.name, c.entry is not None, c.excluded) for c in plan.checks] == [
        ("expected-resources", True, False),
        ("node-agreement", True, True),
        ("not-in-catalog", False, False),
    ]
    assert [(n.name, n.pool, n.capacity) for n in plan.target_nodes] == [
        ("node1", "any", {"nvidia.com/gpu": "8"}),
        ("node2", "any", {"nvidia.com/gpu": "8"}),
    ]
    assert plan.frozen_at == stamp()
    assert plan.deadline_time == stamp(7200)


def test_a_stored_plan_is_adopted_and_not_made_anew():
    offered = decide(START, make_run(), pending_world()).actions[0].plan
    later = decide(at(600), make_run(), pending_world(store=offered, nodes=(), policy=Faulty(faults=())))
    assert later.status.plan.frozen_at == stamp()
    assert later.actions == ()
    assert condition_of(later.status, "Planned").status == "True"


def test_fallback_pools_count_only_if_no_other_has_a_node():
    mixed = nodes("cpu1") + nodes("gpu1", **{"nvidia.com/gpu.present": "true"})
    found = examine(make_run(), pending_world(nodes=mixed))
    assert isinstance(found, Accepted)
    assert [(n.name, n.pool) for n in found.targets] == [("gpu1", "nvidia")]


def test_the_queue_is_shown_and_kept():
    decision = decide(START, make_run(), pending_world(occupied=3, ahead=2))
    assert decision.actions == ()
    assert "position 2 in the queue" in decision.status.summary
    assert decision.requeue_after


def test_cancel_before_the_plan_ends_the_run_without_creating_anything():
    decision = decide(START, make_run(cancel=True), pending_world())
    assert decision.status.verdict == "Cancelled"
    assert decision.actions == ()


def test_without_the_store_nothing_is_planned_and_the_deadline_ends_in_error():
    world = pending_world(store=StoreDown(message="connection refused"))
    first = decide(START, make_run(deadline="10m"), world)
    assert condition_of(first.status, "StoreUnavailable").status == "True"
    assert "connection refused" in first.status.summary
    assert first.actions == ()
    last = decide(at(600), make_run(deadline="10m", status=first.status.to_wire()), world)
    assert last.status.verdict == "Error"


def test_a_plan_that_the_store_refuses_is_offered_again_until_the_deadline():
    run = make_run(deadline="10m")
    offered = decide(START, run, pending_world())
    refusal = StoreError("E3505", "the evidence store answers 409", why="spec differs")
    blocked = explained(offered.status, refusal, now=START)
    assert "spec differs" in condition_of(blocked, "Planned").message
    again = decide(at(599), make_run(deadline="10m", status=blocked.to_wire()), pending_world())
    assert isinstance(again.actions[0], PutPlan)
    last = decide(at(600), make_run(deadline="10m", status=blocked.to_wire()), pending_world())
    assert last.status.verdict == "Error"
    assert "spec differs" in last.status.summary


def test_fingerprint_only_plans_no_checks():
    found = examine(make_run(fingerprintOnly=True), pending_world())
    assert isinstance(found, Accepted)
    assert found.checks == ()

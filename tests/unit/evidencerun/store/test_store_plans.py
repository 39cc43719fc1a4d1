# SPDX-License-Identifier: Apache-2.0
"""A plan is stored once, and only if the API server's own objects say the same."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

UID = "0a1b2c3d-0000-4000-8000-000000000001"
PATH = f"/v1/runs/{UID}"
Change = Callable[[Any, dict[str, Any]], None]


async def _put(rig: Any, plan: dict[str, Any], path: str = PATH) -> tuple[int, Any]:
    status, body, _ = await rig.call("PUT", path, token=rig.api.operator_token(), json_body=plan)
    return status, json.loads(body)


def _causes(answer: Any) -> str:
    return "; ".join(cause["message"] for cause in answer["details"]["causes"]) or answer["message"]


async def test_a_plan_is_stored_once(rig: Any, plan_for: Any) -> None:
    plan = plan_for(rig.api)
    assert (await _put(rig, plan))[0] == 201
    status, stored = await _put(rig, {**plan, "nonce": "f" * 32})
    assert (status, stored["nonce"]) == (200, "0" * 32)
    assert await rig.ok("GET", f"{PATH}/plan", token=rig.api.operator_token()) == stored
    runs = await rig.ok("GET", "/v1/runs?open", token=rig.api.operator_token())
    assert runs == {"runs": [{"uid": UID, "namespace": "evidence", "name": plan["run"]["name"]}]}
    await rig.restart()
    assert (await _put(rig, {**plan, "nonce": "f" * 32}))[1] == stored


def _set(*path: str, to: Any) -> Change:
    def change(_: Any, plan: dict[str, Any]) -> None:
        here = plan
        for name in path[:-1]:
            here = here[int(name)] if isinstance(here, list) else here[name]
        here[path[-1]] = to

    return change


def _drop_node(_: Any, plan: dict[str, Any]) -> None:
    del plan["targetNodes"][1]


def _new_node(api: Any, _: dict[str, Any]) -> None:
    api.nodes.append(json.loads(json.dumps(api.nodes[0]).replace("node-1", "node-3").replace("0001", "0003")))


def _gone_node(api: Any, _: dict[str, Any]) -> None:
    del api.nodes[0]


def _double_node(_: Any, plan: dict[str, Any]) -> None:
    plan["targetNodes"].append(plan["targetNodes"][0])


def _labelled(key: str) -> Change:
    def change(api: Any, _: dict[str, Any]) -> None:
        api.nodes[0]["metadata"]["labels"] = {key: "x"}

    return change


def _with_gpus(api: Any, _: dict[str, Any]) -> None:
    api.nodes[0]["status"]["capacity"] = {"nvidia.com/gpu": "8"}


def _drop_check(_: Any, plan: dict[str, Any]) -> None:
    del plan["checks"][1]


def _more_checks(_: Any, plan: dict[str, Any]) -> None:
    plan["checks"].append({"name": "other", "phase": "deployment"})


def _other_image(_: Any, plan: dict[str, Any]) -> None:
    plan["checks"][0]["entry"]["image"] = "evil@sha256:" + "2" * 64


def _other_policy(api: Any, _: dict[str, Any]) -> None:
    api.policies["default"]["spec"] = {**api.policies["default"]["spec"], "redaction": "none"}


def _no_policy(api: Any, _: dict[str, Any]) -> None:
    api.policies.clear()


def _other_recipe(_: Any, plan: dict[str, Any]) -> None:
    plan["recipe"] = base64.b64encode(base64.b64decode(plan["recipe"]) + b"# more\n").decode()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_set("run", "generation", to=2), "run: the generation is 1, the plan says 2"),
        (_set("run", "name", to="another"), "there is none"),
        (_set("spec", "deadline", to="1h"), "run: spec differs in deadline"),
        (_set("policy", "uid", to="x"), "policy: the uid is"),
        (_set("policy", "generation", to=4), "policy: the generation is 3"),
        (_set("policySpec", "redaction", to="none"), "policy: spec differs in redaction"),
        (_other_policy, "policy: spec differs in redaction"),
        (_no_policy, "there is none"),
        (_other_recipe, "not those of spec.recipe.inline"),
        (_set("recipeDigest", to="0" * 64), "recipe: its digest is"),
        (_set("recipeName", to="h100"), "recipe: its name is"),
        (_drop_node, "node-2: is left out of the plan"),
        (_new_node, "node-3: is left out of the plan"),
        (_gone_node, "node-1: no node has this uid"),
        (_double_node, "node-1: stands twice"),
        (_set("targetNodes", "0", "name", to="node-9"), "the node of this uid is called node-1"),
        (_set("targetNodes", "0", "pool", to="nvidia"), "does not belong to pool nvidia"),
        (_set("targetNodes", "0", "bootId", to="boot-9"), "differs in boot_id"),
        (_set("targetNodes", "0", "labels", to={"a": "b"}), "differs in label a"),
        (_labelled("type"), "differs in label type, which it leaves out"),
        (_labelled("nebius.com/node-group"), "differs in label nebius.com/node-group, which it leaves out"),
        (_with_gpus, "differs in nvidia.com/gpu"),
        (_set("targetNodes", "0", "capacity", to={"nvidia.com/gpu": "8"}), "differs in nvidia.com/gpu"),
        (_drop_check, "node-agreement of phase deployment is declared and not planned"),
        (_more_checks, "other of phase deployment is planned and not declared"),
        (_other_image, "the entry of expected-resources in phase deployment is not the policy's"),
        (_set("checks", "0", "excluded", to=True), "is excluded=True against spec.checks"),
        (_set("cluster", "server", to={"gitVersion": "v1.99.0"}), "cluster: its version is v1.36.3"),
    ],
)
async def test_a_plan_that_differs_is_refused_by_name(rig: Any, plan_for: Any, change: Change, word: str) -> None:
    plan = plan_for(rig.api)
    change(rig.api, plan)
    status, answer = await _put(rig, plan)
    assert status == 409, answer
    assert word in _causes(answer)
    assert (await rig.call("GET", PATH, token=rig.api.operator_token()))[0] == 404
    assert list(rig.service.runs.root.iterdir()) == []


async def test_a_label_that_says_nothing_of_the_machine_may_be_left_out(rig: Any, plan_for: Any) -> None:
    plan = plan_for(rig.api)
    rig.api.nodes[0]["metadata"]["labels"] = {"team.example.com/owner": "x", "nvidia.com/gpu.count": "8"}
    assert (await _put(rig, plan))[0] == 201


async def test_a_younger_node_is_no_difference(rig: Any, plan_for: Any) -> None:
    plan = plan_for(rig.api)
    _new_node(rig.api, plan)
    rig.api.nodes[-1]["metadata"]["creationTimestamp"] = "2026-11-24T00:00:01Z"
    assert (await _put(rig, plan))[0] == 201


async def test_a_fallback_pool_counts_only_where_no_other_has_a_node(rig: Any, plan_for: Any) -> None:
    pools = [
        {"name": "gpu", "nodeSelector": {"gpu": "true"}},
        {"name": "any", "nodeSelector": {}, "fallback": True},
    ]
    rig.api.nodes[0]["metadata"]["labels"] = {"gpu": "true"}
    plan = plan_for(rig.api, policy={"pools": pools})
    status, answer = await _put(rig, plan)
    assert status == 409
    assert "does not belong to pool any" in _causes(answer)
    plan["targetNodes"] = [{**plan["targetNodes"][0], "pool": "gpu"}]
    assert (await _put(rig, plan))[0] == 201


async def test_a_namespace_that_is_not_served_is_forbidden(rig: Any, plan_for: Any) -> None:
    plan = plan_for(rig.api)
    plan["run"]["namespace"] = "elsewhere"
    status, answer = await _put(rig, plan)
    assert (status, answer["reason"]) == (403, "Forbidden")


@pytest.mark.parametrize("uid", ["..", "x", UID.upper(), UID + "0", "0a1b2c3d-0000-4000-8000-000000000002"])
async def test_the_path_must_name_the_plans_run(rig: Any, plan_for: Any, uid: str) -> None:
    status, _ = await _put(rig, plan_for(rig.api), path=f"/v1/runs/{uid}")
    assert status in (404, 409)
    assert list(rig.service.runs.root.iterdir()) == []


async def test_a_full_volume_is_said_and_nothing_is_there(
    rig: Any, plan_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    plan = plan_for(rig.api)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        status, answer = await _put(rig, plan)
    assert (status, answer["reason"]) == (507, "InsufficientStorage")
    assert "volume is full" in answer["message"]
    assert "enlarge" in answer["message"]
    assert list(rig.service.runs.root.iterdir()) == []
    assert (await _put(rig, plan))[0] == 201

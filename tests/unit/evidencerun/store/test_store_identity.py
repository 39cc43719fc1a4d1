# SPDX-License-Identifier: Apache-2.0
"""Who may call what: the token's audience, account, pod and node decide, never the body."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evidencerun import limits
from evidencerun.store.identity import Identities, claimed_attempt
from evidencerun.store.refusals import RefusalError
from evidencerun.validation.storeapi import STORE_AUDIENCE, check_audience, probe_audience

UID = "0a1b2c3d-0000-4000-8000-000000000001"
OTHER = "0a1b2c3d-0000-4000-8000-000000000002"


def _user(account: str, **extra: str) -> dict[str, Any]:
    names = {"pod-name": "p", "pod-uid": "u", "node-name": "n", "node-uid": "m", **extra}
    return {
        "username": account,
        "extra": {f"authentication.kubernetes.io/{k}": [v] for k, v in names.items() if v},
    }


class FakeReviews:
    """Answers TokenReviews and counts them."""

    def __init__(self, status: dict[str, Any]) -> None:
        self.status = status
        self.asked: list[tuple[str, list[str]]] = []

    async def token_review(self, token: str, *, audiences: list[str], within: float = 10) -> dict[str, Any]:
        self.asked.append((token, audiences))
        return self.status


async def test_an_answer_is_believed_for_two_minutes_and_per_audience() -> None:
    time = 0.0
    user = _user("system:serviceaccount:ns:acc")
    reviews = FakeReviews({"authenticated": True, "audiences": ["a"], "user": user})
    identities = Identities(reviews, lambda: time)  # type: ignore[arg-type]
    for _ in range(3):
        caller = await identities.caller("token", audience="a")
    assert (caller.namespace, caller.account, caller.node_uid) == ("ns", "acc", "m")
    assert len(reviews.asked) == 1
    with pytest.raises(RefusalError) as caught:
        await identities.caller("token", audience="b")
    assert caught.value.status == 401
    assert len(reviews.asked) == 2
    time = limits.IDENTITY_CACHE_SECONDS + 1
    await identities.caller("token", audience="a")
    assert len(reviews.asked) == 3


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, 401),
        ({"authenticated": False, "error": "expired"}, 401),
        ({"authenticated": True, "user": _user("system:serviceaccount:n:a")}, 401),
        ({"authenticated": True, "audiences": ["other"], "user": _user("system:serviceaccount:n:a")}, 401),
        ({"authenticated": True, "audiences": ["a"], "user": _user("kubernetes-admin")}, 403),
        ({"authenticated": True, "audiences": ["a"], "user": {"username": "system:serviceaccount:n:a"}}, 403),
        (
            {"authenticated": True, "audiences": ["a"], "user": _user("system:serviceaccount:n:a", **{"node-uid": ""})},
            403,
        ),
    ],
)
async def test_what_is_not_vouched_for_is_refused(status: dict[str, Any], expected: int) -> None:
    identities = Identities(FakeReviews(status), lambda: 0.0)  # type: ignore[arg-type]
    with pytest.raises(RefusalError) as caught:
        await identities.caller("t", audience="a")
    assert caught.value.status == expected


async def test_a_token_is_for_one_run_one_place_and_one_account(rig: Any) -> None:
    api = rig.api
    await rig.create()
    path = f"/v1/runs/{UID}/nodes/self"
    wrong = {
        "": 401,
        "nonsense": 401,
        api.operator_token(): 401,
        api.probe_token(1, OTHER): 401,
        api.token("evidence-probe", "evidence", probe_audience(UID)): 403,
        api.token("evidence-check-none", "evidencerun-probes", probe_audience(UID)): 403,
        api.token("evidence-probe", "evidencerun-probes", probe_audience(UID), pod_uid=""): 403,
    }
    for token, expected in wrong.items():
        status, body, _ = await rig.send_report(1, token=token)
        assert status == expected, (token, body)
        assert b'"kind": "Status"' in body
        assert (await rig.call("HEAD", path, token=token))[0] == expected
    for account in ("evidence-sealer", "evidence-store"):
        token = api.token(account, "evidencerun-system", STORE_AUDIENCE)
        assert (await rig.call("GET", f"/v1/runs/{UID}", token=token))[0] == 403
    assert (await rig.call("GET", "/v1/seal", token=api.operator_token()))[0] == 403


async def test_every_route_but_the_public_ones_wants_a_token(rig: Any) -> None:
    public = {"/v1/bundles/{digest}", "/v1/bundles/{digest}/oci/{part}", "/v1/logs/{key}", "/healthz"}
    runner = rig.server._runner
    seen = 0
    for route in runner.app.router.routes():
        pattern = route.resource.canonical
        if pattern in public:
            continue
        path = pattern.format(uid=UID, file="recipe.yaml", check="c", attempt="1", digest="sha256:0")
        status, _, _ = await rig.call(route.method, path)
        assert status == 401, (route.method, pattern)
        seen += 1
    assert seen >= 16


async def test_a_forged_node_name_is_refused_and_nothing_is_kept(rig: Any, caplog: Any) -> None:
    await rig.create()
    status, body, _ = await rig.send_report(2, token=rig.api.probe_token(1))
    assert status == 403
    assert b"another node" in body
    assert (await rig.view())["reported"] == []
    assert not rig.service.runs.get(UID).folder.nodes.exists()


async def test_a_check_pod_must_be_the_ledgers(rig: Any) -> None:
    api = rig.api
    await rig.create()
    await rig.send_report(1)
    await rig.ok("POST", f"/v1/runs/{UID}/evaluate", token=api.operator_token(), json_body={})
    path = f"/v1/runs/{UID}/inputs/nodes.json"
    token = api.check_token("node-agreement", 1)
    assert (await rig.call("GET", path, token=token))[0] == 404  # not in the ledger
    await rig.attempt("created")
    assert (await rig.call("GET", path, token=token))[0] == 403  # no such pod
    api.add_pod("node-agreement", 1, job="somebody-else")
    assert (await rig.call("GET", path, token=token))[0] == 403  # of another Job
    api.add_pod("node-agreement", 1)
    assert (await rig.call("GET", path, token=token))[0] == 200
    assert (await rig.call("GET", path, token=api.check_token("node-agreement", 1, rights="aicr-read")))[0] == 403
    assert (await rig.call("GET", path, token=api.check_token("node-agreement", 2)))[0] == 404
    assert (await rig.call("GET", f"/v1/runs/{UID}/inputs/..%2Fplan.json", token=token))[0] == 404
    other = f"/v1/runs/{UID}/checks/expected-resources/1/x.txt"
    assert (await rig.call("PUT", other, token=token, data=b"x"))[0] == 401


async def test_an_api_server_that_is_away_is_no_refusal(rig: Any) -> None:
    await rig.create()
    rig.api.down = True
    status, body, headers = await rig.send_report(1)
    assert status == 503
    assert headers["Retry-After"]
    assert b"the API server" in body
    rig.api.down = False
    assert (await rig.send_report(1))[0] == 201


async def test_tokens_and_keys_stay_out_of_the_log(rig: Any, caplog: Any) -> None:
    caplog.set_level("INFO", logger="evidencerun")
    await rig.create()
    token = rig.api.probe_token(1)
    await rig.send_report(1, token=token)
    await rig.call("GET", "/v1/logs/0123456789abcdef0123456789abcdef", token=token)
    await rig.call("GET", f"/v1/runs/{UID}", token=token)
    said = "\n".join(f"{record.getMessage()} {record.__dict__.get('fields')}" for record in caplog.records)
    assert "report.stored" in said
    assert token not in said
    assert "0123456789abcdef" not in said


@pytest.mark.parametrize(
    ("audience", "expected"),
    [
        (check_audience(UID, "node-agreement", 3), ("node-agreement", 3)),
        (check_audience(OTHER, "node-agreement", 3), None),
        (check_audience(UID, "../x", 3), None),
        (check_audience(UID, "x", 0), None),
        (STORE_AUDIENCE, None),
    ],
)
def test_the_claimed_attempt_is_of_this_run(audience: str, expected: tuple[str, int] | None) -> None:
    import base64
    import json

    for claims in ({"aud": audience}, {"aud": ["x", audience]}):
        part = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
        assert claimed_attempt(f"a.{part}.b", UID) == expected
    assert claimed_attempt("a.%%%.b", UID) is None
    assert claimed_attempt("nodots", UID) is None


async def test_reviews_at_once_are_bounded() -> None:
    most = now = 0

    class Slow:
        async def token_review(self, token: str, **_: Any) -> dict[str, Any]:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1
            return {"authenticated": True, "audiences": ["a"], "user": _user("system:serviceaccount:n:a")}

    identities = Identities(Slow(), lambda: 0.0)  # type: ignore[arg-type]
    await asyncio.gather(*(identities.caller(f"t{n}", audience="a") for n in range(100)))
    assert most <= 16

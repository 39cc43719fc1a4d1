# SPDX-License-Identifier: Apache-2.0
"""Create-or-verify against a scripted API, and the store client against a scripted server."""

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from operator_samples import UID, make_plan, view

from evidencerun.errors import ClusterError, StoreError
from evidencerun.kube.base import JOBS, http_fault
from evidencerun_operator.actions import Delete, Ensure
from evidencerun_operator.execute import Executor
from evidencerun_operator.refusals import Refusals
from evidencerun_operator.storeclient import StoreClient

MANIFEST = {
    "metadata": {
        "name": "ev-x",
        "namespace": "checks",
        "labels": {"evidencerun.dev/run-uid": UID},
        "annotations": {"evidencerun.dev/spec-hash": "h1"},
    }
}


class ScriptedCluster:
    """Knows one object, and which fault to raise."""

    def __init__(self, found=None, *, fault=None):
        self.found = found
        self.fault = fault
        self.created = []

    async def create(self, resource, body, *, namespace="", within=20):
        if self.fault:
            raise self.fault
        if self.found is not None:
            raise http_fault(status=409, reason="AlreadyExists", message="exists", where="POST")
        self.created.append(body["metadata"]["name"])
        return body

    async def get(self, resource, name, *, namespace="", within=20):
        return self.found

    async def delete(self, resource, name, **_):
        if self.fault:
            raise self.fault
        return True


def stored(uid=UID, digest="h1"):
    return {
        "metadata": {
            "labels": {"evidencerun.dev/run-uid": uid},
            "annotations": {"evidencerun.dev/spec-hash": digest},
        }
    }


async def test_an_object_is_created_once_and_the_same_one_is_fine():
    cluster = ScriptedCluster()
    await Executor(cluster, None, Refusals()).execute(UID, Ensure(resource=JOBS, manifest=MANIFEST))
    assert cluster.created == ["ev-x"]
    await Executor(ScriptedCluster(stored()), None, Refusals()).execute(UID, Ensure(resource=JOBS, manifest=MANIFEST))


@pytest.mark.parametrize("found", [stored(uid="another"), stored(digest="h2"), {"metadata": {}}])
async def test_an_object_of_somebody_else_is_never_adopted(found):
    with pytest.raises(ClusterError) as caught:
        await Executor(ScriptedCluster(found), None, Refusals()).execute(UID, Ensure(resource=JOBS, manifest=MANIFEST))
    assert caught.value.code == "E3601"


async def test_another_409_than_already_exists_is_not_adopted():
    fault = http_fault(status=409, reason="Conflict", message="namespace is terminating", where="POST")
    with pytest.raises(ClusterError) as caught:
        await Executor(ScriptedCluster(fault=fault), None, Refusals()).execute(
            UID, Ensure(resource=JOBS, manifest=MANIFEST)
        )
    assert caught.value.status == 409


@pytest.mark.parametrize(
    ("status", "told"), [(403, True), (422, True), (404, True), (429, False), (409, False), (500, False), (0, False)]
)
async def test_a_refusal_is_remembered_until_the_object_exists(status, told):
    refusals = Refusals()
    name = f"ev-{UID[:8]}-expected-resources-1"
    wanted = Ensure(resource=JOBS, manifest={**MANIFEST, "metadata": {**MANIFEST["metadata"], "name": name}})
    fault = ClusterError("E3004", "exceeded quota", status=status)
    with pytest.raises(ClusterError):
        await Executor(ScriptedCluster(fault=fault), None, refusals).execute(UID, wanted)
    assert ("exceeded quota" in refusals.of_run(UID).get(name, "")) is told
    assert refusals.of_run("another-uid") == {}
    await Executor(ScriptedCluster(), None, refusals).execute(UID, wanted)
    assert refusals.of_run(UID) == {}


async def test_the_refusals_of_a_run_that_is_over_are_forgotten():
    refusals = Refusals()
    refusals.note(f"ev-{UID[:8]}-probe-any", ClusterError("E3601", "exists already and is not this run's"))
    assert refusals.of_run(UID)
    refusals.forget(UID)
    assert refusals.of_run(UID) == {}


async def test_a_name_taken_by_another_object_is_not_ours_to_delete():
    fault = http_fault(status=409, reason="Conflict", message="uid", where="DELETE")
    action = Delete(resource=JOBS, namespace="checks", name="ev-x", uid="u")
    await Executor(ScriptedCluster(fault=fault), None, Refusals()).execute(UID, action)


@pytest.fixture
async def server():
    answers = {}

    async def answer(request):
        status, body = answers.get((request.method, request.path_qs), (404, b"{}"))
        answers["token"] = request.headers["Authorization"]
        return web.Response(status=status, body=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    running = TestServer(app)
    await running.start_server()
    running.answers = answers
    yield running
    await running.close()


@pytest.fixture
async def store(server, tmp_path):
    (tmp_path / "token").write_text("first\n")

    async def no_ca():
        return ""

    client = StoreClient(str(server.make_url("/")), token_file=str(tmp_path / "token"), read_ca=no_ca)
    yield client
    await client.close()


async def test_the_token_is_read_anew_for_every_call(server, store, tmp_path):
    assert await store.view(UID) is None
    assert server.answers["token"] == "Bearer first"
    (tmp_path / "token").write_text("second")
    assert await store.plan(UID) is None
    assert server.answers["token"] == "Bearer second"


async def test_answers_are_read(server, store):
    plan = make_plan()
    server.answers[("GET", f"/v1/runs/{UID}/plan")] = (200, plan.to_bytes())
    server.answers[("GET", f"/v1/runs/{UID}")] = (200, view(reported=["u"]).model_dump_json(by_alias=True).encode())
    server.answers[("GET", "/v1/runs?open")] = (200, json.dumps({"runs": [{"uid": UID, "name": "a"}]}).encode())
    assert await store.plan(UID) == plan
    assert (await store.view(UID)).reported == ["u"]
    assert await store.open_runs() == [UID]


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (401, b"", "E3503", "401"),
        (
            409,
            b'{"message":"plan differs","details":{"causes":[{"message":"spec.deadline"}]}}',
            "E3505",
            "spec.deadline",
        ),
        (422, b'{"message":"bad"}', "E3506", "bad"),
        (503, b"<html>", "E3507", "<html>"),
        (307, b"", "E3506", "307"),
        (200, b"no json", "E3508", "cannot be read"),
        (200, b"[" * 100_000, "E3508", "cannot be read"),
        (200, b'{"uid": 1}', "E3508", "cannot be read"),
        (200, b"x" * (3 * 1024 * 1024), "E3508", "longer than"),
    ],
)
async def test_refusals_and_nonsense_are_told_apart(server, store, status, body, code, words):
    server.answers[("GET", f"/v1/runs/{UID}")] = (status, body)
    with pytest.raises(StoreError) as caught:
        await store.view(UID)
    assert caught.value.code == code
    assert words in f"{caught.value.what} {caught.value.why}"


async def test_a_store_that_is_gone_and_a_ca_that_is_missing(store, server, tmp_path):
    await server.close()
    with pytest.raises(StoreError) as caught:
        await store.view(UID)
    assert caught.value.code == "E3501"

    async def no_ca():
        return ""

    secure = StoreClient("https://127.0.0.1:1", token_file=str(tmp_path / "token"), read_ca=no_ca)
    with pytest.raises(StoreError) as caught:
        await secure.view(UID)
    assert caught.value.code == "E3509"

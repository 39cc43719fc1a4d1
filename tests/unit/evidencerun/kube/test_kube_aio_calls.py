# SPDX-License-Identifier: Apache-2.0
"""The asynchronous adapter against a scripted API server: paths, headers, chunks, bounds, and every kind of failure."""

import asyncio
import inspect
import json

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from evidencerun import __version__, limits
from evidencerun.errors import ClusterError
from evidencerun.kube.aio import connect
from evidencerun.kube.base import (
    EVENTS,
    EVIDENCE_RUNS,
    JOBS,
    NODES,
    PODS,
    Resource,
    http_fault,
)
from evidencerun.kube.login import credentials


class Script:
    """Answers by method and path; keeps the requests."""

    def __init__(self):
        self.requests = []
        self.answers = {}

    async def answer(self, request):
        body = await request.read()
        self.requests.append((request, body))
        answer = self.answers.get((request.method, request.path))
        if callable(answer):
            made = answer(request)
            return await made if inspect.isawaitable(made) else made
        status, document = answer if answer is not None else (200, {})
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        return web.Response(status=status, body=data)

    @property
    def last(self):
        return self.requests[-1]


@pytest.fixture
async def script():
    return Script()


@pytest.fixture
async def cluster(script, tmp_path):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    server = TestServer(app)
    await server.start_server()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": str(server.make_url("")).rstrip("/")}}],
        "users": [{"name": "u", "user": {"token": "the-token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    connected = await connect(kubeconfig=str(path))
    connected.test_server, connected.kubeconfig = server, str(path)
    yield connected
    await connected.close()
    await server.close()


async def test_a_call_says_who_and_with_what_it_comes(cluster, script):
    script.answers[("GET", "/apis/batch/v1/namespaces/ns/jobs/a")] = (200, {"kind": "Job"})
    assert await cluster.get(JOBS, "a", namespace="ns") == {"kind": "Job"}
    headers = script.last[0].headers
    assert headers["User-Agent"] == f"evidencerun/{__version__}"
    assert headers["Authorization"] == "Bearer the-token"


async def test_a_list_is_read_in_chunks_and_projected(cluster, script):
    pages = {"": ["a", "b"], "next": ["c"]}

    def page(request):
        token = request.query.get("continue", "")
        items = [{"metadata": {"name": name}} for name in pages[token]]
        meta = {} if token else {"continue": "next"}
        return web.json_response({"metadata": meta, "items": items})

    script.answers[("GET", "/api/v1/nodes")] = page
    names = await cluster.list_all(NODES, project=lambda body: body["metadata"]["name"], label_selector="a=b")
    assert names == ["a", "b", "c"]
    assert [r.query["limit"] for r, _ in script.requests] == ["500", "500"]
    assert all(r.query["labelSelector"] == "a=b" for r, _ in script.requests)


async def test_a_list_that_expires_half_way_is_begun_anew_once(cluster, script):
    seen = []

    def page(request):
        seen.append(request.query.get("continue", ""))
        if seen == ["", "next"]:
            return web.json_response({"kind": "Status", "reason": "Expired", "message": "too old"}, status=410)
        meta = {"continue": "next"} if not seen[-1] else {}
        return web.json_response({"metadata": meta, "items": [{"n": len(seen)}]})

    script.answers[("GET", "/api/v1/nodes")] = page
    assert await cluster.list_all(NODES, project=lambda body: body["n"]) == [3, 4]
    script.answers[("GET", "/api/v1/nodes")] = (410, {"reason": "Expired"})
    with pytest.raises(ClusterError) as caught:
        await cluster.list_all(NODES, project=lambda body: body)
    assert caught.value.status == 410


async def test_writes_are_strict_and_named(cluster, script):
    await cluster.create(JOBS, {"metadata": {"name": "a"}}, namespace="ns")
    request, body = script.last
    assert request.query["fieldValidation"] == "Strict"
    assert request.query["fieldManager"] == "evidencerun-operator"
    assert json.loads(body) == {"metadata": {"name": "a"}}


async def test_a_status_is_applied_to_its_subresource(cluster, script):
    body = {"metadata": {"name": "r", "namespace": "ns", "resourceVersion": "7"}, "status": {"phase": "x"}}
    await cluster.apply_status(EVIDENCE_RUNS, body)
    request, sent = script.last
    assert request.path == "/apis/evidencerun.dev/v1alpha1/namespaces/ns/evidenceruns/r/status"
    assert request.method == "PATCH"
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(sent) == body


async def test_a_merge_patch_keeps_its_nulls(cluster, script):
    await cluster.merge_patch(JOBS, "a", {"spec": {"suspend": None}}, namespace="ns")
    request, sent = script.last
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert json.loads(sent) == {"spec": {"suspend": None}}


async def test_deletion_is_of_that_very_object_and_absence_is_no_fault(cluster, script):
    assert await cluster.delete(JOBS, "a", namespace="ns", uid="u1") is True
    options = json.loads(script.last[1])
    assert options["preconditions"] == {"uid": "u1"}
    assert options["propagationPolicy"] == "Background"
    script.answers[("DELETE", "/apis/batch/v1/namespaces/ns/jobs/a")] = (404, {"reason": "NotFound"})
    assert await cluster.delete(JOBS, "a", namespace="ns") is False


async def test_a_collection_is_deleted_by_a_selector_only(cluster, script):
    await cluster.delete_collection(PODS, namespace="ns", label_selector="a=b", force=True)
    assert script.last[0].query["labelSelector"] == "a=b"
    assert json.loads(script.last[1])["gracePeriodSeconds"] == 0
    with pytest.raises(ValueError, match="selector"):
        await cluster.delete_collection(PODS, namespace="ns", label_selector="")


async def test_a_token_is_reviewed_for_its_audience(cluster, script):
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    script.answers[("POST", path)] = (201, {"status": {"authenticated": True}})
    assert await cluster.token_review("t", audiences=["a"]) == {"authenticated": True}
    assert json.loads(script.last[1])["spec"] == {"token": "t", "audiences": ["a"]}


async def test_an_event_of_a_name_is_made_once(cluster, script):
    path = EVENTS.path(namespace="ns")
    assert await cluster.create_event({"metadata": {"name": "e"}}, namespace="ns") is True
    script.answers[("POST", path)] = (409, {"reason": "AlreadyExists"})
    assert await cluster.create_event({"metadata": {"name": "e"}}, namespace="ns") is False


async def test_a_log_comes_in_pieces(cluster, script):
    script.answers[("GET", "/api/v1/namespaces/ns/pods/p/log")] = (200, b"line 1\nline 2\n")
    pieces = [piece async for piece in cluster.pod_log("p", namespace="ns", container="validator", limit_bytes=100)]
    assert b"".join(pieces) == b"line 1\nline 2\n"
    assert dict(script.last[0].query) == {"container": "validator", "limitBytes": "100"}


async def test_a_log_that_is_left_early_keeps_no_connection(cluster, script):
    gone = asyncio.Event()

    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"line\n")
                await asyncio.sleep(0.001)
        finally:
            gone.set()

    script.answers[("GET", "/api/v1/namespaces/ns/pods/p/log")] = endless
    log = cluster.pod_log("p", namespace="ns", container="validator", follow=True)
    assert await anext(log)
    await log.aclose()
    await asyncio.wait_for(gone.wait(), 10)
    assert await cluster.get(NODES, "n") == {}


async def test_a_proxy_of_the_environment_is_not_used(cluster, script, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert await cluster.get(NODES, "n") == {}


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "E3007", False),
        (401, "E3003", True),
        (403, "E3004", False),
        (404, "E3005", False),
        (409, "E3006", False),
        (422, "E3007", False),
        (429, "E3008", True),
        (500, "E3009", True),
        (503, "E3009", True),
    ],
)
async def test_each_refusal_has_its_code_and_the_servers_own_words(cluster, script, status, code, retryable):
    document = {"kind": "Status", "reason": "Because", "message": "its own words"}
    script.answers[("GET", "/api/v1/nodes/n")] = (status, document)
    with pytest.raises(ClusterError) as caught:
        await cluster.get(NODES, "n")
    error = caught.value
    assert (error.code, error.status, error.reason, error.retryable) == (code, status, "Because", retryable)
    assert "its own words" in str(error)
    assert "GET /api/v1/nodes/n" in str(error)


@pytest.mark.parametrize(
    ("where", "message", "code"),
    [
        ("POST /apis/batch/v1/jobs", 'jobs is forbidden: User "system:x" cannot create resource "jobs"', "E3004"),
        ("POST /apis/batch/v1/jobs", 'jobs.batch "x" is forbidden: exceeded quota: no-jobs', "E3007"),
        ("DELETE /apis/batch/v1/jobs/x", 'admission webhook "w" denied the request: no', "E3007"),
        ("GET /api/v1/nodes", "Forbidden", "E3004"),
    ],
)
def test_a_denial_by_admission_is_no_missing_right(where, message, code):
    assert http_fault(status=403, reason="Forbidden", message=message, where=where).code == code


async def test_a_refusal_that_comes_in_pieces_is_read_whole(cluster, script):
    document = json.dumps({"kind": "Status", "reason": "Invalid", "message": "m" * 1000}).encode()

    async def pieces(request):
        response = web.StreamResponse(status=422)
        await response.prepare(request)
        for at in range(0, len(document), 100):
            await response.write(document[at : at + 100])
            await asyncio.sleep(0.001)
        return response

    script.answers[("GET", "/api/v1/nodes/n")] = pieces
    with pytest.raises(ClusterError) as caught:
        await cluster.get(NODES, "n")
    assert (caught.value.reason, caught.value.why) == ("Invalid", "m" * 1000)


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"", b"[" * 100_000])
async def test_an_answer_that_is_no_object_is_a_fault_of_the_server(cluster, script, body):
    script.answers[("GET", "/api/v1/nodes/n")] = (200, body)
    with pytest.raises(ClusterError) as caught:
        await cluster.get(NODES, "n")
    assert caught.value.code == "E3010"


async def test_an_answer_without_end_is_cut_off(cluster, script, monkeypatch):
    monkeypatch.setattr(limits, "API_ANSWER_MAX", 1000)
    script.answers[("GET", "/api/v1/nodes/n")] = (200, b" " * 2000)
    with pytest.raises(ClusterError) as caught:
        await cluster.get(NODES, "n")
    assert caught.value.code == "E3010"
    assert not caught.value.retryable


async def test_a_server_that_is_away_and_one_that_is_silent(cluster, script):
    with pytest.raises(ClusterError) as caught:
        await cluster.get(NODES, "n", within=0.000001)
    assert caught.value.code == "E3002"
    await cluster.test_server.close()
    with pytest.raises(ClusterError) as caught:
        await cluster.get(NODES, "n")
    assert caught.value.code == "E3001"


async def test_credentials_for_others_are_the_same(cluster):
    found = await credentials(kubeconfig=cluster.kubeconfig)
    assert found.token == "the-token"
    assert found.server.startswith("http://127.0.0.1")


async def test_without_credentials_the_way_to_them_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for path in ("", str(tmp_path / "absent")):
        with pytest.raises(ClusterError) as caught:
            await connect(kubeconfig=path)
        assert caught.value.code == "E3011"
        assert caught.value.fix


@pytest.mark.parametrize("part", ["..", ".", "a/b", "a?b", "a%2fb", "a\x00b", "a\\b"])
def test_a_name_from_outside_never_climbs_out_of_its_path(part):
    with pytest.raises(ValueError, match="segment"):
        NODES.path(name=part)


def test_paths_of_core_and_of_groups():
    kind = Resource(group="g", version="v1", plural="things", kind="Thing")
    assert kind.path(namespace="ns", name="n", subresource="status") == "/apis/g/v1/namespaces/ns/things/n/status"
    assert PODS.path(namespace="ns", name="p", subresource="log") == "/api/v1/namespaces/ns/pods/p/log"
    assert NODES.path() == "/api/v1/nodes"
    assert (kind.api_version, NODES.api_version) == ("g/v1", "v1")

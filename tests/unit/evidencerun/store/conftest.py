# SPDX-License-Identifier: Apache-2.0
"""A fake Kubernetes API server (HTTP, in this process) and a store in front of it.

The fake answers only what the store asks, with the shapes of a real one; tests/integration runs the same calls
against a real API server.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from evidencerun.kube.aio import connect
from evidencerun.recipe import load_recipe
from evidencerun.store.app import StoreServer
from evidencerun.store.service import StoreService
from evidencerun.store.settings import Settings
from evidencerun.validation.plan import Plan
from evidencerun.validation.storeapi import STORE_AUDIENCE, check_audience, probe_audience

RUN_UID = "0a1b2c3d-0000-4000-8000-000000000001"
POLICY_UID = "0a1b2c3d-0000-4000-8000-0000000000aa"
IMAGE = "registry.example.com/evidencerun@sha256:" + "1" * 64
VERSION = {"gitVersion": "v1.36.3", "platform": "linux/amd64", "goVersion": "go1.26"}
RECIPE = b"""apiVersion: aicr.run/v1
kind: RecipeResult
metadata:
  version: v0.1.0
criteria:
  service: any
  accelerator: none
  intent: any
  os: any
  platform: any
constraints:
  - name: K8s.server.version
    value: ">= 1.30"
componentRefs:
  - name: demo-web
    type: Helm
    namespace: evidence-demo
    expectedResources:
      - kind: Deployment
        name: demo-web
        namespace: evidence-demo
deploymentOrder: [demo-web]
validation:
  deployment:
    checks: [expected-resources, node-agreement]
"""
POLICY = {
    "pools": [{"name": "any", "nodeSelector": {}, "fallback": True}],
    "catalog": [
        {"name": "expected-resources", "phase": "deployment", "image": IMAGE, "rights": "aicr-read"},
        {"name": "node-agreement", "phase": "deployment", "image": IMAGE, "rights": "none"},
    ],
    "retention": {"bundles": "1h", "runs": "1h"},
}


def node_object(number: int, *, created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    info = {
        "architecture": "amd64",
        "bootID": f"boot-{number}",
        "machineID": f"machine-{number}",
        "systemUUID": f"system-{number}",
        "kernelVersion": "6.1.0",
        "osImage": "Debian GNU/Linux 12",
        "operatingSystem": "linux",
        "containerRuntimeVersion": "containerd://2.1.0",
        "kubeletVersion": "v1.36.3",
    }
    meta = {"name": f"node-{number}", "uid": f"node-uid-{number:04d}", "creationTimestamp": created, "labels": {}}
    return {"metadata": meta, "spec": {}, "status": {"nodeInfo": info}}


@dataclass
class FakeLog:
    """A container's log; `ended` closes streams that follow it."""

    data: bytes = b""
    ended: bool = False
    cut_after: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, data: bytes, *, ended: bool = False) -> None:
        self.data += data
        self.ended = self.ended or ended
        self.changed.set()


class FakeApi:
    """A fake API server: objects as plain dicts, tokens as a table."""

    def __init__(self) -> None:
        self.nodes = [node_object(1), node_object(2)]
        self.runs: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, FakeLog] = {}
        self.config_map: dict[str, str] = {}
        self.tokens: dict[str, tuple[str, dict[str, Any]]] = {}
        self.reviews = 0
        self.down = False

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._middleware])
        app.add_routes(
            [
                web.get("/version", self._version),
                web.post("/apis/authentication.k8s.io/v1/tokenreviews", self._review),
                web.get("/api/v1/nodes", self._nodes),
                web.get("/apis/evidencerun.dev/v1alpha1/namespaces/{ns}/evidenceruns/{name}", self._named("runs")),
                web.get("/apis/evidencerun.dev/v1alpha1/evidencepolicies/{name}", self._named("policies")),
                web.get("/api/v1/namespaces/evidencerun-checks/pods/{name}", self._named("pods")),
                web.get("/api/v1/namespaces/evidencerun-checks/pods/{name}/log", self._log),
                web.patch("/api/v1/namespaces/evidencerun-system/configmaps/evidence-public", self._patch),
            ]
        )
        return app

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.down:
            return _status(503, "the fake is down")
        return await handler(request)  # type: ignore[no-any-return]

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response(VERSION)

    async def _nodes(self, _request: web.Request) -> web.Response:
        return web.json_response({"items": self.nodes, "metadata": {}})

    def _named(self, table: str) -> Any:
        async def answer(request: web.Request) -> web.Response:
            found = getattr(self, table).get(request.match_info["name"])
            return web.json_response(found) if found else _status(404, "not found")

        return answer

    async def _review(self, request: web.Request) -> web.Response:
        self.reviews += 1
        spec = (await request.json())["spec"]
        audience, user = self.tokens.get(spec["token"], ("", {}))
        if audience not in spec["audiences"]:
            return web.json_response({"status": {"authenticated": False, "error": "invalid bearer token"}}, status=201)
        return web.json_response({"status": {"authenticated": True, "user": user, "audiences": [audience]}}, status=201)

    async def _log(self, request: web.Request) -> web.StreamResponse:
        log = self.logs.get(request.match_info["name"])
        if log is None:
            return _status(400, "container is waiting to start: PodInitializing")
        response = web.StreamResponse()
        await response.prepare(request)
        follow = request.query.get("follow") == "true"
        sent = 0
        while True:
            log.changed.clear()
            end = len(log.data) if log.cut_after is None else min(log.cut_after, len(log.data))
            if end > sent:
                await response.write(log.data[sent:end])
                sent = end
            if log.cut_after is not None and sent >= log.cut_after:
                log.cut_after = None
                request.transport.abort()  # type: ignore[union-attr]
                return response
            if log.ended or not follow:
                return response
            await log.changed.wait()

    async def _patch(self, request: web.Request) -> web.Response:
        self.config_map.update((await request.json())["data"])
        return web.json_response({"data": self.config_map})

    def token(self, account: str, namespace: str, audience: str, **bound: str) -> str:
        """Make a token; `bound` may replace the pod and node that it is bound to, `node_uid=""` leaves one out."""
        names = {"pod_name": "pod-1", "pod_uid": "pod-uid-1", "node_name": "node-1", "node_uid": "node-uid-0001"}
        names.update(bound)
        extra = {
            f"authentication.kubernetes.io/{key.replace('_', '-')}": [value] for key, value in names.items() if value
        }
        user = {"username": f"system:serviceaccount:{namespace}:{account}", "uid": "u", "extra": extra}
        claims = base64.urlsafe_b64encode(json.dumps({"aud": [audience], "n": len(self.tokens)}).encode()).rstrip(b"=")
        token = f"e30.{claims.decode()}.sig{len(self.tokens)}"
        self.tokens[token] = (audience, user)
        return token

    def operator_token(self) -> str:
        return self.token("evidence-operator", "evidencerun-system", STORE_AUDIENCE)

    def sealer_token(self) -> str:
        return self.token("evidence-sealer", "evidencerun-system", STORE_AUDIENCE)

    def probe_token(self, number: int, run_uid: str = RUN_UID) -> str:
        return self.token(
            "evidence-probe",
            "evidencerun-probes",
            probe_audience(run_uid),
            node_name=f"node-{number}",
            node_uid=f"node-uid-{number:04d}",
            pod_name=f"probe-{number}",
            pod_uid=f"probe-uid-{number}",
        )

    def check_token(self, check: str, attempt: int, *, rights: str = "none", pod: str = "") -> str:
        name = pod or f"ev-{RUN_UID[:8]}-{check}-{attempt}-x"
        audience = check_audience(RUN_UID, check, attempt)
        account = f"evidence-check-{rights}"
        return self.token(account, "evidencerun-checks", audience, pod_name=name, pod_uid=f"uid-{name}")

    def add_pod(self, check: str, attempt: int, *, run_uid: str = RUN_UID, job: str = "") -> dict[str, Any]:
        name = f"ev-{run_uid[:8]}-{check}-{attempt}-x"
        owner = job or f"ev-{run_uid[:8]}-{check}-{attempt}"
        self.pods[name] = {
            "metadata": {
                "name": name,
                "uid": f"uid-{name}",
                "labels": {"evidencerun.dev/run-uid": run_uid},
                "ownerReferences": [{"kind": "Job", "name": owner, "controller": True, "uid": "j"}],
            },
            "spec": {"nodeName": "node-1"},
            "status": {"phase": "Pending"},
        }
        return self.pods[name]


class Kubelet:
    """Writes the statuses that a kubelet writes."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api

    def run(self, pod: dict[str, Any]) -> None:
        """The check runs and has a log."""
        started = {"running": {"startedAt": "2026-11-24T00:00:00Z"}}
        pod["status"] = {
            "phase": "Running",
            "initContainerStatuses": [{"name": "sidecar", "state": started}],
            "containerStatuses": [{"name": "validator", "state": started}],
        }
        self._api.logs.setdefault(pod["metadata"]["name"], FakeLog())

    def end(
        self, pod: dict[str, Any], code: int, *, reason: str = "", message: str = "", sidecar_over: bool = True
    ) -> None:
        """The check has ended, and so has its log."""
        word = reason or ("Completed" if code == 0 else "Error")
        times = {"startedAt": "2026-11-24T00:00:00Z", "finishedAt": "2026-11-24T00:00:05Z"}
        terminated = {"exitCode": code, "reason": word, "message": message, **times}
        over = {"terminated": {"exitCode": 0, "reason": "Completed"}}
        side: dict[str, Any] = over if sidecar_over else {"running": {}}
        state = {"terminated": terminated}
        pod["status"] = {
            "phase": "Succeeded" if code == 0 else "Failed",
            "initContainerStatuses": [{"name": "sidecar", "state": side}],
            "containerStatuses": [{"name": "validator", "state": state, "image": IMAGE, "imageID": IMAGE}],
        }
        self._api.logs.setdefault(pod["metadata"]["name"], FakeLog()).write(b"", ended=True)


def plan_document(api: FakeApi, **changes: Any) -> dict[str, Any]:
    """A plan that agrees with the fake's run, policy and nodes, which are made here."""
    uid = changes.pop("uid", RUN_UID)
    spec = {"recipe": {"inline": RECIPE.decode()}, "deadline": "15m", **changes.pop("spec", {})}
    policy = {**POLICY, **changes.pop("policy", {})}
    name = f"run-{uid[-4:]}"
    api.runs[name] = {"metadata": {"uid": uid, "name": name, "namespace": "evidence", "generation": 1}, "spec": spec}
    api.policies["default"] = {"metadata": {"uid": POLICY_UID, "name": "default", "generation": 3}, "spec": policy}
    recipe = load_recipe(RECIPE)
    document: dict[str, Any] = {
        "run": {"uid": uid, "name": name, "namespace": "evidence", "generation": 1},
        "spec": spec,
        "policy": {"uid": POLICY_UID, "name": "default", "generation": 3},
        "policySpec": policy,
        "recipeName": recipe.name,
        "recipeDigest": recipe.digest,
        "recipe": base64.b64encode(RECIPE).decode(),
        "cluster": {"caDigest": "sha256:" + "0" * 64, "server": VERSION},
        "targetNodes": [_facts(node) for node in api.nodes],
        "checks": [
            {"name": entry["name"], "phase": entry["phase"], "entry": entry}  # the catalog has what the recipe declares
            for entry in policy["catalog"]
        ],
        "images": {"evidencerun": IMAGE, "probe": IMAGE},
        "nonce": "0" * 32,
        "frozenAt": "2026-11-24T00:00:00Z",
        "deadlineTime": "2026-11-24T00:15:00Z",
    }
    document.update(changes)
    return Plan.model_validate(document).model_dump(mode="json", by_alias=True, exclude_none=True)


def _facts(node: dict[str, Any]) -> dict[str, Any]:
    meta, info = node["metadata"], node["status"]["nodeInfo"]
    names = {"bootID": "bootId", "machineID": "machineId", "systemUUID": "systemUuid"}
    facts = {names.get(key, key): value for key, value in info.items()}
    return {"uid": meta["uid"], "name": meta["name"], "pool": "any", "ready": True, **facts}


def report(number: int, *, run_uid: str = RUN_UID, **changes: Any) -> bytes:
    """A node report in its JSON form."""
    release = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12"}
    document: dict[str, Any] = {
        "schema": "https://evidencerun.dev/schemas/node-report/v1",
        "runUid": run_uid,
        "nodeName": f"node-{number}",
        "bootId": f"boot-{number}",
        "probe": {"version": "0.1.0", "level": "L1", "access": "pciOnly"},
        "startedAt": "2026-11-24T00:00:00Z",
        "finishedAt": "2026-11-24T00:00:01Z",
        "sources": [{"name": "pci", "level": "L1", "state": "read"}],
        "signals": {
            "accelerator": [{"id": "pci.none", "tier": "T2", "level": "L1", "raw": "0 devices", "value": "none"}]
        },
        "measurements": {"OS.release": release},
        "pci": [],
    }
    document.update(changes)
    return json.dumps(document).encode()


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": "Fake", "message": message}, status=code)


@dataclass
class Client:
    """Speaks to the store over TLS, with its published CA."""

    session: aiohttp.ClientSession
    base: str
    context: ssl.SSLContext

    packed = staticmethod(packed)

    async def call(
        self, method: str, path: str, *, token: str = "", json_body: Any = None, **options: Any
    ) -> tuple[int, bytes, Any]:
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        data = json.dumps(json_body).encode() if json_body is not None else options.pop("data", None)
        async with self.session.request(
            method, self.base + path, data=data, headers=headers, ssl=self.context, **options
        ) as response:
            return response.status, await response.read(), response.headers


@dataclass
class Rig:
    """A fake API server, a store, a client, and what makes them."""

    api: FakeApi
    server: StoreServer
    service: StoreService
    client: Client
    settings: Settings
    clock: Any

    async def restart(self) -> None:
        """Stop the store and start another on the same volume."""
        await self.server.stop()
        self.service = StoreService(
            self.settings, self.service.cluster, clock=self.clock, ticks=asyncio.get_running_loop().time
        )
        self.server = StoreServer(self.service, clock=self.clock)
        await self.server.start()
        self.client.base = f"https://127.0.0.1:{self.server.port}"

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, bytes, Any]:
        return await self.client.call(method, path, **options)

    async def ok(self, method: str, path: str, **options: Any) -> Any:
        status, body, _ = await self.call(method, path, **options)
        assert 200 <= status < 300, (status, body)
        return json.loads(body) if body else None

    async def create(self, **changes: Any) -> dict[str, Any]:
        plan = plan_document(self.api, **changes)
        uid = plan["run"]["uid"]
        await self.ok("PUT", f"/v1/runs/{uid}", token=self.api.operator_token(), json_body=plan)
        return plan

    async def send_report(self, number: int, data: bytes | None = None, **options: Any) -> tuple[int, bytes, Any]:
        options.setdefault("token", self.api.probe_token(number))
        options.setdefault("headers", {"Content-Encoding": "gzip"})
        body = packed(report(number) if data is None else data)
        return await self.call("PUT", f"/v1/runs/{RUN_UID}/nodes/self", data=body, **options)

    async def view(self) -> Any:
        return await self.ok("GET", f"/v1/runs/{RUN_UID}", token=self.api.operator_token())

    async def attempt(self, state: str, check: str = "node-agreement", number: int = 1, **more: Any) -> Any:
        body = {
            "check": check,
            "phase": "deployment",
            "attempt": number,
            "jobName": f"ev-{RUN_UID[:8]}-{check}-{number}",
            "state": state,
            **more,
        }
        path = f"/v1/runs/{RUN_UID}/attempts"
        return await self.ok("POST", path, token=self.api.operator_token(), json_body=body)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


async def _start_api(api: FakeApi, folder: Path) -> tuple[web.AppRunner, Path]:
    runner = web.AppRunner(api.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    kubeconfig = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "fake", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
    }
    kubeconfig.write_text(json.dumps(document))
    return runner, kubeconfig


@pytest.fixture
async def fake_api(tmp_path: Path) -> AsyncIterator[tuple[FakeApi, Path]]:
    """The fake API server and a kubeconfig that leads to it."""
    api = FakeApi()
    runner, kubeconfig = await _start_api(api, tmp_path)
    yield api, kubeconfig
    await runner.cleanup()


@pytest.fixture
async def rig(tmp_path: Path, fake_api: tuple[FakeApi, Path]) -> AsyncIterator[Rig]:
    """A running store."""
    api, kubeconfig = fake_api
    settings = Settings(
        data=tmp_path / "data", host="127.0.0.1", port=0, cluster_ca=tmp_path / "none", kubeconfig=str(kubeconfig)
    )
    clock = Clock()
    cluster = await connect(kubeconfig=str(kubeconfig))
    service = StoreService(settings, cluster, clock=clock, ticks=asyncio.get_running_loop().time)
    server = StoreServer(service, clock=clock)
    await server.start()
    context = ssl.create_default_context(cafile=str(settings.data / "tls" / "authority" / "ca.crt"))
    context.check_hostname = False
    async with aiohttp.ClientSession() as session:
        client = Client(session=session, base=f"https://127.0.0.1:{server.port}", context=context)
        made = Rig(api=api, server=server, service=service, client=client, settings=settings, clock=clock)
        yield made
        await made.server.stop()
    await cluster.close()


@pytest.fixture
def kubelet(rig: Rig) -> Kubelet:
    """What writes pod statuses in the fake API server."""
    return Kubelet(rig.api)


@pytest.fixture
def plan_for() -> Any:
    """Make a plan that agrees with a fake API server."""
    return plan_document


@pytest.fixture
def report_of() -> Any:
    """Make a node's report."""
    return report


@pytest.fixture
def node_of() -> Any:
    """Make a Node object."""
    return node_object


@contextlib.asynccontextmanager
async def _client(folder: Path, base: str) -> AsyncIterator[Client]:
    context = ssl.create_default_context(cafile=str(folder / "tls" / "authority" / "ca.crt"))
    context.check_hostname = False
    async with aiohttp.ClientSession() as session:
        yield Client(session=session, base=base, context=context)


@pytest.fixture
def client_of() -> Any:
    """Connect to a store process: its data folder and its address."""
    return _client

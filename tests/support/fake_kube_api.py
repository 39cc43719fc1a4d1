# SPDX-License-Identifier: Apache-2.0
"""A fake Kubernetes API server (HTTP, in the test's process).

It answers only what the store asks, with the shapes of a real one; tests/integration runs the same calls against a
real API server.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from store_samples import IMAGE, RUN_UID, VERSION, node_object

from evidencerun.validation.storeapi import STORE_AUDIENCE, check_audience, probe_audience


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
        self.probes: dict[str, dict[str, Any]] = {}
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
                web.get("/api/v1/namespaces/evidencerun-probes/pods/{name}", self._named("probes")),
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


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": "Fake", "message": message}, status=code)


async def start_api(api: FakeApi, folder: Path) -> tuple[web.AppRunner, Path]:
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

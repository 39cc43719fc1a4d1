# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for what a control plane without nodes lacks: an evidence store and kubelets. Both are fakes, and named so.

The fake store answers the calls that the operator makes, out of memory; the fake kubelets bind pods, and write the
statuses that a test asks for.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

BLANK_COUNTS = {"declared": 0, "executed": 0, "passed": 0, "failed": 0, "skipped": 0, "other": 0, "attempts": 0}


@dataclass
class FakeRun:
    plan: dict[str, Any]
    raw: bytes
    reported: set[str] = field(default_factory=set)
    evaluation: dict[str, Any] | None = None
    stragglers: dict[str, str] = field(default_factory=dict)
    attempts: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    endings: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    seal: str = "none"
    seal_reason: str = ""
    order: dict[str, Any] | None = None
    closed: bool = False


class FakeStore:
    """The store's API as far as the operator uses it. `signs`, `up` and `ready` are the test's levers."""

    def __init__(self) -> None:
        self.runs: dict[str, FakeRun] = {}
        self.abandoned: list[str] = []
        self.calls: list[str] = []
        self.signs = True
        self.up = True
        self.ready = True
        self.durable = True
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._started = threading.Event()

    def start(self) -> FakeStore:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_route("*", "/v1/{path:.*}", self._answer)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        path = request.match_info["path"]
        self.calls.append(f"{request.method} {path}")
        if not self.up:
            return web.json_response({"kind": "Status", "message": "the fake is down"}, status=503)
        if path == "runs":
            rows = [{"uid": uid} for uid, run in self.runs.items() if not run.closed]
            return web.json_response({"runs": rows})
        parts = path.split("/")
        return self._run_call(request.method, parts[1], "/".join(parts[2:]), body)

    def _run_call(self, method: str, uid: str, rest: str, body: bytes) -> web.Response:
        run = self.runs.get(uid)
        if (method, rest) == ("PUT", ""):
            if run is None:
                self.runs[uid] = FakeRun(plan=json.loads(body), raw=body)
            return web.Response(body=self.runs[uid].raw, status=200 if run else 201)
        if run is None:
            return web.json_response({"kind": "Status", "message": "no such run"}, status=404)
        if method == "DELETE":
            self.abandoned.append(uid)
            del self.runs[uid]
            return web.json_response({})
        if rest == "plan":
            return web.Response(body=run.raw)
        if rest == "":
            return web.json_response(self._view(uid, run))
        document = json.loads(body or b"{}")
        {"attempts": self._attempt, "evaluate": self._evaluate, "seal": self._seal, "close": self._close}[rest](
            run, document
        )
        return web.json_response({})

    def _attempt(self, run: FakeRun, news: dict[str, Any]) -> None:
        key = (news["check"], news["attempt"])
        known = run.attempts.setdefault(
            key,
            {
                "check": news["check"],
                "phase": news["phase"],
                "attempt": news["attempt"],
                "jobName": news["jobName"],
                "state": "created",
            },
        )
        if known["state"] == "ended":
            return
        known["state"] = news["state"]
        if news["state"] == "ended":
            ending = news.get("ending") or {}
            run.endings[key] = ending
            known["status"] = {0: "passed", 1: "failed"}.get(ending.get("exitCode"), "other")
            known["message"] = ending.get("message", "")

    def _evaluate(self, run: FakeRun, document: dict[str, Any]) -> None:
        if run.evaluation is None:
            run.stragglers = document["stragglers"]
            targets = len(run.plan["targetNodes"])
            run.evaluation = {
                "overall": "matched",
                "dimensions": [{"name": "accelerator", "recipe": "none", "observed": "none", "outcome": "matched"}],
                "ready": self.ready,
                "constraints": [],
                "reported": len(run.reported),
                "failed": 0,
                "missing": targets - len(run.reported),
                "coverageMet": len(run.reported) == targets,
            }

    def _seal(self, run: FakeRun, document: dict[str, Any]) -> None:
        if run.order is None:
            run.order = document

    def _close(self, run: FakeRun, document: dict[str, Any]) -> None:
        run.closed = True

    def _view(self, uid: str, run: FakeRun) -> dict[str, Any]:
        view: dict[str, Any] = {
            "uid": uid,
            "planDigest": "sha256:" + "0" * 64,
            "reported": sorted(run.reported),
            "attempts": list(run.attempts.values()),
            "seal": "none",
            "counts": BLANK_COUNTS,
            "closed": run.closed,
            "durable": self.durable,
        }
        if run.evaluation is not None:
            view["evaluation"] = run.evaluation
        if run.order is None:
            return view
        statuses = [a.get("status", "pending") for a in run.attempts.values()]
        passed, failed = statuses.count("passed"), statuses.count("failed")
        view["counts"] = {
            **BLANK_COUNTS,
            "declared": len(run.plan["checks"]),
            "executed": len(statuses),
            "passed": passed,
            "failed": failed,
            "other": len(statuses) - passed - failed,
            "attempts": len(statuses),
        }
        by_reason = {"cancelled": "Cancelled", "not-ready": "NotReady", "error": "Error", "deadline": "Incomplete"}
        fine = "Passed" if passed and passed == len(run.plan["checks"]) else "Incomplete"
        view["verdict"] = by_reason.get(run.order["reason"], "ChecksFailed" if failed else fine)
        view["bundle"] = {
            "archiveDigest": "sha256:" + "a" * 64,
            "manifestDigest": "sha256:" + "b" * 64,
            "inventoryDigest": "sha256:" + "c" * 64,
            "logsDigest": "sha256:" + "d" * 64,
            "logsKey": "e" * 32,
            "size": 4711,
            "signer": "key:sha256:" + "f" * 64 if self.signs else "",
        }
        view["seal"] = "sealed" if self.signs else "failed"
        view["sealReason"] = "" if self.signs else "E5001 the signing Secret does not exist"
        return view


@dataclass
class PodPlan:
    """What the fake kubelets make of a container: how long it runs and how it ends; `waiting` never starts it."""

    exit_code: int = 0
    message: str = ""
    waiting: tuple[str, str] | None = None
    leave_alone: bool = False


class FakeKubelets:
    """Binds and runs pods on paper. `plans` maps a check's name, `probe` or `deliver` to what happens."""

    def __init__(self, kubeconfig: str, store: FakeStore, namespaces: list[str]) -> None:
        config.load_kube_config(config_file=kubeconfig)
        self.core = client.CoreV1Api()
        self.store = store
        self.namespaces = namespaces
        self.plans: dict[str, PodPlan] = {}
        self.silent_nodes: set[str] = set()
        self.seen: dict[str, str] = {}
        self._nodes: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def start(self) -> FakeKubelets:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def add_node(self, name: str, labels: dict[str, str] | None = None) -> str:
        node = self.core.create_node({"metadata": {"name": name, "labels": labels or {}}})
        self._nodes.append(name)
        self._beat(name)
        return str(node.metadata.uid)

    def _beat(self, name: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Fake",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        info = {"bootID": f"boot-{name}", "kernelVersion": "6.1", "architecture": "amd64", "operatingSystem": "linux"}
        self.core.patch_node_status(name, {"status": {"conditions": [ready], "nodeInfo": info}})

    def _loop(self) -> None:
        beaten = 0.0
        while not self._stop.wait(0.1):
            if time.monotonic() - beaten > 4:
                # Without it the node lifecycle controller takes a node for lost after 40 s.
                for name in self._nodes:
                    self._beat(name)
                beaten = time.monotonic()
            for namespace in self.namespaces:
                try:
                    for pod in self.core.list_namespaced_pod(namespace).items:
                        self._step(pod)
                except ApiException as error:
                    if error.status not in (404, 409):
                        raise

    def _step(self, pod: Any) -> None:
        labels = pod.metadata.labels or {}
        self.seen[pod.metadata.uid] = pod.metadata.name
        if pod.metadata.deletion_timestamp:
            self.core.delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0)
            return
        component = labels.get("evidencerun.dev/component", "")
        plan = self.plans.get(labels.get("evidencerun.dev/check", component), PodPlan())
        if plan.leave_alone or pod.status.phase in ("Succeeded", "Failed"):
            return
        if component == "probe":
            self._probe(pod)
        elif pod.spec.node_name is None:
            self._bind(pod, self.core.list_node().items[0].metadata.name)
        else:
            self._run_container(pod, "validator" if component == "check" else component, plan)

    def _probe(self, pod: Any) -> None:
        terms = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms
        node = terms[0].match_fields[0].values[0]
        if node in self.silent_nodes:
            return
        uid = self.core.read_node(node).metadata.uid
        run = self.store.runs.get(pod.metadata.labels["evidencerun.dev/run-uid"])
        if run is not None:
            run.reported.add(uid)

    def _bind(self, pod: Any, node: str) -> None:
        body = {
            "metadata": {"name": pod.metadata.name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        self.core.create_namespaced_binding(pod.metadata.namespace, body, _preload_content=False)

    def _run_container(self, pod: Any, container: str, plan: PodPlan) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        image = next(c.image for c in pod.spec.containers if c.name == container)
        entry: dict[str, Any] = {"name": container, "image": image, "imageID": "", "ready": False, "restartCount": 0}
        status: dict[str, Any] = {"startTime": now, "phase": "Succeeded" if plan.exit_code == 0 else "Failed"}
        done = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
        if plan.waiting:
            entry["state"] = {"waiting": {"reason": plan.waiting[0], "message": plan.waiting[1]}}
            status["phase"] = "Pending"
        else:
            reason = "Completed" if plan.exit_code == 0 else "Error"
            ended = {**done, "exitCode": plan.exit_code, "reason": reason, "message": plan.message}
            entry["state"] = {"terminated": ended}
            if container == "validator":
                side = {"name": "sidecar", "image": image, "imageID": "", "ready": False, "restartCount": 0}
                status["initContainerStatuses"] = [{**side, "state": {"terminated": done}}]
        status["containerStatuses"] = [entry]
        self.core.patch_namespaced_pod_status(pod.metadata.name, pod.metadata.namespace, {"status": status})


def free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until(what: str, true: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Return the first true answer; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = true()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")

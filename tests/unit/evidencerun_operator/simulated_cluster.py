# SPDX-License-Identifier: Apache-2.0
"""A cluster and a store on paper, for decisions: objects with uids, a ledger, time. It judges nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from operator_samples import PLACES, UID, at, evaluation, nodes, pending_world, run_body, stamp

from evidencerun.errors import ClusterError, StoreError
from evidencerun.validation.plan import Plan
from evidencerun.validation.storeapi import AttemptView, BundleView, RunView
from evidencerun_operator.actions import (
    Action,
    Close,
    Delete,
    DeletePods,
    Ensure,
    Evaluate,
    PutPlan,
    RecordAttempt,
    Seal,
)
from evidencerun_operator.execute import foreign
from evidencerun_operator.run_object import read_run
from evidencerun_operator.stages import Stage, standing
from evidencerun_operator.views import child_view, node_health, pod_view
from evidencerun_operator.world import ActiveWorld, StoreDown, StoreLost

NODE_NAMES = ("node1", "node2")


@dataclass
class SimulatedStore:
    plan: Plan | None = None
    reported: set[str] = field(default_factory=set)
    evaluated: bool = False
    attempts: dict[tuple[str, int], AttemptView] = field(default_factory=dict)
    order: str = ""
    signed: bool = False
    refusal: str = ""
    closed: bool = False
    up: bool = True
    lost: bool = False

    def view(self) -> RunView | StoreDown | StoreLost:
        if not self.up:
            return StoreDown(message="connection refused")
        if self.lost or self.plan is None:
            return StoreLost()
        seal, verdict, bundle = "none", None, None
        if self.order:
            seal = "sealed" if self.signed else "failed" if self.refusal else "queued"
            verdict = {"cancelled": "Cancelled", "error": "Error", "not-ready": "NotReady"}.get(
                self.order, "Incomplete"
            )
            bundle = BundleView(archive_digest="sha256:a" if seal != "queued" else "", logs_key="k", signer="key:x")
        return RunView(
            uid=UID,
            plan_digest="sha256:x",
            reported=sorted(self.reported),
            evaluation=evaluation() if self.evaluated else None,
            attempts=list(self.attempts.values()),
            seal=seal,
            seal_reason=self.refusal,
            verdict=verdict,
            bundle=bundle,
            closed=self.closed,
        )


class SimulatedCluster:
    """Objects by kind, namespace and name. `made` counts creations, `writes` the status writes."""

    def __init__(self, **spec: Any) -> None:
        self.run = run_body(**spec)
        self.store = SimulatedStore()
        self.now = 0.0
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.made: dict[tuple[str, str, str], int] = {}
        self.ledger_first: list[str] = []
        self.verdicts: list[str] = []
        self.writes_after_complete = 0
        self._numbers = count(1)

    def world(self) -> Any:
        run = read_run(self.run)
        if run.status.plan is None:
            store = self.store.plan if self.store.up else StoreDown(message="connection refused")
            return pending_world(store=store, nodes=nodes(*NODE_NAMES))
        view = self.store.view()
        plan = self.store.plan if self.store.up and not self.store.lost else None
        stage = standing(at(self.now), run, view, plan).stage
        everything = stage is Stage.CLEANING
        seen = [
            child_view(kind, body)
            for (kind, namespace, _), body in self.objects.items()
            if everything or stage is not Stage.PROBING or namespace == PLACES.probes
        ]
        return ActiveWorld(
            places=PLACES,
            plan=plan,
            store=view,
            children=tuple(seen),
            pods=tuple(pod_view(body) for body in self.pods.values()),
            nodes=dict(node_health(self._node(name)) for name in NODE_NAMES),
            store_ca="PEM",
        )

    def _node(self, name: str) -> dict[str, Any]:
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(-60)}
        return {"metadata": {"name": name, "uid": f"uid-{name}"}, "status": {"conditions": [ready]}}

    def execute(self, action: Action) -> None:
        if not isinstance(action, Ensure | Delete | DeletePods) and not self.store.up:
            raise StoreError("E3501", "the evidence store cannot be reached")
        match action:
            case PutPlan(plan=plan):
                self.store.plan = self.store.plan or plan
            case Evaluate():
                self.store.evaluated = True
            case Seal(request=request):
                self.store.order = self.store.order or str(request.reason)
            case Close():
                self.store.closed = True
            case RecordAttempt(request=request):
                self._record(request)
            case Ensure(manifest=manifest):
                self._ensure(manifest)
            case Delete(name=name, namespace=namespace, uid=uid, resource=resource):
                self._delete(resource.kind, namespace, name, uid)
            case DeletePods(namespace=namespace):
                self.pods = {n: p for n, p in self.pods.items() if p["metadata"]["namespace"] != namespace}

    def _record(self, request: Any) -> None:
        key = (request.check, request.attempt)
        known = self.store.attempts.get(key)
        if known is None:
            if self.store.order:
                raise StoreError("E3505", "the run is being sealed")
            known = AttemptView(
                check=request.check,
                phase=request.phase,
                attempt=request.attempt,
                job_name=request.job_name,
                state="created",
            )
        if known.state == "ended":
            return
        update: dict[str, Any] = {"state": request.state}
        if request.state == "ended":
            code = request.ending.exit_code if request.ending else None
            update["status"] = {0: "passed", 1: "failed"}.get(code, "other")
        self.store.attempts[key] = known.model_copy(update=update)

    def _ensure(self, manifest: dict[str, Any]) -> None:
        meta = manifest["metadata"]
        key = (manifest["kind"], meta["namespace"], meta["name"])
        if key in self.objects:
            fault = foreign(self.objects[key], manifest)
            if fault:
                raise ClusterError("E3601", "not ours", why=fault)
            return
        if manifest["kind"] == "Job" and meta["namespace"] == PLACES.checks:
            names = {known.job_name for known in self.store.attempts.values()}
            assert meta["name"] in names, "a Job without its ledger entry"
        stored = {
            **manifest,
            "metadata": {**meta, "uid": f"u{next(self._numbers)}", "creationTimestamp": stamp(self.now)},
        }
        self.objects[key] = stored
        self.made[key] = self.made.get(key, 0) + 1

    def _delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        body = self.objects.get((kind, namespace, name))
        if body is None or body["metadata"]["uid"] != uid:
            return
        del self.objects[(kind, namespace, name)]
        self.pods = {n: p for n, p in self.pods.items() if p["metadata"]["ownerReferences"][0]["name"] != name}

    def write(self, status: Any) -> None:
        if any(c.get("type") == "Complete" and c.get("status") == "True" for c in self._conditions()):
            self.writes_after_complete += 1
        self.run["status"] = status.to_wire()
        self.verdicts.append(status.verdict)

    def _conditions(self) -> list[dict[str, Any]]:
        return list((self.run["status"] or {}).get("conditions") or [])

    @property
    def complete(self) -> bool:
        return any(c["type"] == "Complete" and c["status"] == "True" for c in self._conditions())

    def jobs_without_pods(self) -> list[tuple[str, str]]:
        owners = {pod["metadata"]["ownerReferences"][0]["name"] for pod in self.pods.values()}
        return [(ns, name) for kind, ns, name in self.objects if kind == "Job" and name not in owners]

    def start_pod(self, namespace: str, job: str) -> None:
        labels = self.objects[("Job", namespace, job)]["metadata"]["labels"]
        name = f"{job}-pod"
        self.pods[name] = {
            "metadata": {
                "name": name,
                "uid": f"u{next(self._numbers)}",
                "namespace": namespace,
                "labels": labels,
                "creationTimestamp": stamp(self.now),
                "ownerReferences": [{"name": job, "controller": True}],
            },
            "spec": {"nodeName": "node1"},
            "status": {
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(self.now)}],
            },
        }

    def end_pod(self, name: str, code: int) -> None:
        pod = self.pods[name]
        component = pod["metadata"]["labels"]["evidencerun.dev/component"]
        container = "validator" if component == "check" else component
        ended = {"exitCode": code, "reason": "Completed", "startedAt": stamp(self.now), "finishedAt": stamp(self.now)}
        pod["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
        pod["status"]["containerStatuses"] = [{"name": container, "state": {"terminated": ended}}]

    def block_pod(self, name: str) -> None:
        waiting = {"reason": "ImagePullBackOff", "message": "manifest unknown"}
        self.pods[name]["status"]["containerStatuses"] = [{"name": "validator", "state": {"waiting": waiting}}]

# SPDX-License-Identifier: Apache-2.0
"""Runs, policies, plans and worlds for the tests of the operator's pure part."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

from evidencerun.recipe import load_recipe
from evidencerun.validation.plan import ClusterIdentity, Plan, PlanImages, PlannedCheck, PolicyIdentity, ServerVersion
from evidencerun.validation.spec import PolicySpec, RunSpec
from evidencerun.validation.storeapi import AttemptView, Evaluation, RunView
from evidencerun_operator.planning import plan_status
from evidencerun_operator.run_object import Policy, Run, read_run
from evidencerun_operator.views import NodeView, node_view
from evidencerun_operator.world import ActiveWorld, PendingWorld, Places

START = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
UID = "0a1b2c3d-1111-2222-3333-444455556666"
DIGEST = "@sha256:" + "1" * 64
RECIPE = """apiVersion: aicr.run/v1
kind: RecipeResult
criteria: {service: any, accelerator: none}
validation:
  deployment:
    checks: [expected-resources, node-agreement]
  conformance:
    checks: [not-in-catalog]
"""
PLACES = Places(
    system="evidencerun-system",
    probes="evidencerun-probes",
    checks="evidencerun-checks",
    runs=("evidence",),
    store_url="https://evidence-store.evidencerun-system.svc",
)
IMAGES = PlanImages(evidencerun="registry.example/evidencerun" + DIGEST, probe="registry.example/probe" + DIGEST)
CLUSTER = ClusterIdentity(ca_digest="sha256:" + "2" * 64, server=ServerVersion(git_version="v1.36.3"))


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def stamp(seconds: float = 0) -> str:
    return at(seconds).isoformat().replace("+00:00", "Z")


def run_body(*, status: dict[str, Any] | None = None, name: str = "demo", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "evidencerun.dev/v1alpha1",
        "kind": "EvidenceRun",
        "metadata": {
            "name": name,
            "namespace": "evidence",
            "uid": UID,
            "generation": 1,
            "resourceVersion": "7",
            "creationTimestamp": stamp(),
        },
        "spec": {"recipe": {"inline": RECIPE}, **spec},
        "status": status or {},
    }


def make_run(*, status: dict[str, Any] | None = None, namespace: str = "evidence", **spec: Any) -> Run:
    body = run_body(status=status, **spec)
    body["metadata"]["namespace"] = namespace
    return read_run(body)


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "phase": "deployment", "image": "registry.example/checks" + DIGEST, **more}


def policy_spec(*, catalog: list[dict[str, Any]] | None = None, **more: Any) -> PolicySpec:
    entries = [entry("expected-resources", rights="aicr-read", mandatory=True), entry("node-agreement")]
    return PolicySpec.model_validate(
        {
            "pools": [
                {"name": "nvidia", "nodeSelector": {"nvidia.com/gpu.present": "true"}},
                {"name": "any", "fallback": True},
            ],
            "catalog": entries if catalog is None else catalog,
            **more,
        }
    )


def policy(spec: PolicySpec | None = None) -> Policy:
    identity = PolicyIdentity(uid="policy-uid", name="default", generation=3)
    return Policy(identity=identity, spec=spec or policy_spec())


def node_body(name: str, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels},
        "spec": {"providerID": f"kind://{name}"},
        "status": {
            "nodeInfo": {"bootID": f"boot-{name}", "kernelVersion": "6.1.0", "kubeletVersion": "v1.36.3"},
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": stamp(-60)}],
            "capacity": {"cpu": "2", "nvidia.com/gpu": "8"},
        },
    }


def nodes(*names: str, **labels: str) -> tuple[NodeView, ...]:
    return tuple(node_view(node_body(name, **labels)) for name in names)


def pending_world(**more: Any) -> PendingWorld:
    values: dict[str, Any] = {
        "places": PLACES,
        "policy": policy(),
        "recipe": RECIPE.encode(),
        "nodes": nodes("node1", "node2"),
        "occupied": 0,
        "ahead": 0,
        "store": None,
        "cluster": CLUSTER,
        "images": IMAGES,
        "nonce": "ab" * 16,
    }
    return PendingWorld(**{**values, **more})


def make_plan(*, spec: PolicySpec | None = None, seconds: float = 7200, **run_spec: Any) -> Plan:
    rules = spec or policy_spec()
    catalog = {item.name: item for item in rules.catalog}
    checks = [PlannedCheck(name=name, phase=item.phase, entry=item) for name, item in catalog.items()]
    checks.append(PlannedCheck(name="not-in-catalog", phase="conformance"))
    facts = [view.facts.model_copy(update={"pool": "any"}) for view in nodes("node1", "node2")]
    return Plan(
        run={"uid": UID, "name": "demo", "namespace": "evidence", "generation": 1},
        spec=RunSpec.model_validate({"recipe": {"inline": RECIPE}, **run_spec}),
        policy=PolicyIdentity(uid="policy-uid", name="default", generation=3),
        policy_spec=rules,
        recipe_name="none",
        recipe_digest=load_recipe(RECIPE.encode()).digest,
        recipe=b64encode(RECIPE.encode()),
        cluster=CLUSTER,
        target_nodes=facts,
        checks=checks,
        images=IMAGES,
        nonce="ab" * 16,
        frozen_at=stamp(),
        deadline_time=stamp(seconds),
    )


def planned_run(plan: Plan, *, status: dict[str, Any] | None = None, **spec: Any) -> Run:
    frozen = plan_status(plan).model_dump(mode="json", by_alias=True)
    return make_run(status={"plan": frozen, **(status or {})}, **spec)


def evaluation(*, ready: bool = True) -> Evaluation:
    return Evaluation(
        overall="matched",
        dimensions=[{"name": "accelerator", "recipe": "none", "observed": "none", "outcome": "matched"}],
        ready=ready,
        constraints=[],
        reported=2,
        failed=0,
        missing=0,
        coverage_met=True,
    )


def attempt(
    check: str, number: int = 1, *, state: str = "created", status: str = "pending", **more: Any
) -> AttemptView:
    return AttemptView(
        check=check,
        phase="deployment",
        attempt=number,
        job_name=f"ev-{UID[:8]}-{check}-{number}",
        state=state,
        status=status,
        **more,
    )


def view(**more: Any) -> RunView:
    return RunView(**{"uid": UID, "plan_digest": "sha256:x", "reported": [], "attempts": [], **more})


def active_world(plan: Plan | None, store: Any, **more: Any) -> ActiveWorld:
    return ActiveWorld(**{"places": PLACES, "plan": plan, "store": store, "store_ca": "PEM", **more})


def pod_body(name: str, owner: str, *, component: str = "check", node: str = "node1", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "namespace": "evidencerun-checks",
            "creationTimestamp": stamp(),
            "labels": {"evidencerun.dev/component": component},
            "ownerReferences": [{"name": owner, "controller": True}],
        },
        "spec": {"nodeName": node},
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp()}],
            **status,
        },
    }


def condition_of(status: Any, kind: str) -> Any:
    return next(condition for condition in status.conditions if condition.type == kind)

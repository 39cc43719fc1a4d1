# SPDX-License-Identifier: Apache-2.0
"""Objects, plans and reports for tests of the store."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, Protocol

from evidencerun.recipe import load_recipe
from evidencerun.validation.plan import Plan

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
    "retention": {"bundles": "1h"},
}


class Objects(Protocol):
    """Where a plan's run and policy are put, and its nodes are taken from."""

    nodes: list[dict[str, Any]]
    runs: dict[str, dict[str, Any]]
    policies: dict[str, dict[str, Any]]


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


def plan_document(api: Objects, **changes: Any) -> dict[str, Any]:
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

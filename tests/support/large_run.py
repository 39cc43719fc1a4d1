# SPDX-License-Identifier: Apache-2.0
"""Puts a run with the reports of many nodes onto a store's volume, as if they had come."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from store_samples import IMAGE, RECIPE, RUN_UID, VERSION, packed, report

from evidencerun.canonical import sha256_hex
from evidencerun.recipe import load_recipe
from evidencerun.store import report_files
from evidencerun.store.report_files import Origin
from evidencerun.validation.plan import Plan

NAMES = ("expected-resources", "node-agreement")


def put_run(folder: Path, *, nodes: int, sysctls: int, functions: int, redaction: str = "minimal") -> Path:
    """Return the run's folder below `folder`; each node reports so many settings and PCI functions."""
    path = folder / RUN_UID
    readings = {f"/proc/sys/vm/a_setting_of_the_kernel_{number}": str(number) for number in range(sysctls)}
    pci = [_function(number) for number in range(functions)]
    for number in range(nodes):
        measurements = {
            "OS.release": {"ID": "debian", "VERSION_ID": "12"},
            "OS.sysctl": {**readings, "/proc/sys/kernel/osrelease": "6.1.0", "/proc/sys/fs/a": str(number)},
        }
        content = report(number, measurements=measurements, pci=pci)
        report_files.keep(path / "nodes", _origin(number, content), packed(content))
    (path / "plan.json").write_bytes(_plan(nodes, redaction).to_bytes())
    (path / "redaction.key").write_bytes(b"k" * 32)
    (path / "logs.key").write_bytes(b"a" * 32)
    card = {"uid": RUN_UID, "name": "large", "namespace": "evidence", "planDigest": "x", "bundleSeconds": 1}
    (path / "run.json").write_text(json.dumps(card | {"signingMode": "key", "createdAt": "x"}), encoding="ascii")
    return path


def _function(number: int) -> dict[str, str]:
    ids = {"vendor": "8086", "device": "0d57", "classCode": "060400", "subsystem": "8086:0000", "driver": "pcieport"}
    return {"address": f"{number // 256:04x}:{number % 256:02x}:00.0", **ids}


def _origin(number: int, content: bytes) -> Origin:
    return Origin(
        node_uid=f"node-uid-{number:04d}",
        node_name=f"node-{number}",
        pod_uid=f"probe-uid-{number}",
        pod_name=f"probe-{number}",
        received_at="2026-11-24T00:01:00Z",
        sha256=sha256_hex(content),
    )


def _plan(nodes: int, redaction: str) -> Plan:
    recipe = load_recipe(RECIPE)
    catalog = [{"name": name, "phase": "deployment", "image": IMAGE} for name in NAMES]
    document: dict[str, Any] = {
        "run": {"uid": RUN_UID, "name": "large", "namespace": "evidence", "generation": 1},
        "spec": {"recipe": {"inline": RECIPE.decode()}},
        "policy": {"uid": "p", "name": "default", "generation": 1},
        "policySpec": {"pools": [{"name": "any"}], "catalog": catalog, "redaction": redaction},
        "recipeName": recipe.name,
        "recipeDigest": recipe.digest,
        "recipe": base64.b64encode(RECIPE).decode(),
        "cluster": {"caDigest": "sha256:" + "0" * 64, "server": VERSION},
        "targetNodes": [_facts(number) for number in range(nodes)],
        "checks": [{"name": each["name"], "phase": "deployment", "entry": each} for each in catalog],
        "images": {"evidencerun": IMAGE, "probe": IMAGE},
        "nonce": "0" * 32,
        "frozenAt": "2026-11-24T00:00:00Z",
        "deadlineTime": "2026-11-24T02:00:00Z",
    }
    return Plan.model_validate(document)


def _facts(number: int) -> dict[str, Any]:
    labels = {f"feature.node.kubernetes.io/cpu-cpuid.{feature}": "true" for feature in range(60)}
    zone = {"topology.kubernetes.io/zone": f"zone-{number % 3}"}
    names = {"uid": f"node-uid-{number:04d}", "name": f"node-{number}", "bootId": f"boot-{number}"}
    return {**names, "pool": "any", "kernelVersion": "6.1.0", "labels": {**labels, **zone}}

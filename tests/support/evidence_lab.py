# SPDX-License-Identifier: Apache-2.0
"""What tests do with the installed product: start runs, wait, fetch, verify, count what was created.

Runs live in the namespace `evidence`; each test gives its runs names of its own and deletes them. What was created is
counted from the API server's audit log, never from our own counters.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
RUNS = "evidence"
SYSTEM = "evidencerun-system"
PROBES = "evidencerun-probes"
CHECKS = "evidencerun-checks"
PROXY = f"/api/v1/namespaces/{SYSTEM}/services/https:evidence-store:443/proxy/v1"


def recipe(
    *,
    components: Sequence[Mapping[str, Any]] = (),
    checks: Mapping[str, Sequence[str]] | None = None,
    constraints: Sequence[Mapping[str, str]] = (),
    accelerator: str = "none",
) -> str:
    """Return a RecipeResult of the project's own, as YAML."""
    document = {
        "apiVersion": "aicr.run/v1",
        "kind": "RecipeResult",
        "metadata": {"version": "v0.1.0", "appliedOverlays": ["base"]},
        "criteria": {"service": "any", "accelerator": accelerator, "intent": "any", "os": "any", "platform": "any"},
        "constraints": list(constraints),
        "componentRefs": list(components),
        "deploymentOrder": [component["name"] for component in components],
        "validation": {phase: {"checks": list(names)} for phase, names in (checks or {}).items()},
    }
    return yaml.safe_dump(document, sort_keys=False)


DEMO_WEB = {
    "name": "demo-web",
    "type": "Helm",
    "namespace": "evidence-demo",
    "expectedResources": [{"kind": "Deployment", "name": "demo-web", "namespace": "evidence-demo"}],
}


@dataclass(slots=True)
class Evidence:
    """The product, installed; what tests do with it. `cluster` is the fixture of the same name."""

    cluster: Any
    made: list[str] = field(default_factory=list)

    def start(self, spec: Mapping[str, Any], *, prefix: str = "run", namespace: str = RUNS) -> str:
        """Create a run with a name of its own and return the name."""
        name = f"{prefix}-{secrets.token_hex(3)}"
        self.cluster.create(
            {
                "apiVersion": "evidencerun.dev/v1alpha1",
                "kind": "EvidenceRun",
                "metadata": {"name": name, "namespace": namespace},
                "spec": dict(spec),
            }
        )
        self.made.append(name)
        return name

    def get(self, name: str) -> dict[str, Any]:
        """The run as it is now."""
        found: dict[str, Any] = self.cluster.get("evr", "-n", RUNS, name)
        return found

    def status(self, name: str) -> dict[str, Any]:
        """The run's status, empty at first."""
        return self.get(name).get("status") or {}

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """One condition of the run, empty if it is not there."""
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), {})

    def until_phase(self, name: str, *phases: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until the run's phase is one of these."""

        def look() -> dict[str, Any]:
            run = self.get(name)
            return run if (run.get("status") or {}).get("phase") in phases else {}

        found: dict[str, Any] = self.cluster.wait_until(f"{name} is {' or '.join(phases)}", look, timeout=timeout)
        return found

    def finished(self, name: str, *, timeout: float = 180) -> dict[str, Any]:
        """Wait for Complete=True and return the whole object."""
        done = self.cluster.kubectl(
            "wait", "-n", RUNS, f"evr/{name}", "--for=condition=Complete", f"--timeout={timeout:.0f}s",
            check=False, timeout=timeout + 30,
        )  # fmt: skip
        run = self.get(name)
        if done.returncode:
            pytest.fail(f"{name} is not Complete: {json.dumps(run.get('status'), indent=1)}")
        return run

    def bundle(self, run: Mapping[str, Any]) -> dict[str, bytes]:
        """The sealed bundle's files, fetched through the API server and checked against the status."""
        from evidencerun.bundle.archive import read_archive

        archive = self.archive(run)
        return read_archive(archive)

    def archive(self, run: Mapping[str, Any]) -> bytes:
        """The sealed bundle as one file."""
        digest = run["status"]["bundle"]["archiveDigest"]
        data: bytes = self.cluster.raw(f"{PROXY}/bundles/{digest}")
        assert "sha256:" + hashlib.sha256(data).hexdigest() == digest
        return data

    def logs(self, run: Mapping[str, Any]) -> bytes:
        """The archive of logs."""
        bundle = run["status"]["bundle"]
        path = bundle["fetchLogs"].split()[3]  # kubectl get --raw PATH > evidence-logs.tar.gz
        data: bytes = self.cluster.raw(path)
        assert "sha256:" + hashlib.sha256(data).hexdigest() == bundle["logsDigest"]
        return data

    def public_key(self) -> bytes:
        """The signing key that the cluster publishes."""
        key: str = self.cluster.get("configmap", "-n", SYSTEM, "evidence-public")["data"]["signing.pub"]
        return key.encode()

    def verify(self, archive: Path, key: Path | None = None, *more: str) -> subprocess.CompletedProcess[str]:
        """Run `evr verify` as a person would."""
        words = [str(Path(sys.executable).parent / "evr"), "verify", str(archive), *more]
        if key:
            words += ["--key", str(key)]
        return subprocess.run(words, capture_output=True, text=True, timeout=60)

    def created(self, uid: str) -> dict[str, set[str]]:
        """Child objects that the API server created for a run: resource/namespace/name -> uids, from its audit log."""
        log = Path(self.cluster.environment["EVIDENCERUN_AUDIT_LOG"])
        found: dict[str, set[str]] = {}
        with log.open(encoding="utf-8") as lines:
            for line in lines:
                if uid not in line:
                    continue
                event = json.loads(line)
                ref, code = event.get("objectRef", {}), event.get("responseStatus", {}).get("code")
                made = event.get("verb") == "create" and event.get("stage") == "ResponseComplete" and code == 201
                if made and ref.get("resource") in ("jobs", "daemonsets", "configmaps"):
                    metadata = event["responseObject"]["metadata"]
                    if metadata.get("labels", {}).get("evidencerun.dev/run-uid") == uid:
                        place = f"{ref['resource']}/{metadata['namespace']}/{metadata['name']}"
                        found.setdefault(place, set()).add(metadata["uid"])
        return found

    def leftovers(self, uid: str) -> list[str]:
        """Objects that still carry the run's label in the namespaces where only the operator creates."""
        listed = self.cluster.kubectl(
            "get", "daemonsets,jobs,configmaps,pods", "-A", "-l", f"evidencerun.dev/run-uid={uid}", "-o", "name"
        )
        return list(listed.stdout.split())

# SPDX-License-Identifier: Apache-2.0
"""A composed run: two nodes without GPUs, one component, two checks; and the bundle that is sealed from it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from evidencerun.attest.dsse import IN_TOTO_PAYLOAD_TYPE, pae
from evidencerun.attest.sigstore_bundle import encode_key_bundle
from evidencerun.attest.statement import signed_payload
from evidencerun.bundle import layout
from evidencerun.bundle.assemble import AssembledBundle, AttemptRecord, BundleInputs, RanImage, assemble
from evidencerun.recipe import load_recipe
from evidencerun.snapshot.nodes import NodesDocument, nodes_document
from evidencerun.validation.plan import Plan
from evidencerun.validation.storeapi import AttemptView, ContainerEnding, SealRequest

OWN_IMAGE = "registry.example.com/evidencerun@sha256:" + "1" * 64
PROBE_IMAGE = "registry.example.com/evidencerun-probe@sha256:" + "2" * 64
RECIPE = b"""# composed for tests
apiVersion: aicr.run/v1
kind: RecipeResult
metadata:
  version: v1.0.0
criteria: {service: any, accelerator: none, os: ubuntu}
constraints:
  - name: OS.release.ID
    value: ubuntu
  - name: K8s.server.version
    value: ">= 1.30"
componentRefs:
  - name: demo-web
    type: Helm
    namespace: evidence-demo
    source: https://charts.example.com
    chart: demo-web
    version: 1.2.3
    expectedResources:
      - {kind: Deployment, name: demo-web, namespace: evidence-demo}
validation:
  deployment:
    checks: [expected-resources, node-agreement]
"""
SERVER = {"gitVersion": "v1.36.3", "platform": "linux/amd64", "goVersion": "go1.26.1"}


def node(number: int, **changes: Any) -> dict[str, Any]:
    """Return one entry of nodes.json: a machine without a GPU that has reported."""
    name, boot = f"worker-{number}.lab.example.com", f"1b4e28ba-2fa1-11d2-883f-0016d3cca4{number:02x}"
    entry = {
        "facts": {
            "uid": f"0f3c9a52-7a55-4d0e-9a1b-00000000000{number}",
            "name": name,
            "pool": "any",
            "architecture": "amd64",
            "providerId": f"kind://docker/lab/{name}",
            "bootId": boot,
            "machineId": f"{number:032x}",
            "systemUuid": f"4c4c4544-0042-3510-8043-b4c04f4a323{number}",
            "kernelVersion": "6.8.0-45-generic",
            "osImage": "Ubuntu 24.04.1 LTS",
            "operatingSystem": "linux",
            "containerRuntimeVersion": "containerd://1.7.22",
            "kubeletVersion": "v1.36.3",
            "ready": True,
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64"},
        },
        "state": "reported",
        "reportDigest": "sha256:" + f"{number}" * 64,
        "podUid": f"9a8b7c6d-0000-4000-8000-00000000000{number}",
        "receivedAt": "2026-09-20T10:01:00Z",
        "report": {
            "schema": "https://evidencerun.dev/schemas/node-report/v1",
            "runUid": "7d3b1f7e-7f5e-4a5e-9d54-3a1b6c0d9e11",
            "nodeName": name,
            "bootId": boot,
            "probe": {"version": "0.1.0", "level": "L1", "access": "pciOnly"},
            "startedAt": "2026-09-20T10:00:58Z",
            "finishedAt": "2026-09-20T10:00:59Z",
            "sources": [
                {"name": "os-release", "level": "L1", "state": "read", "reason": "", "milliseconds": 1},
                {"name": "pci", "level": "L1", "state": "read", "reason": "", "milliseconds": 3},
            ],
            "signals": {
                "os": [{"id": "os.release.ID", "tier": "T2", "level": "L1", "raw": "ubuntu", "value": "ubuntu"}],
                "machine": [{"id": "dmi.uuid", "tier": "T2", "level": "L1", "raw": boot, "value": ""}],
            },
            "measurements": {
                "OS.release": {"ID": "ubuntu", "VERSION_ID": "24.04", "PRETTY_NAME": "Ubuntu 24.04.1 LTS"},
                "OS.sysctl": {"/proc/sys/kernel/osrelease": "6.8.0-45-generic", "/proc/sys/kernel/hostname": name},
            },
            "pci": [
                {
                    "address": "0000:00:02.0",
                    "vendor": "1af4",
                    "device": "1000",
                    "classCode": "020000",
                    "subsystem": "1af4:0001",
                    "driver": "virtio-pci",
                }
            ],
        },
    }
    return {**entry, **changes}


def catalog(name: str, **changes: Any) -> dict[str, Any]:
    """Return a catalog entry of one of our own checks."""
    return {"name": name, "phase": "deployment", "image": OWN_IMAGE, "args": [name], "mandatory": False, **changes}


def attempt(check: str, *, status: str = "passed", number: int = 1, **changes: Any) -> AttemptRecord:
    """Return an ended attempt of a check."""
    reason, message = changes.pop("reason", ""), changes.pop("message", f"{check} says {status}")
    code = {"passed": 0, "failed": 1, "skipped": 2}.get(status, 137)
    view = {"check": check, "phase": "deployment", "attempt": number, "jobName": f"ev-7d3b1f7e-{check}-{number}"}
    ending = {
        "exitCode": code,
        "reason": "Completed" if code == 0 else "Error",
        "message": message,
        "startedAt": "2026-09-20T10:02:00Z",
        "finishedAt": "2026-09-20T10:02:02Z",
        "image": OWN_IMAGE,
        "imageId": OWN_IMAGE,
    }
    view |= {"state": "ended", "status": status, "reason": reason, "message": message, "logComplete": True}
    parts: dict[str, Any] = {
        "view": AttemptView.model_validate(view),
        "ending": ContainerEnding.model_validate(ending),
        "log": f"log of {check}\n".encode(),
        **changes,
    }
    return AttemptRecord(**parts)


@dataclass(frozen=True, kw_only=True)
class ComposedRun:
    """The parts of a run; `inputs` puts them together."""

    recipe: bytes = RECIPE
    nodes: tuple[dict[str, Any], ...] = ()
    attempts: tuple[AttemptRecord, ...] | None = None
    spec: Mapping[str, Any] | None = None
    policy: Mapping[str, Any] | None = None
    checks: tuple[dict[str, Any], ...] | None = None
    seal: Mapping[str, Any] | None = None

    def plan(self) -> Plan:
        recipe = load_recipe(self.recipe)
        nodes = self.nodes_document()
        entries = [catalog("expected-resources"), catalog("node-agreement")]
        checks = self.checks
        if checks is None:
            checks = tuple({"name": e["name"], "phase": e["phase"], "entry": e} for e in entries)
        policy = {"pools": [{"name": "any", "fallback": True}], "catalog": entries, **(self.policy or {})}
        return Plan.model_validate(
            {
                "run": {
                    "uid": "7d3b1f7e-7f5e-4a5e-9d54-3a1b6c0d9e11",
                    "name": "demo",
                    "namespace": "evidence",
                    "generation": 1,
                },
                "spec": {"recipe": {"inline": self.recipe.decode()}, **(self.spec or {})},
                "policy": {"uid": "5b0d9a52-0000-4000-8000-000000000001", "name": "default", "generation": 3},
                "policySpec": policy,
                "recipeName": recipe.name,
                "recipeDigest": recipe.digest,
                "recipe": base64.b64encode(self.recipe).decode(),
                "cluster": {"caDigest": "sha256:" + "c" * 64, "server": SERVER},
                "targetNodes": [e.facts.model_dump(by_alias=True) for e in nodes.nodes],
                "checks": list(checks),
                "images": {"evidencerun": OWN_IMAGE, "probe": PROBE_IMAGE},
                "nonce": "0123456789abcdef0123456789abcdef",
                "frozenAt": "2026-09-20T10:00:00Z",
                "deadlineTime": "2026-09-20T12:00:00Z",
            }
        )

    def nodes_document(self) -> NodesDocument:
        document = NodesDocument.model_validate({"nodes": list(self.nodes or (node(1), node(2)))})
        return nodes_document(document.nodes)

    def inputs(self) -> BundleInputs:
        plan, nodes = self.plan(), self.nodes_document()
        reported = sum(entry.report is not None for entry in nodes.nodes)
        attempts = self.attempts
        if attempts is None:
            attempts = (attempt("expected-resources"), attempt("node-agreement"))
        return BundleInputs(
            plan=plan,
            plan_bytes=plan.to_bytes(),
            recipe=load_recipe(self.recipe),
            nodes=nodes.nodes,
            taken_at="2026-09-20T10:01:30Z",
            attempts=attempts,
            seal=SealRequest.model_validate(
                {"reason": "finished", "startedAt": "2026-09-20T10:00:00Z", **(self.seal or {})}
            ),
            redaction_key=b"k" * 32,
            sealed_at="2026-09-20T10:03:00Z",
            version="0.1.0",
            images=[
                RanImage(role="probe", image=PROBE_IMAGE, image_id=PROBE_IMAGE, pods=pods)
                for pods in [reported]
                if pods
            ],
        )

    def with_changes(self, **changes: Any) -> ComposedRun:
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A key made for the test session."""

    private: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def spki(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, payload: bytes) -> bytes:
        signature = self.private.sign(pae(IN_TOTO_PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256()))
        return encode_key_bundle(payload, signature, self.spki)


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return SigningKey(private=ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def composed_run() -> ComposedRun:
    return ComposedRun()


@pytest.fixture
def compose_node() -> Callable[..., dict[str, Any]]:
    return node


@pytest.fixture
def compose_catalog() -> Callable[..., dict[str, Any]]:
    return catalog


@pytest.fixture
def compose_attempt() -> Callable[..., AttemptRecord]:
    return attempt


@pytest.fixture
def seal(signing_key: SigningKey) -> Callable[[AssembledBundle], dict[str, bytes]]:
    """Return the function that signs an assembled bundle and returns all its files."""

    def sealed(bundle: AssembledBundle) -> dict[str, bytes]:
        payload = signed_payload(bundle.files, bundle.manifest_digest)
        return {**bundle.files, layout.ATTESTATION: signing_key.sign(payload)}

    return sealed


@pytest.fixture(scope="session")
def sealed_bundle(signing_key: SigningKey) -> dict[str, bytes]:
    """The files of the composed run's sealed bundle; do not change them."""
    bundle = assemble(ComposedRun().inputs())
    payload = signed_payload(bundle.files, bundle.manifest_digest)
    return {**bundle.files, layout.ATTESTATION: signing_key.sign(payload)}

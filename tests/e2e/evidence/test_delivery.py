# SPDX-License-Identifier: Apache-2.0
"""Delivery: the bundle in a claim and in two kinds of registries; what is missing is named and costs nothing else."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evidence_lab import DEMO_WEB, RUNS, SYSTEM, Evidence, recipe

from evidencerun.validation.spec import LogsMode

PREDICATE = "https://aicr.run/recipe-evidence/v3"
SIGNATURE = "application/vnd.dev.sigstore.bundle.v0.3+json"
QUICK = {"recipe": {"inline": recipe(checks={"deployment": ["node-agreement"]})}, "fingerprintOnly": True}
CHECKED = {
    "recipe": {"inline": recipe(components=[DEMO_WEB], checks={"deployment": ["expected-resources"]})},
    "deadline": "10m",
}
READER = (
    "import hashlib,json,pathlib;r=pathlib.Path('/claim');"
    "print(json.dumps({str(p.relative_to(r)):hashlib.sha256(p.read_bytes()).hexdigest()"
    " for p in r.rglob('*') if p.is_file()}))"
)


@pytest.fixture(scope="module")
def lab(installed: Any) -> Iterator[Evidence]:
    """The product, and the runs of this file."""
    made = Evidence(cluster=installed)
    yield made
    for name in made.made:
        installed.kubectl("delete", "evr", "-n", RUNS, name, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def claims(lab: Evidence) -> Iterator[list[str]]:
    """Two PersistentVolumeClaims in the run namespace; deleted afterwards."""
    made = [_claim(lab), _claim(lab)]
    yield made
    lab.cluster.kubectl("delete", "pvc", "-n", RUNS, *made, "--wait=false")


def _claim(lab: Evidence) -> str:
    name = f"claim-{secrets.token_hex(3)}"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    lab.cluster.apply({**kind, "metadata": {"name": name, "namespace": RUNS}, "spec": spec})
    return name


@pytest.fixture(scope="module")
def secret(lab: Evidence, registry: Any) -> Iterator[str]:
    """A registry Secret as `kubectl create secret docker-registry` makes it, with the registry's CA beside it."""
    name = f"push-{secrets.token_hex(3)}"
    login = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    config = json.dumps({"auths": {registry.address: {"auth": login}}}).encode()
    data = {".dockerconfigjson": config, "ca.crt": Path(registry.authority).read_bytes()}
    lab.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name, "namespace": RUNS},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
    )
    yield name
    lab.cluster.kubectl("delete", "secret", "-n", RUNS, name)


REGISTRIES = {
    f"{kind}, logs {logs}": (kind, logs) for kind in ("referrers-api", "tls-and-password") for logs in LogsMode
}


@pytest.fixture(scope="module")
def begun(
    lab: Evidence, registry: Any, referrers_registry: Any, claims: list[str], secret: str
) -> dict[str, tuple[str, dict[str, Any]]]:
    """What is tried to the name of its run and its `spec.deliver`; all are begun at once and run side by side."""
    nowhere = {"repository": "127.0.0.1:9/evidence/none", "plainHTTP": True}
    closed = f"{registry.address}/evidence/none"
    claim = {"pvc": {"claimName": claims[0], "path": "team/runs"}, "logs": True}
    no_claim = {"pvc": {"claimName": "no-such-claim"}}  # first, so that a test sees it waiting
    specs: dict[str, dict[str, Any]] = {
        "no-claim": {**QUICK, "deliver": no_claim},
        "claim": {**CHECKED, "deliver": claim},
    }
    for key, (kind, logs) in REGISTRIES.items():
        found = registry if kind == "tls-and-password" else referrers_registry
        repository = f"{found.address}/evidence/{kind}-{secrets.token_hex(3)}"
        oci = {"repository": repository} | ({"secretName": secret} if found.user else {"plainHTTP": True})
        specs[key] = {**CHECKED, "logs": str(logs), "deliver": {"oci": oci, "logs": logs is LogsMode.SEPARATE}}
    undelivered: dict[str, dict[str, Any]] = {
        "no-registry": {"oci": nowhere},
        "no-secret": {"oci": {"repository": closed, "secretName": "no-such-secret"}},
        "unknown-authority": {"oci": {"repository": closed}},
        "one-of-two": {"pvc": {"claimName": claims[1]}, "oci": nowhere},
    }
    specs |= {key: {**QUICK, "deliver": deliver} for key, deliver in undelivered.items()}
    return {key: (lab.start(spec, prefix="deliver"), spec["deliver"]) for key, spec in specs.items()}


def files_in_claim(evidence: Evidence, claim: str) -> dict[str, str]:
    """Path to sha256 of everything in a claim, read by a second pod."""
    operator = evidence.cluster.get("deployment", "-n", SYSTEM, "evidence-operator")
    image = operator["spec"]["template"]["spec"]["containers"][0]["image"]
    name = f"reader-{secrets.token_hex(3)}"
    container = {
        "name": "reader",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/bin/python3", "-c", READER],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "claim", "mountPath": "/claim", "readOnly": True}],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsUser": 65532,
            "runAsNonRoot": True,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}],
    }
    head = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": RUNS}}
    evidence.cluster.create({**head, "spec": pod})
    phase = ("-n", RUNS, f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
    evidence.cluster.kubectl("wait", *phase, timeout=150)
    found: dict[str, str] = json.loads(evidence.cluster.kubectl("logs", "-n", RUNS, name).stdout)
    evidence.cluster.kubectl("delete", "pod", "-n", RUNS, name, "--wait=false")
    return found


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def undelivered(evidence: Evidence, name: str) -> tuple[dict[str, Any], str]:
    """A run whose delivery fails: the finished object, and what it says about the delivery."""
    run = evidence.finished(name, timeout=300)
    condition = evidence.condition(name, "Delivered")
    assert (condition["status"], condition["reason"]) == ("False", "DeliveryFailed")
    assert run["status"]["verdict"] == "FingerprintOnly", "a delivery does not change the verdict"
    assert evidence.condition(name, "Sealed")["status"] == "True"
    assert len(evidence.archive(run)) == run["status"]["bundle"]["size"], "the bundle stays in the store"
    assert evidence.leftovers(run["metadata"]["uid"]) == []
    return run, condition["message"]


def test_a_claim_that_does_not_exist_is_named_while_it_is_waited_for(lab: Evidence, begun: Any):
    name, _ = begun["no-claim"]

    def told() -> dict[str, Any]:
        found = lab.condition(name, "Delivered")
        return found if "no-such-claim" in found.get("message", "") else {}

    condition = lab.cluster.wait_until("the missing claim is named", told, timeout=180)
    assert (condition["status"], condition["reason"]) == ("False", "DeliveryBlocked")
    assert "no-such-claim" in lab.status(name)["summary"]
    _, said = undelivered(lab, name)
    assert said.startswith('spec.deliver.pvc: persistentvolumeclaim "no-such-claim" not found in namespace')
    assert said.count("not found") == 1
    events = lab.cluster.get("events", "-n", RUNS, "--field-selector", f"involvedObject.name={name}")["items"]
    told = {event["type"] for event in events if "no-such-claim" in event["message"]}
    assert told == {"Warning"}, "nothing that went wrong is a normal event"


def test_a_claim_holds_the_bundle_and_the_logs(lab: Evidence, begun: Any):
    evidence, (name, deliver) = lab, begun["claim"]
    run = evidence.finished(name, timeout=300)
    status = run["status"]
    assert evidence.condition(run["metadata"]["name"], "Delivered")["status"] == "True", status["summary"]
    assert status["verdict"] == "Passed"
    (copy,) = status["bundle"]["delivered"]
    folder = copy["ref"]
    assert copy["kind"] == "pvc"
    assert folder.startswith(f"team/runs/{run['metadata']['name']}-")
    assert files_in_claim(evidence, deliver["pvc"]["claimName"]) == {
        f"{folder}/bundle.tar.gz": digest(evidence.archive(run)),
        f"{folder}/evidence-logs.tar.gz": digest(evidence.logs(run)),
    }
    assert evidence.leftovers(run["metadata"]["uid"]) == [], "the deliver Job is cleaned up"


class Remote:
    """A registry as cosign and oras are told of it."""

    def __init__(self, installed: Any, found: Any, tmp_path: Path) -> None:
        self.environment = {**installed.environment, "DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
        self.cosign, self.oras = ["--allow-http-registry"], ["--plain-http"]
        if found.user:
            login = ["--username", found.user, "--password", found.password]
            self.oras = ["--ca-file", str(found.authority), *login]
            self.cosign = ["--registry-username", found.user, "--registry-password", found.password]
            self.environment["SSL_CERT_FILE"] = str(found.authority)

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(words, capture_output=True, env=self.environment, timeout=90)
        if check and done.returncode:
            pytest.fail(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr.decode()}")
        return done

    def fetch(self, kind: str, ref: str) -> bytes:
        return self.run("oras", kind, "fetch", *self.oras, "--output", "-", ref).stdout


def referrers(remote: Remote, ref: str) -> dict[str, str]:
    """artifactType to reference of what `oras discover` finds below an artifact."""
    found = json.loads(remote.run("oras", "discover", "--format", "json", *remote.oras, ref).stdout)
    return {entry["artifactType"]: entry["reference"] for entry in found.get("referrers") or found["manifests"]}


def unpacked(layer: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
        return {m.name.removeprefix("./"): archive.extractfile(m).read() for m in archive.getmembers() if m.isfile()}


@pytest.mark.parametrize("key", REGISTRIES)
def test_a_registry_holds_the_artifact_its_signature_and_its_logs(
    lab: Evidence, begun: Any, registry: Any, referrers_registry: Any, tmp_path: Path, key: str
):
    evidence, (name, deliver), (kind, logs) = lab, begun[key], REGISTRIES[key]
    found, repository = registry if kind == "tls-and-password" else referrers_registry, deliver["oci"]["repository"]
    run = evidence.finished(name, timeout=300)
    assert evidence.condition(run["metadata"]["name"], "Delivered")["status"] == "True", run["status"]["summary"]
    assert run["status"]["verdict"] == "Passed"
    (copy,) = run["status"]["bundle"]["delivered"]
    assert copy == {"kind": "oci", "ref": f"{repository}@{run['status']['bundle']['manifestDigest']}"}

    remote = Remote(evidence.cluster, found, tmp_path)
    public = tmp_path / "evidence.pub"
    public.write_bytes(evidence.public_key())
    words = ["cosign", "verify-attestation", "--key", str(public), "--insecure-ignore-tlog", "--type", PREDICATE]
    payload = json.loads(remote.run(*words, *remote.cosign, copy["ref"]).stdout.splitlines()[0])
    assert PREDICATE in base64.b64decode(payload["payload"]).decode()
    assert remote.run(
        *words[:5], "--type", "https://example.com/other", *remote.cosign, copy["ref"], check=False
    ).returncode

    below = referrers(remote, copy["ref"])
    assert SIGNATURE in below
    assert len(below) == (2 if logs is LogsMode.SEPARATE else 1), below
    files = evidence.bundle(run)
    (layer,) = json.loads(remote.fetch("manifest", copy["ref"]))["layers"]
    pulled = unpacked(remote.fetch("blob", f"{repository}@{layer['digest']}"))
    assert pulled == {name: data for name, data in files.items() if name != "attestation.intoto.jsonl"}
    assert any(name.startswith("logs/deployment/") for name in files) == (logs is LogsMode.BUNDLED)
    if logs is LogsMode.SEPARATE:
        (archive,) = json.loads(remote.fetch("manifest", below[next(k for k in below if k != SIGNATURE)]))["layers"]
        assert archive["digest"] == run["status"]["bundle"]["logsDigest"]


def test_a_registry_that_does_not_exist_is_named(lab: Evidence, begun: Any):
    _, said = undelivered(lab, begun["no-registry"][0])
    assert said.startswith("spec.deliver.oci: E7418")
    assert "127.0.0.1:9" in said
    assert "the registry does not answer" in said
    assert "fix: check host and port" in said


def test_a_secret_that_does_not_exist_is_named(lab: Evidence, begun: Any):
    _, said = undelivered(lab, begun["no-secret"][0])
    assert "spec.deliver.oci.secretName" in said
    assert "Secret no-such-secret does not exist" in said
    assert "fix: kubectl create secret docker-registry no-such-secret" in said


def test_a_registry_with_an_unknown_authority_is_told_so(lab: Evidence, begun: Any):
    _, said = undelivered(lab, begun["unknown-authority"][0])
    assert "certificate" in said.lower()
    assert "ca.crt" in said


def test_one_target_that_fails_does_not_stop_the_other(lab: Evidence, begun: Any):
    name, deliver = begun["one-of-two"]
    run, said = undelivered(lab, name)
    assert [copy["kind"] for copy in run["status"]["bundle"]["delivered"]] == ["pvc"]
    assert "127.0.0.1:9" in said
    assert list(files_in_claim(lab, deliver["pvc"]["claimName"]).values()) == [digest(lab.archive(run))]

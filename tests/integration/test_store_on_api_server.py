# SPDX-License-Identifier: Apache-2.0
"""Store and sealer as real processes over TLS, in front of a real API server, with the rights that the chart grants.

Tokens are bound to real Pod objects on real Node objects. There is no node: `FakeKubelet` serves logs in the kubelet's
way (the API server proxies them), and the tests write the pods' statuses.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from evidencerun.attest.keys import verify_signature
from evidencerun.attest.sigstore_bundle import parse_bundle
from evidencerun.bundle.archive import read_archive
from evidencerun.canonical import sha256_prefixed
from evidencerun.recipe import load_recipe
from evidencerun.validation.storeapi import STORE_AUDIENCE, check_audience, probe_audience
from evidencerun.verify.duties import verify_unsigned

if TYPE_CHECKING:
    from tests.integration.control_plane import ControlPlane

REPOSITORY = Path(__file__).resolve().parents[2]
SYSTEM, PROBES, CHECKS, RUNS = "evidencerun-system", "evidencerun-probes", "evidencerun-checks", "evidence"
IMAGE = "registry.example.com/evidencerun@sha256:" + "1" * 64
RECIPE = """apiVersion: aicr.run/v1
kind: RecipeResult
metadata:
  version: v0.1.0
criteria: {service: any, accelerator: none, intent: any, os: any, platform: any}
componentRefs:
  - name: demo-web
    type: Helm
    namespace: evidence-demo
    expectedResources:
      - {kind: Deployment, name: demo-web, namespace: evidence-demo}
deploymentOrder: [demo-web]
validation:
  deployment:
    checks: [node-agreement]
"""
POLICY_SPEC: dict[str, Any] = {
    "pools": [{"name": "any", "nodeSelector": {}, "fallback": True}],
    "catalog": [{"name": "node-agreement", "phase": "deployment", "image": IMAGE}],
}


class FakeKubelet:
    """Answers `GET /containerLogs/<namespace>/<pod>/validator` as a kubelet does."""

    def __init__(self, folder: Path) -> None:
        self.logs: dict[str, bytes] = {}
        self.running: set[str] = set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_self_signed(folder))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        pod = path.split("/")[3]
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        sent = 0
        while True:
            following = pod in self.running and "follow=true" in query
            data = self.logs.get(pod, b"")[sent:]
            if data:
                request.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                request.wfile.flush()
                sent += len(data)
            elif not following:
                break
            else:
                time.sleep(0.02)
        request.wfile.write(b"0\r\n\r\n")


def _self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake kubelet")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "kubelet.pem"
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@dataclass
class Site:
    """Everything that runs: API server, fake kubelet, and where store and sealer keep their things."""

    plane: ControlPlane
    kubelet: FakeKubelet
    folder: Path
    kubeconfig: Path
    store: subprocess.Popen[bytes] | None = None
    log: Path = Path()
    base: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    def apply(self, *objects: dict[str, Any]) -> None:
        self.plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def read(self, *words: str) -> Any:
        return json.loads(self.plane.kubectl("get", *words, "-o", "json").stdout)

    def start_store(self) -> None:
        env = {
            **os.environ,
            "EVIDENCERUN_DATA": str(self.folder / "data"),
            "EVIDENCERUN_HOST": "127.0.0.1",
            "EVIDENCERUN_PORT": "0",
            "EVIDENCERUN_CLUSTER_CA_FILE": str(self.plane.folder / "certificates" / "apiserver.crt"),
            "KUBECONFIG": str(self.kubeconfig),
        }
        path = self.folder / f"store-{time.monotonic_ns()}.log"
        with path.open("w") as log:
            command = [sys.executable, "-m", "evidencerun.store.main"]
            self.store = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        self.log = path
        ready = _await("the store is ready", lambda: self._event("store.ready"))
        self.base = f"https://127.0.0.1:{ready['port']}"

    def _event(self, name: str) -> Any:
        assert self.store is not None
        text = self.log.read_text()
        assert self.store.poll() is None, text
        events = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return next((event for event in events if event["event"] == name), None)

    def kill_store(self) -> None:
        assert self.store is not None
        self.store.send_signal(signal.SIGKILL)
        self.store.wait()

    def call(self, method: str, path: str, *, token: str = "", body: Any = None, **options: Any) -> httpx.Response:
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        content = json.dumps(body).encode() if body is not None else options.pop("content", None)
        context = ssl.create_default_context(cafile=str(self.folder / "data/tls/authority/ca.crt"))
        context.check_hostname = False
        with httpx.Client(verify=context, trust_env=False, timeout=60) as client:
            return client.request(method, self.base + path, headers=headers, content=content, **options)

    def pod_token(self, namespace: str, account: str, pod: str, audience: str) -> str:
        uid = self.read("-n", namespace, "pod", pod)["metadata"]["uid"]
        words = ("create", "token", account, "-n", namespace, "--audience", audience)
        bound = ("--bound-object-kind", "Pod", "--bound-object-name", pod, "--bound-object-uid", uid)
        return self.plane.kubectl(*words, *bound).stdout.strip()

    def add_pod(
        self, namespace: str, name: str, account: str, *, owner: dict[str, Any] | None = None, run_uid: str = ""
    ) -> None:
        meta: dict[str, Any] = {"name": name, "namespace": namespace}
        if owner:
            meta["ownerReferences"] = [owner]
            meta["labels"] = {"evidencerun.dev/run-uid": run_uid}
        spec = {
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            "nodeName": "node-1",
            "restartPolicy": "Never",
            "containers": [{"name": "validator", "image": IMAGE}],
        }
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    def pod_status(self, name: str, status: dict[str, Any]) -> None:
        patch = json.dumps({"status": status})
        self.plane.kubectl("-n", CHECKS, "patch", "pod", name, "--subresource=status", "--type=merge", "-p", patch)


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _account(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}}


def _rights() -> list[dict[str, Any]]:
    """The store's rights as DESIGN section 8 has them; the chart's test holds the chart to the same table."""
    cluster = [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"apiGroups": ["evidencerun.dev"], "resources": ["evidencepolicies"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
    ]
    public = [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["evidence-public"], "verbs": ["patch"]}
    ]
    runs = [{"apiGroups": ["evidencerun.dev"], "resources": ["evidenceruns"], "verbs": ["get"]}]
    work = [{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"]}]
    objects = [*_grant("", cluster), *_grant(SYSTEM, public), *_grant(RUNS, runs)]
    return [*objects, *_grant(PROBES, work), *_grant(CHECKS, work)]


def _grant(namespace: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kind = "Role" if namespace else "ClusterRole"
    meta = {"name": "evidence-store", **({"namespace": namespace} if namespace else {})}
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": f"{group}/v1", "kind": kind, "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": f"{kind}Binding",
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": kind, "name": "evidence-store"},
            "subjects": [{"kind": "ServiceAccount", "namespace": SYSTEM, "name": "evidence-store"}],
        },
    ]


@pytest.fixture(scope="module")
def site(api_server: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """CRDs, accounts, rights, one node, and the pods to whom tokens are bound."""
    folder = tmp_path_factory.mktemp("store")
    made = Site(plane=api_server, kubelet=FakeKubelet(folder), folder=folder, kubeconfig=folder / "store.kubeconfig")
    api_server.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    api_server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    made.apply(*[_namespace(name) for name in (SYSTEM, PROBES, CHECKS, RUNS)])
    accounts = [(SYSTEM, f"evidence-{name}") for name in ("operator", "store", "sealer")]
    accounts += [(PROBES, "evidence-probe"), (CHECKS, "evidence-check-none")]
    public = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "evidence-public", "namespace": SYSTEM}}
    made.apply(*[_account(*account) for account in accounts], *_rights(), public, _node())
    api_server.kubectl("patch", "node", "node-1", "--subresource=status", "--type=merge", "-p", _node_status(made))
    made.add_pod(SYSTEM, "operator", "evidence-operator")
    made.add_pod(SYSTEM, "sealer", "evidence-sealer")
    made.add_pod(PROBES, "probe", "evidence-probe")
    _write_kubeconfig(made)
    yield made
    if made.store is not None and made.store.poll() is None:
        made.store.terminate()
        made.store.wait(30)


def _node() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}


def _node_status(site: Site) -> str:
    info = {
        "architecture": "amd64",
        "bootID": "boot-1",
        "machineID": "machine-1",
        "systemUUID": "system-1",
        "kernelVersion": "6.1.0",
        "osImage": "Debian GNU/Linux 12",
        "operatingSystem": "linux",
        "containerRuntimeVersion": "containerd://2.1.0",
        "kubeletVersion": "v1.36.3",
        "kubeProxyVersion": "",
    }
    status = {
        "nodeInfo": info,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": site.kubelet.port}},
    }
    return json.dumps({"status": status})


def _write_kubeconfig(site: Site) -> None:
    document = yaml.safe_load(site.plane.kubeconfig.read_text())
    token = site.plane.kubectl("create", "token", "evidence-store", "-n", SYSTEM).stdout.strip()
    document["users"] = [{"name": user["name"], "user": {"token": token}} for user in document["users"]]
    site.kubeconfig.write_text(yaml.safe_dump(document))


def _plan(site: Site) -> dict[str, Any]:
    name = f"run-{len(site.tokens)}-{time.monotonic_ns()}"
    spec = {"recipe": {"inline": RECIPE}, "deadline": "15m"}
    site.apply(
        {
            "apiVersion": "evidencerun.dev/v1alpha1",
            "kind": "EvidencePolicy",
            "metadata": {"name": "default"},
            "spec": POLICY_SPEC,
        },
        {
            "apiVersion": "evidencerun.dev/v1alpha1",
            "kind": "EvidenceRun",
            "metadata": {"name": name, "namespace": RUNS},
            "spec": spec,
        },
    )
    run = site.read("-n", RUNS, "evr", name)
    policy = site.read("evp", "default")
    node = site.read("node", "node-1")
    recipe = load_recipe(RECIPE.encode())
    version = json.loads(site.plane.kubectl("get", "--raw", "/version").stdout)
    info, renamed = (
        node["status"]["nodeInfo"],
        {"bootID": "bootId", "machineID": "machineId", "systemUUID": "systemUuid"},
    )
    facts = {renamed.get(k, k): v for k, v in info.items() if k not in ("kubeProxyVersion", "swap")}
    authority = (site.plane.folder / "certificates" / "apiserver.crt").read_bytes()
    entry = policy["spec"]["catalog"][0]
    return {
        "schema": "https://evidencerun.dev/schemas/plan/v1",
        "run": {"uid": run["metadata"]["uid"], "name": name, "namespace": RUNS, "generation": 1},
        "spec": run["spec"],
        "policy": {
            "uid": policy["metadata"]["uid"],
            "name": "default",
            "generation": policy["metadata"]["generation"],
        },
        "policySpec": policy["spec"],
        "recipeName": recipe.name,
        "recipeDigest": recipe.digest,
        "recipe": base64.b64encode(RECIPE.encode()).decode(),
        "cluster": {
            "caDigest": sha256_prefixed(authority),
            "server": {key: version[key] for key in ("gitVersion", "platform", "goVersion")},
        },
        "targetNodes": [{"uid": node["metadata"]["uid"], "name": "node-1", "pool": "any", **facts}],
        "checks": [{"name": "node-agreement", "phase": "deployment", "entry": entry}],
        "images": {"evidencerun": IMAGE, "probe": IMAGE},
        "nonce": "0" * 32,
        "frozenAt": "2099-01-01T00:00:00Z",
        "deadlineTime": "2099-01-01T00:15:00Z",
    }


def _report(run_uid: str) -> bytes:
    document = {
        "schema": "https://evidencerun.dev/schemas/node-report/v1",
        "runUid": run_uid,
        "nodeName": "node-1",
        "bootId": "boot-1",
        "probe": {"version": "0.1.0", "level": "L1", "access": "pciOnly"},
        "startedAt": "2026-11-24T00:00:00Z",
        "finishedAt": "2026-11-24T00:00:01Z",
        "sources": [{"name": "pci", "level": "L1", "state": "read"}],
        "signals": {},
        "measurements": {"OS.release": {"ID": "debian", "VERSION_ID": "12"}},
        "pci": [],
    }
    return json.dumps(document).encode()


def _await(what: str, look: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    return pytest.fail(f"{what}: not within {seconds} s")


@contextlib.contextmanager
def _sealer(site: Site, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
    token = site.folder / "sealer.token"
    token.write_text(site.pod_token(SYSTEM, "evidence-sealer", "sealer", STORE_AUDIENCE))
    env = {
        **os.environ,
        "EVIDENCERUN_STORE_URL": site.base.replace("127.0.0.1", "localhost"),
        "EVIDENCERUN_STORE_CA_FILE": str(site.folder / "data/tls/authority/ca.crt"),
        "EVIDENCERUN_TOKEN_FILE": str(token),
        "EVIDENCERUN_KEY_DIR": str(site.folder / "key"),
        **changes,
    }
    with (site.folder / "sealer.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "evidencerun.sealer.main"], stdout=log, stderr=log, env=env)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def test_a_run_through_store_and_sealer(site: Site) -> None:
    site.start_store()
    operator = site.pod_token(SYSTEM, "evidence-operator", "operator", STORE_AUDIENCE)
    plan = _plan(site)
    uid = plan["run"]["uid"]
    run = f"/v1/runs/{uid}"

    # A plan that differs from the API's objects is refused with its differences, and nothing is stored.
    wrong = {**plan, "policy": {**plan["policy"], "generation": 99}, "targetNodes": []}
    refused = site.call("PUT", run, token=operator, body=wrong)
    assert refused.status_code == 409, refused.text
    assert "policy: the generation is" in refused.text
    assert "node-1: is left out of the plan" in refused.text
    assert site.call("GET", run, token=operator).status_code == 404
    assert site.call("PUT", run, token=operator, body=plan).status_code == 201
    assert site.call("PUT", run, token=operator, body=plan).status_code == 200

    # Identity: a real token of the wrong account, of another run, and one without a pod.
    probe = site.pod_token(PROBES, "evidence-probe", "probe", probe_audience(uid))
    other = site.pod_token(PROBES, "evidence-probe", "probe", probe_audience(uid[::-1]))
    loose = site.plane.kubectl(
        "create", "token", "evidence-probe", "-n", PROBES, "--audience", probe_audience(uid)
    ).stdout.strip()
    body, headers = gzip.compress(_report(uid)), {"Content-Encoding": "gzip"}
    nodes = f"{run}/nodes/self"
    assert site.call("PUT", nodes, token=operator, content=body, headers=headers).status_code == 401
    assert site.call("PUT", nodes, token=other, content=body, headers=headers).status_code == 401
    unbound = site.call("PUT", nodes, token=loose, content=body, headers=headers)
    assert unbound.status_code == 403, unbound.text
    assert site.call("PUT", nodes, token=probe, content=body, headers=headers).status_code == 201
    assert site.call("HEAD", nodes, token=probe).status_code == 200

    # The store is killed after every step from here on; the answers stay.
    before = site.call("GET", run, token=operator).json()
    site.kill_store()
    site.start_store()
    assert site.call("GET", run, token=operator).json() == before
    evaluation = site.call("POST", f"{run}/evaluate", token=operator, body={"stragglers": {}}).json()
    assert (evaluation["reported"], evaluation["missing"]) == (1, 0), evaluation

    job = f"ev-{uid[:8]}-node-agreement-1"
    news: dict[str, Any] = {"check": "node-agreement", "phase": "deployment", "attempt": 1, "jobName": job}
    path = f"{run}/attempts"
    assert site.call("POST", path, token=operator, body={**news, "state": "created"}).status_code == 200
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid, "controller": True}
    site.add_pod(CHECKS, "check", "evidence-check-none", owner=owner, run_uid=uid)
    pod = site.read("-n", CHECKS, "pod", "check")["metadata"]
    check = site.pod_token(CHECKS, "evidence-check-none", "check", check_audience(uid, "node-agreement", 1))
    snapshot = site.call("GET", f"{run}/inputs/snapshot.yaml", token=check)
    assert snapshot.status_code == 200, snapshot.text
    assert b"kind: Snapshot" in snapshot.content

    site.kubelet.running.add("check")
    site.kubelet.logs["check"] = b"line 1\n"
    state = {"running": {"startedAt": "2026-11-24T00:00:00Z"}}
    container = {"name": "validator", "image": IMAGE, "imageID": "", "ready": True, "restartCount": 0}
    site.pod_status("check", {"phase": "Running", "containerStatuses": [{**container, "state": state}]})
    reference = {"name": "check", "uid": pod["uid"]}
    running = site.call("POST", path, token=operator, body={**news, "state": "running", "pod": reference})
    assert running.json()["state"] == "running", running.text
    log = site.folder / "data/runs" / uid / "attempts/node-agreement.1/log-0"
    _await("the log is followed", lambda: log.exists() and log.read_bytes() == b"line 1\n")

    site.kill_store()
    site.kubelet.logs["check"] += b"line 2, while the store was away\n"
    site.start_store()
    _await("the log is taken up again", lambda: b"line 2" in log.read_bytes())
    result = site.call("PUT", f"{run}/checks/node-agreement/1/note.txt", token=check, content=b"seen")
    assert result.status_code == 201, result.text
    site.kubelet.logs["check"] += b"RESULT: fine\n"
    site.kubelet.running.discard("check")
    terminated = {
        "exitCode": 0,
        "reason": "Completed",
        "startedAt": "2026-11-24T00:00:00Z",
        "finishedAt": "2026-11-24T00:00:02Z",
    }
    ended = {**container, "imageID": IMAGE, "ready": False, "state": {"terminated": terminated}}
    site.pod_status("check", {"phase": "Succeeded", "containerStatuses": [ended]})
    view = site.call("POST", path, token=operator, body={**news, "state": "ended", "pod": reference}).json()
    assert (view["status"], view["logComplete"], view["results"]) == ("passed", True, ["note.txt"]), view
    assert log.read_bytes() == b"line 1\nline 2, while the store was away\nRESULT: fine\n"

    sealing = site.call("POST", f"{run}/seal", token=operator, body={"reason": "finished"})
    assert (sealing.status_code, sealing.json()["seal"]) == (202, "queued"), sealing.text
    site.kill_store()
    site.start_store()
    with _sealer(site):
        look = lambda: (v := site.call("GET", run, token=operator).json())["seal"] == "sealed" and v  # noqa: E731
        sealed = _await("the bundle is sealed", look)
    archive = site.call("GET", f"/v1/bundles/{sealed['bundle']['archiveDigest']}")
    assert sha256_prefixed(archive.content) == sealed["bundle"]["archiveDigest"]
    files = read_archive(archive.content)
    attestation = parse_bundle(files.pop("attestation.intoto.jsonl"))
    verify_unsigned(files)
    public = site.read("-n", SYSTEM, "configmap", "evidence-public")["data"]
    verify_signature(public["signing.pub"].encode(), payload=attestation.payload, signature=attestation.signature)
    assert public["ca.crt"] == (site.folder / "data/tls/authority/ca.crt").read_text()
    logs = read_archive(site.call("GET", f"/v1/logs/{sealed['bundle']['logsKey']}").content)
    assert any(b"line 2, while the store was away" in data for data in logs.values())

    assert site.call("POST", f"{run}/close", token=operator).json()["closed"] is True
    assert not (site.folder / "data/runs" / uid / "nodes").exists()
    assert site.call("GET", f"/v1/bundles/{sealed['bundle']['archiveDigest']}").content == archive.content
    assert site.store is not None
    assert site.store.poll() is None

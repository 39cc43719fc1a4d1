# SPDX-License-Identifier: Apache-2.0
"""Store and sealer as processes in front of a real API server, and a fake kubelet that serves logs."""

from __future__ import annotations

import base64
import contextlib
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

from evidencerun.canonical import sha256_prefixed
from evidencerun.recipe import load_recipe
from evidencerun.validation.storeapi import STORE_AUDIENCE

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

    def write(self, pod: str, data: bytes, *, end: bool = False) -> None:
        """Let a container write to its log; it runs until `end`."""
        self.logs[pod] = self.logs.get(pod, b"") + data
        (self.running.discard if end else self.running.add)(pod)

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
        ready = wait_for("the store is ready", lambda: self._event("store.ready"))
        self.base = f"https://127.0.0.1:{ready['port']}"

    def _event(self, name: str) -> Any:
        assert self.store is not None
        text = self.log.read_text()
        assert self.store.poll() is None, text
        events = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return next((event for event in events if event["event"] == name), None)

    @property
    def authority(self) -> Path:
        """The store's CA certificate."""
        return self.folder / "data/tls/authority/ca.crt"

    def run_folder(self, uid: str) -> Path:
        """A run's folder on the store's volume."""
        return self.folder / "data/runs" / uid

    def restart_store(self) -> None:
        """Kill the store and start it again."""
        self.kill_store()
        self.start_store()

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


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def account(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}}


def store_rights() -> list[dict[str, Any]]:
    """The store's rights as docs/rights.md has them; the chart's test holds the chart to the same table."""
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


def node() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}


def node_status(site: Site) -> str:
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


def write_kubeconfig(site: Site) -> None:
    document = yaml.safe_load(site.plane.kubeconfig.read_text())
    token = site.plane.kubectl("create", "token", "evidence-store", "-n", SYSTEM).stdout.strip()
    document["users"] = [{"name": user["name"], "user": {"token": token}} for user in document["users"]]
    site.kubeconfig.write_text(yaml.safe_dump(document))


def plan_of(site: Site) -> dict[str, Any]:
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


def report_of(run_uid: str) -> bytes:
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


def wait_for(what: str, look: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    return pytest.fail(f"{what}: not within {seconds} s")


@contextlib.contextmanager
def sealer(site: Site, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
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

# SPDX-License-Identifier: Apache-2.0
"""Service names through DNS, binary bytes through the API server's proxy, port forwarding."""

from __future__ import annotations

import hashlib
import re
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Cluster

Make = Callable[..., dict[str, Any]]

SERVER = """
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"\\x1f\\x8b\\x00\\xff\\n\\r" + bytes.fromhex("BLOCK") * 65536
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
""".replace("BLOCK", hashlib.sha256(b"evidence").hexdigest())


def _deployment(namespace: str, container: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": "tls", "secret": {"secretName": "web"}}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


@pytest.fixture
def web(cluster: Cluster, namespace: str, container: Make, server_certificate: dict[str, str]) -> str:
    """A Service `web` with TLS on port 443 that answers with the bytes of the fixture `binary`."""
    main = container(
        "main",
        SERVER,
        volumeMounts=[{"name": "tls", "mountPath": "/tls", "readOnly": True}],
        readinessProbe={"tcpSocket": {"port": 8443}, "periodSeconds": 1},
    )
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "web", "namespace": namespace},
            "stringData": server_certificate,
        },
        _deployment(namespace, main),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 443, "targetPort": 8443}]},
        },
    )
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    return "web"


def test_service_name_is_resolved_and_reached_from_a_pod(
    cluster: Cluster, namespace: str, web: str, pod: Make, output: Callable[[str], str], binary: bytes
) -> None:
    script = (
        "import hashlib, socket, ssl, urllib.request\n"
        f"print(*sorted({{socket.gethostbyname(n) for n in ('{web}', '{web}.{namespace}.svc.cluster.local')}}))\n"
        "context = ssl._create_unverified_context()\n"
        f"body = urllib.request.urlopen('https://{web}.{namespace}.svc/', context=context).read()\n"
        "print(hashlib.sha256(body).hexdigest())\n"
    )
    cluster.apply(pod("client", script))
    address = cluster.get("-n", namespace, "service", web)["spec"]["clusterIP"]
    assert output("client").split() == [address, hashlib.sha256(binary).hexdigest()]


def test_api_server_proxy_returns_the_binary_bytes_of_a_tls_service(
    cluster: Cluster, namespace: str, web: str, binary: bytes
) -> None:
    answer = cluster.raw(f"/api/v1/namespaces/{namespace}/services/https:{web}:443/proxy/anything")
    assert len(answer) == len(binary)
    assert answer == binary


@pytest.fixture
def forwarded(cluster: Cluster, namespace: str, web: str) -> Iterator[int]:
    """A local port that `kubectl port-forward` connects to the Service."""
    command = ["kubectl", "-n", namespace, "port-forward", f"service/{web}", ":443"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cluster.environment) as process:
        assert process.stdout
        match = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert match, "kubectl names no local port"
        yield int(match[1])
        process.terminate()


def test_port_forward_reaches_a_service(forwarded: int, binary: bytes) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with urllib.request.build_opener(*handlers).open(f"https://127.0.0.1:{forwarded}/", timeout=10) as answer:
        assert answer.read() == binary

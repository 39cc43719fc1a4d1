# SPDX-License-Identifier: Apache-2.0
"""etcd, API server, controller manager, scheduler and cluster DNS as plain processes of the host."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from pathlib import Path

from evidencelocal import processes
from evidencelocal.settings import LOCAL, Settings
from evidencelocal.shell import Command, wait_for, write

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns")
_COREDNS_HEALTH_PORT = 8181


def _etcd(settings: Settings) -> Command:
    client = f"http://127.0.0.1:{settings.etcd_port}"
    peer = f"http://127.0.0.1:{settings.etcd_peer_port}"
    return [
        "etcd",
        "--data-dir", settings.state / "etcd",
        "--listen-client-urls", client,
        "--advertise-client-urls", client,
        "--listen-peer-urls", peer,
        "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"default={peer}",
        "--logger", "zap",
        "--log-level", "warn",
    ]  # fmt: skip


def _api_server(settings: Settings, programs: Path) -> Command:
    pki = settings.pki
    return [
        programs / "kube-apiserver",
        "--etcd-servers", f"http://127.0.0.1:{settings.etcd_port}",
        "--service-cluster-ip-range", f"{settings.service_net}.0/16",
        "--advertise-address", settings.host,
        "--secure-port", "6443",
        "--bind-address", settings.host,
        "--tls-cert-file", pki / "apiserver.crt",
        "--tls-private-key-file", pki / "apiserver.key",
        "--client-ca-file", pki / "ca.crt",
        "--cert-dir", pki,
        "--service-account-issuer", settings.api,
        "--service-account-jwks-uri", f"{settings.api}/openid/v1/jwks",
        "--service-account-signing-key-file", pki / "sa.key",
        "--service-account-key-file", pki / "sa.pub",
        "--kubelet-client-certificate", pki / "kubelet-client.crt",
        "--kubelet-client-key", pki / "kubelet-client.key",
        "--kubelet-preferred-address-types", "InternalIP",
        # Nobody holds such a certificate; without these the components log the lack of them every ten seconds.
        "--requestheader-client-ca-file", pki / "ca.crt",
        "--requestheader-allowed-names", "front-proxy-client",
        "--requestheader-username-headers", "X-Remote-User",
        "--requestheader-group-headers", "X-Remote-Group",
        "--requestheader-extra-headers-prefix", "X-Remote-Extra-",
        "--authorization-mode", "Node,RBAC",
        "--enable-admission-plugins", "NodeRestriction",
        "--allow-privileged",
        "--audit-policy-file", LOCAL / "audit-policy.yaml",
        "--audit-log-path", settings.state / "audit.log",
        "--audit-log-maxsize", "2000",
        "--profiling=false",
    ]  # fmt: skip


def _controller_manager(settings: Settings, programs: Path) -> Command:
    pki = settings.pki
    kubeconfig = pki / "controller-manager.kubeconfig"
    return [
        programs / "kube-controller-manager",
        "--kubeconfig", kubeconfig,
        "--authentication-kubeconfig", kubeconfig,
        "--authorization-kubeconfig", kubeconfig,
        "--service-account-private-key-file", pki / "sa.key",
        "--root-ca-file", pki / "ca.crt",
        "--cluster-signing-cert-file", pki / "ca.crt",
        "--cluster-signing-key-file", pki / "ca.key",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--allocate-node-cidrs=false",
        "--bind-address", "127.0.0.1",
        "--secure-port", str(settings.controller_manager_port),
        "--cert-dir", pki,
        "--flex-volume-plugin-dir", settings.state / "flex-volume-plugins",
        "--node-monitor-grace-period=16s",
        "--node-monitor-period=2s",
        "--profiling=false",
    ]  # fmt: skip


def _scheduler(settings: Settings, programs: Path) -> Command:
    kubeconfig = settings.pki / "scheduler.kubeconfig"
    return [
        programs / "kube-scheduler",
        "--kubeconfig", kubeconfig,
        "--authentication-kubeconfig", kubeconfig,
        "--authorization-kubeconfig", kubeconfig,
        "--leader-elect=false",
        "--bind-address", "127.0.0.1",
        "--secure-port", str(settings.scheduler_port),
        "--cert-dir", settings.pki,
        "--profiling=false",
    ]  # fmt: skip


def _corefile(settings: Settings) -> str:
    upstream = Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace")
    forward = "  forward . /etc/resolv.conf\n" if "nameserver" in upstream else ""
    return (
        ".:53 {\n"
        f"  bind {settings.host}\n"
        "  errors\n"
        f"  ready {settings.host}:{_COREDNS_HEALTH_PORT}\n"
        "  kubernetes cluster.local in-addr.arpa {\n"
        f"    kubeconfig {settings.pki / 'coredns.kubeconfig'}\n"
        "    fallthrough in-addr.arpa\n"
        "    ttl 5\n"
        "  }\n"
        f"{forward}"
        "  cache 5\n"
        "}\n"
    )


def _answers_ok(url: str, authority: Path | None = None) -> bool:
    context = ssl.create_default_context(cafile=str(authority)) if authority else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def api_ready(settings: Settings) -> bool:
    """Whether the API server says that it is ready."""
    authority = settings.pki / "ca.crt"
    return authority.is_file() and _answers_ok(f"{settings.api}/readyz", authority)


def dns_ready(settings: Settings) -> bool:
    """Whether CoreDNS has synchronised with the API server."""
    return _answers_ok(f"http://{settings.host}:{_COREDNS_HEALTH_PORT}/ready")


def start_api(settings: Settings, programs: Path) -> bool:
    """Start etcd and the API server as far as they do not run, and wait for them; True when one was started."""
    etcd = processes.start(settings, "etcd", _etcd(settings))
    api = processes.start(settings, "kube-apiserver", _api_server(settings, programs))
    logs = [processes.log_of(settings, name) for name in ("kube-apiserver", "etcd")]
    wait_for("API server is ready", lambda: api_ready(settings), timeout=60, logs=logs)
    return etcd or api


def start_controllers(settings: Settings, programs: Path) -> bool:
    """Start controller manager and scheduler as far as they do not run; True when one was started."""
    manager = _controller_manager(settings, programs)
    return any(
        [
            processes.start(settings, "kube-controller-manager", manager),
            processes.start(settings, "kube-scheduler", _scheduler(settings, programs)),
        ]
    )


def start_dns(settings: Settings, programs: Path) -> bool:
    """Start CoreDNS unless it runs; True when it was started."""
    corefile = settings.config / "Corefile"
    if not processes.find(settings, "coredns"):
        write(corefile, _corefile(settings))
    return processes.start(settings, "coredns", [programs / "coredns", "-conf", corefile])


def await_dns(settings: Settings) -> None:
    """Wait until CoreDNS answers for the cluster."""
    logs = [processes.log_of(settings, "coredns")]
    wait_for("CoreDNS is ready", lambda: dns_ready(settings), timeout=30, logs=logs)

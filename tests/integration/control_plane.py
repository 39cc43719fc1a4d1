# SPDX-License-Identifier: Apache-2.0
"""etcd, API server and controller manager on free loopback ports: Kubernetes' API without any node.

Enough for CRDs, admission, RBAC, tokens, and the Job and DaemonSet controllers; pods are created, and stay Pending.
Ends with the `with` block; nothing outlives it. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_READY_SECONDS = 60
_STOP_SECONDS = 10


class ControlPlaneError(Exception):
    """The control plane did not start; the message holds the end of the log that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """A running control plane: its folder, its address, and the kubeconfig of an administrator."""

    folder: Path
    server: str
    kubeconfig: Path
    programs: Path

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator; AssertionError with its own words when `check` and it fails."""
        command = [str(self.programs / "kubectl"), "--kubeconfig", str(self.kubeconfig), *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
        assert not (check and done.returncode), f"kubectl {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ports:
    etcd: int
    etcd_peer: int
    api: int
    controller_manager: int


def _free_ports(count: int) -> list[int]:
    """Ports that are free now; all are held until all are known, so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _etcd(folder: Path, ports: _Ports) -> list[str | Path]:
    client, peer = f"http://127.0.0.1:{ports.etcd}", f"http://127.0.0.1:{ports.etcd_peer}"
    urls = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
    cluster = ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
    return ["etcd", "--data-dir", folder / "etcd", *urls, *cluster, "--logger", "zap", "--log-level", "warn"]


def _api_server(folder: Path, ports: _Ports, programs: Path) -> list[str | Path]:
    server = f"https://127.0.0.1:{ports.api}"
    return [
        programs / "kube-apiserver",
        "--etcd-servers", f"http://127.0.0.1:{ports.etcd}",
        "--bind-address", "127.0.0.1",
        "--advertise-address", "127.0.0.1",
        # A server on loopback may not publish its address as an endpoint; nothing here needs one.
        "--endpoint-reconciler-type", "none",
        "--secure-port", str(ports.api),
        "--cert-dir", folder / "certificates",
        "--token-auth-file", folder / "tokens.csv",
        "--service-cluster-ip-range", "10.96.0.0/16",
        "--service-account-issuer", server,
        "--service-account-signing-key-file", folder / "sa.key",
        "--service-account-key-file", folder / "sa.pub",
        "--authorization-mode", "RBAC",
        "--allow-privileged",
        "--profiling=false",
    ]  # fmt: skip


def _controller_manager(folder: Path, ports: _Ports, programs: Path) -> list[str | Path]:
    kubeconfig = folder / "kubeconfig"
    return [
        programs / "kube-controller-manager",
        "--kubeconfig", kubeconfig,
        "--service-account-private-key-file", folder / "sa.key",
        "--root-ca-file", folder / "certificates" / "apiserver.crt",
        "--flex-volume-plugin-dir", folder / "flex-volume-plugins",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--bind-address", "127.0.0.1",
        "--secure-port", str(ports.controller_manager),
        "--cert-dir", folder / "controller-manager",
        "--profiling=false",
    ]  # fmt: skip


def _write_credentials(folder: Path, server: str) -> Path:
    """Keys, an administrator's token and the kubeconfig with it."""
    token = secrets.token_urlsafe(32)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n', encoding="ascii")
    private, public = folder / "sa.key", folder / "sa.pub"
    generate = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(private)]
    subprocess.run(generate, check=True, capture_output=True)
    subprocess.run(
        ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True, capture_output=True
    )
    # The API server makes its own certificate, which is its own authority.
    cluster = {"server": server, "certificate-authority": str(folder / "certificates" / "apiserver.crt")}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "integration", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "integration", "context": {"cluster": "integration", "user": "admin"}}],
        "current-context": "integration",
    }
    kubeconfig = folder / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return kubeconfig


def _end_with_parent() -> None:
    """Let the kernel kill the child when this process dies, however it dies (PR_SET_PDEATHSIG)."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


@contextlib.contextmanager
def _running(folder: Path, name: str, command: Sequence[str | Path]) -> Iterator[Callable[[], None]]:
    """Run a process for the length of the block; yields a check that fails once it has ended by itself."""
    log = folder / f"{name}.log"
    words = [str(word) for word in command]
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, preexec_fn=_end_with_parent, cwd=folder)

    def check() -> None:
        if process.poll() is not None:
            text = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ControlPlaneError(f"{name} ended with exit code {process.returncode}:\n{text}")

    try:
        yield check
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _api_is_ready(server: str, certificate: Path) -> bool:
    if not certificate.is_file():
        return False
    try:
        context = ssl.create_default_context(cafile=str(certificate))
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with urllib.request.build_opener(*handlers).open(f"{server}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _await(what: str, ready: Callable[[], bool], checks: Sequence[Callable[[], None]], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not ready():
        for check in checks:
            check()
        if time.monotonic() > deadline:
            text = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ControlPlaneError(f"{what}: not within {_READY_SECONDS} s\n{text}")
        time.sleep(0.1)


@contextlib.contextmanager
def control_plane(folder: Path, programs: Path) -> Iterator[ControlPlane]:
    """Run a control plane below `folder` with the Kubernetes programs of the directory `programs`.

    Yields when the API server is ready and the controllers have made the default service account. Raises
    ControlPlaneError with the end of the log that matters.
    """
    ports = _Ports(**dict(zip(("etcd", "etcd_peer", "api", "controller_manager"), _free_ports(4), strict=True)))
    server = f"https://127.0.0.1:{ports.api}"
    running = ControlPlane(
        folder=folder, server=server, kubeconfig=_write_credentials(folder, server), programs=programs
    )
    certificate = folder / "certificates" / "apiserver.crt"
    with contextlib.ExitStack() as stack:
        etcd = stack.enter_context(_running(folder, "etcd", _etcd(folder, ports)))
        api = stack.enter_context(_running(folder, "kube-apiserver", _api_server(folder, ports, programs)))
        ready = lambda: _api_is_ready(server, certificate)  # noqa: E731
        _await("API server is ready", ready, [etcd, api], folder / "kube-apiserver.log")
        command = _controller_manager(folder, ports, programs)
        manager = stack.enter_context(_running(folder, "kube-controller-manager", command))
        account = ("-n", "default", "get", "serviceaccount", "default")
        made = lambda: running.kubectl(*account, check=False).returncode == 0  # noqa: E731
        _await("controllers run", made, [etcd, api, manager], folder / "kube-controller-manager.log")
        yield running


def kubernetes_programs() -> Path:
    """The directory with kube-apiserver, kube-controller-manager and kubectl, built if they are not there yet."""
    tools = Path(__file__).resolve().parents[2] / "deploy/local/tools"
    done = subprocess.run([tools, "path", "kubectl"], capture_output=True, text=True, env=dict(os.environ))
    if done.returncode:
        raise ControlPlaneError(f"{tools} path kubectl: {done.stderr}")
    return Path(done.stdout.strip()).parent

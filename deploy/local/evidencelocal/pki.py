# SPDX-License-Identifier: Apache-2.0
"""The cluster's certificates and kubeconfigs, made with the openssl command. Kept while they are valid."""

from __future__ import annotations

import base64
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from evidencelocal.settings import Settings
from evidencelocal.shell import run, succeeds, write

DAYS = 90
_RENEW_SECONDS = 30 * 24 * 3600

_CA_CONFIG = """[req]
distinguished_name = name
x509_extensions = ca
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
"""

_LEAF_EXTENSIONS = """basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = {usage}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{names}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate to make: file name, subject, and subject alternative names for a server."""

    name: str
    subject: str
    alternatives: str = ""
    kubeconfig: bool = False


def _servers(settings: Settings) -> list[Certificate]:
    api = (
        f"IP:127.0.0.1,IP:{settings.host},IP:{settings.service_net}.1,DNS:kubernetes.default.svc,"
        "DNS:kubernetes.default.svc.cluster.local,DNS:kubernetes.default,DNS:kubernetes,DNS:localhost"
    )
    return [
        Certificate(name="apiserver", subject="/CN=kube-apiserver", alternatives=api),
        Certificate(name="registry", subject="/CN=registry", alternatives=f"IP:{settings.host},DNS:registry.local"),
    ]


def _clients() -> list[Certificate]:
    named = {
        "admin": "/O=system:masters/CN=admin",
        "controller-manager": "/CN=system:kube-controller-manager",
        "scheduler": "/CN=system:kube-scheduler",
        "proxy": "/CN=system:kube-proxy",
        "coredns": "/CN=system:coredns",
    }
    clients = [Certificate(name=name, subject=subject, kubeconfig=True) for name, subject in named.items()]
    return [*clients, Certificate(name="kubelet-client", subject="/O=system:masters/CN=apiserver-kubelet-client")]


def node_certificate(name: str) -> Certificate:
    """The certificate by which the kubelet of the node `name` is known."""
    return Certificate(name=name, subject=f"/O=system:nodes/CN=system:node:{name}", kubeconfig=True)


def _key(path: Path) -> None:
    write(path, "", 0o600)
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path])


def _authority(settings: Settings) -> None:
    config = write(settings.pki / "ca.conf", _CA_CONFIG.format(name=settings.context + "-ca"))
    _key(settings.pki / "ca.key")
    key, out = settings.pki / "ca.key", settings.pki / "ca.crt"
    run(["openssl", "req", "-x509", "-new", "-config", config, "-key", key, "-days", str(DAYS), "-out", out])


def _service_account_keys(settings: Settings) -> None:
    private = write(settings.pki / "sa.key", "", 0o600)
    run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", private])
    run(["openssl", "pkey", "-in", private, "-pubout", "-out", settings.pki / "sa.pub"])


def _issue(settings: Settings, wanted: Certificate) -> None:
    base = settings.pki / wanted.name
    files = {kind: base.with_name(f"{wanted.name}.{kind}") for kind in ("key", "csr", "ext", "crt")}
    names = f"subjectAltName = {wanted.alternatives}" if wanted.alternatives else ""
    usage = "serverAuth" if wanted.alternatives else "clientAuth"
    write(files["ext"], _LEAF_EXTENSIONS.format(usage=usage, names=names))
    _key(files["key"])
    config = settings.pki / "ca.conf"
    request = ["-config", config, "-key", files["key"], "-subj", wanted.subject, "-out", files["csr"]]
    run(["openssl", "req", "-new", *request])
    authority = ["-CA", settings.pki / "ca.crt", "-CAkey", settings.pki / "ca.key", "-days", str(DAYS)]
    serial = ["-set_serial", "0x7" + secrets.token_hex(15)]
    output = ["-extfile", files["ext"], "-out", files["crt"]]
    run(["openssl", "x509", "-req", "-in", files["csr"], *authority, *serial, *output])
    if wanted.kubeconfig:
        write(base.with_name(wanted.name + ".kubeconfig"), kubeconfig(settings, wanted.name), 0o600)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def kubeconfig(settings: Settings, user: str) -> str:
    """A self-contained kubeconfig for the client certificate `user`, as JSON (which is YAML)."""
    name = settings.context
    cluster = {"server": settings.api, "certificate-authority-data": _base64(settings.pki / "ca.crt")}
    credentials = {
        "client-certificate-data": _base64(settings.pki / f"{user}.crt"),
        "client-key-data": _base64(settings.pki / f"{user}.key"),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": f"{name}-{user}", "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": f"{name}-{user}"}}],
        "current-context": name,
    }
    return json.dumps(document, indent=1) + "\n"


def valid(settings: Settings) -> bool:
    """Whether the authority exists and is good for another month."""
    path = settings.pki / "ca.crt"
    check = ["openssl", "x509", "-checkend", str(_RENEW_SECONDS), "-noout", "-in", path]
    return path.is_file() and succeeds(check)


def ensure(settings: Settings) -> bool:
    """Make everything that is missing; True when something was made."""
    settings.pki.mkdir(parents=True, exist_ok=True)
    settings.pki.chmod(0o700)
    if not (settings.pki / "ca.crt").is_file():
        _authority(settings)
        _service_account_keys(settings)
    wanted = [*_servers(settings), *_clients()]
    missing = [each for each in wanted if not (settings.pki / f"{each.name}.crt").is_file()]
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda each: _issue(settings, each), missing))
    write(settings.kubeconfig, kubeconfig(settings, "admin"), 0o600)
    return bool(missing)


def ensure_node(settings: Settings, number: int) -> None:
    """Make the certificate of one node unless it exists."""
    wanted = node_certificate(settings.node_name(number))
    if not (settings.pki / f"{wanted.name}.kubeconfig").is_file():
        _issue(settings, wanted)

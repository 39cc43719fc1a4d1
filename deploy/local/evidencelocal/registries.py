# SPDX-License-Identifier: Apache-2.0
"""Two registries as host processes: one with TLS and a password, one in plain HTTP with the referrers API."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from evidencelocal import processes
from evidencelocal.settings import REGISTRY_USER, Settings
from evidencelocal.shell import run, wait_for, write

COMPONENTS = ("registry", "referrers-registry")


def password_file(settings: Settings) -> Path:
    """The file that holds the password of the user `evidence`, readable by root only."""
    return settings.state / "registry.password"


def _htpasswd(settings: Settings) -> Path:
    password = password_file(settings)
    if not password.is_file():
        write(password, secrets.token_urlsafe(24), 0o600)
    # The password goes through standard input: an argument would show in the process list.
    line = run(["htpasswd", "-inB", REGISTRY_USER], stdin=password.read_text(encoding="ascii"))
    return write(settings.config / "htpasswd", line.strip() + "\n", 0o600)


def _configuration(settings: Settings) -> str:
    return f"""version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {settings.state}/registry}}, delete: {{enabled: true}}}}
http:
  addr: {settings.registry}
  secret: {secrets.token_hex(16)}
  tls: {{certificate: {settings.pki}/registry.crt, key: {settings.pki}/registry.key}}
auth: {{htpasswd: {{realm: {settings.context}, path: {settings.config}/htpasswd}}}}
"""


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


def ready(settings: Settings) -> bool:
    """Whether both registries accept connections."""
    return _listens(settings.registry) and _listens(settings.referrers_registry)


def start(settings: Settings, programs: Path) -> bool:
    """Start the registries as far as they do not run; True when one was started."""
    configuration = settings.config / "registry.yaml"
    if not processes.find(settings, "registry"):
        _htpasswd(settings)
        write(configuration, _configuration(settings), 0o600)
    plain = [programs / "oci-registry", "--addr", settings.referrers_registry]
    return any(
        [
            processes.start(settings, "registry", ["docker-registry", "serve", configuration]),
            processes.start(settings, "referrers-registry", plain),
        ]
    )


def await_ready(settings: Settings) -> None:
    """Wait until both registries accept connections."""
    logs = [processes.log_of(settings, name) for name in COMPONENTS]
    wait_for("registries listen", lambda: ready(settings), timeout=20, logs=logs)

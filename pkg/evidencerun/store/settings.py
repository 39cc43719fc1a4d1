# SPDX-License-Identifier: Apache-2.0
"""The store's settings, read once from the environment (names: the chart's StatefulSet)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evidencerun.errors import InputError

_CLUSTER_CA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the store keeps things, whom it listens to, and which namespaces it knows."""

    data: Path
    system_namespace: str = "evidencerun-system"
    probes_namespace: str = "evidencerun-probes"
    checks_namespace: str = "evidencerun-checks"
    run_namespaces: tuple[str, ...] = ("evidence",)
    persistent: bool = True
    host: str = ""
    """Listening address; empty: all of IPv4 and IPv6."""
    port: int = 8443
    service: str = "evidence-store"
    public_config_map: str = "evidence-public"
    cluster_ca: Path = Path(_CLUSTER_CA)
    kubeconfig: str = ""
    """Only outside a cluster; empty: the pod's own ServiceAccount."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings; raises `InputError` E4501 for a value that makes no sense."""
        namespaces = tuple(n for n in env.get("EVIDENCERUN_RUN_NAMESPACES", "evidence").split(",") if n)
        persistent = env.get("EVIDENCERUN_PERSISTENT", "true")
        port = env.get("EVIDENCERUN_PORT", "8443")
        if persistent not in ("true", "false"):
            raise _wrong("EVIDENCERUN_PERSISTENT", persistent, "true or false")
        if not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise _wrong("EVIDENCERUN_PORT", port, "a port number")
        if not namespaces:
            raise _wrong("EVIDENCERUN_RUN_NAMESPACES", "", "namespace names, separated by commas")
        return cls(
            data=Path(env.get("EVIDENCERUN_DATA", "/data")),
            system_namespace=env.get("EVIDENCERUN_SYSTEM_NAMESPACE", "evidencerun-system"),
            probes_namespace=env.get("EVIDENCERUN_PROBES_NAMESPACE", "evidencerun-probes"),
            checks_namespace=env.get("EVIDENCERUN_CHECKS_NAMESPACE", "evidencerun-checks"),
            run_namespaces=namespaces,
            persistent=persistent == "true",
            host=env.get("EVIDENCERUN_HOST", ""),
            port=int(port),
            cluster_ca=Path(env.get("EVIDENCERUN_CLUSTER_CA_FILE", _CLUSTER_CA)),
            kubeconfig=env.get("KUBECONFIG", ""),
        )

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names under which the Service is reached; the first is the one in URLs."""
        base = f"{self.service}.{self.system_namespace}"
        return (f"{base}.svc", f"{base}.svc.cluster.local", base, self.service, "localhost")


def _wrong(name: str, found: str, expected: str) -> InputError:
    return InputError("E4501", f"{name} is {found!r}", why=f"expected {expected}", fix="correct the chart's values")

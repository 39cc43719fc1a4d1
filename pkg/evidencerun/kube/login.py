# SPDX-License-Identifier: Apache-2.0
"""Where the API server is and who we are: a kubeconfig, or the pod's ServiceAccount."""

from __future__ import annotations

from dataclasses import dataclass

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from evidencerun.errors import ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Where the API server is and who we are, for programs that open connections of their own. Paths may be empty."""

    server: str
    ca_path: str
    token: str
    certificate_path: str
    key_path: str
    insecure: bool


async def configuration(kubeconfig: str) -> Configuration:
    """Return the client's configuration: from `kubeconfig` if given, else from the pod's ServiceAccount.

    The ServiceAccount's token is read anew every minute. Raises `ClusterError` E3011 if there are no credentials.
    """
    found = Configuration()
    try:
        if kubeconfig:
            await load_kube_config(config_file=kubeconfig, client_configuration=found, persist_config=False)
        else:
            load_incluster_config(found)
    except (ConfigException, OSError, ValueError) as exc:
        raise ClusterError(
            "E3011",
            "no credentials for the Kubernetes API",
            where=kubeconfig or "the pod's ServiceAccount",
            why=str(exc),
            fix="run inside a pod with a ServiceAccount, or name a kubeconfig",
            retryable=False,
        ) from exc
    # Proxy variables in a pod's environment must not hijack traffic inside the cluster.
    found.client_session_kwargs = {"trust_env": False}
    return found


async def credentials(*, kubeconfig: str = "") -> Credentials:
    """Return what a connection would use, read now. Raises `ClusterError` E3011."""
    found = await configuration(kubeconfig)
    bearer = str(found.api_key.get("BearerToken") or "")
    return Credentials(
        server=str(found.host),
        ca_path=str(found.ssl_ca_cert or ""),
        token=bearer.split(" ", 1)[-1].strip(),
        certificate_path=str(found.cert_file or ""),
        key_path=str(found.key_file or ""),
        insecure=not found.verify_ssl,
    )

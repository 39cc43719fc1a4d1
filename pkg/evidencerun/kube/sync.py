# SPDX-License-Identifier: Apache-2.0
"""The cluster as the command line sees it: the user's kubeconfig, plain dicts, synchronous calls.

The configuration (contexts, client certificates, exec plugins of the clouds) is read by the official client; requests
go through its generic call, so that no typed model is ever built.
"""

from __future__ import annotations

import ssl
import urllib.parse
from typing import Any, Final

from evidencerun import __version__, limits
from evidencerun.errors import ClusterError, InputError
from evidencerun.kube.answers import object_in, refusal
from evidencerun.kube.base import EVIDENCE_RUNS, Object

_SECONDS: Final = 30


class KubeconfigCluster:
    """A cluster reached through a kubeconfig; `namespace` is the one of the chosen context."""

    def __init__(self, api_client: Any, namespace: str, context: str) -> None:
        self._api = api_client
        self.namespace = namespace
        self.context = context

    @classmethod
    def from_kubeconfig(cls, path: str | None = None, context: str | None = None) -> KubeconfigCluster:
        """Read the kubeconfig (`path`, else KUBECONFIG, else ~/.kube/config).

        Raises `InputError` E1401 if there is none or it has no such context.
        """
        import yaml
        from kubernetes import config  # most commands never need a cluster

        try:
            contexts, active = config.list_kube_config_contexts(config_file=path)
            chosen = next((c for c in contexts if c["name"] == context), None) if context else active
            if chosen is None:
                names = ", ".join(c["name"] for c in contexts)
                fix = "kubectl config get-contexts"
                raise InputError("E1401", f"the kubeconfig has no context {context!r}", why=f"it has: {names}", fix=fix)
            client = config.new_client_from_config(config_file=path, context=chosen["name"])
        except (config.ConfigException, yaml.YAMLError, OSError, TypeError, ValueError) as error:
            raise InputError(
                "E1401",
                "no usable kubeconfig",
                where=path or "KUBECONFIG",
                why=_kubeconfig_fault(error),
                fix="export KUBECONFIG=<file>, or pass --kubeconfig",
            ) from error
        client.user_agent = f"evr/{__version__}"
        return cls(client, chosen["context"].get("namespace") or "default", chosen["name"])

    def get(self, path: str, *, max_bytes: int = limits.KUBE_RUNS_MAX) -> Object:
        """GET a JSON object."""
        return object_in(self.get_bytes(path, max_bytes=max_bytes), path)

    def get_bytes(self, path: str, *, max_bytes: int, timeout: int = _SECONDS) -> bytes:
        """GET raw bytes, at most `max_bytes` of them; `ClusterError` E3010 if there are more."""
        return self._request("GET", path, max_bytes=max_bytes, timeout=timeout)

    def create(self, path: str, body: Object) -> Object:
        """POST an object, with strict field validation."""
        query = "fieldValidation=Strict&fieldManager=evr"
        data = self._request("POST", f"{path}?{query}", body=body, max_bytes=limits.KUBE_RUNS_MAX)
        return object_in(data, path)

    def _request(
        self, method: str, path: str, *, max_bytes: int, body: Object | None = None, timeout: int = _SECONDS
    ) -> bytes:
        import urllib3  # comes with the client, see above

        route, _, query = path.partition("?")
        method, url, headers, payload, _ = self._api.param_serialize(
            method=method,
            resource_path=route,
            query_params=urllib.parse.parse_qsl(query),
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._api.call_api(method, url, headers, payload, _request_timeout=(5, timeout)).response
            data: bytes = answer.read(max_bytes + 1, decode_content=False) or b""
        except (urllib3.exceptions.HTTPError, ssl.SSLError, OSError) as error:
            raise _unreachable(error, str(self._api.configuration.host)) from error
        if answer.status >= 300:
            raise refusal(answer.status, data, f"{method} {route}")
        if len(data) > max_bytes:
            raise ClusterError("E3010", f"{route} is longer than {max_bytes} bytes", retryable=False)
        return data


def _kubeconfig_fault(error: Exception) -> str:
    """Return the words of the reader for a fault of its own kind; others are accidents of a file that is none."""
    from kubernetes import config

    words = _first_line(error)
    return words if isinstance(error, config.ConfigException | OSError) else f"it is no kubeconfig ({words})"


def _unreachable(error: Exception, server: str) -> ClusterError:
    """Return E3002 if the time was over, also that of the last of several attempts; else E3001."""
    import urllib3

    cause = getattr(error, "reason", None) or error
    why = _first_line(error)
    # To urllib3 a refused connection is a kind of timeout.
    refused = isinstance(cause, urllib3.exceptions.NewConnectionError)
    if isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError) and not refused:
        return ClusterError(
            "E3002", f"the API server {server} did not answer in time", why=why, fix="kubectl cluster-info"
        )
    return ClusterError("E3001", f"the API server {server} does not answer", why=why, fix="kubectl cluster-info")


def run_path(namespace: str, name: str = "") -> str:
    """Return the API path of one EvidenceRun or of all in a namespace; `InputError` E1408 for an impossible name."""
    try:
        return EVIDENCE_RUNS.path(namespace=namespace, name=name)
    except ValueError as error:
        raise InputError(
            "E1408",
            "no run and no namespace can have this name",
            where=f"{namespace}/{name}",
            why=str(error),
            fix="evr status -A",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]

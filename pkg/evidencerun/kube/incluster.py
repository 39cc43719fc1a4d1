# SPDX-License-Identifier: Apache-2.0
"""Read-only, synchronous view of the Kubernetes API from inside a pod: GET and chunked lists, nothing else.

For checks with the rights `aicr-read`. The standard library is enough and starts in 0.06 s; one connection is kept for
all requests. Token and CA are read from the projected volume.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from evidencerun import limits
from evidencerun.errors import ClusterError
from evidencerun.kube.answers import object_in, refusal
from evidencerun.kube.base import Object, Resource

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PAGE: Final = 250
_SOCKET_SECONDS: Final = 10.0
_DELAYS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Between attempts after an error that may pass: six looks in some eight seconds."""


class InClusterReader:
    """Reads objects as plain dicts. Every failure is a `ClusterError` with the codes of `kube.base`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        context: ssl.SSLContext,
        token_file: Path,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = HTTPSConnection(host, port, timeout=_SOCKET_SECONDS, context=context)
        self._token_file = token_file
        self._sleep = sleep

    def __enter__(self) -> InClusterReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, resource: Resource, name: str, *, namespace: str = "") -> Object:
        """Return one object. E3005 if there is none, E3004 if a right is missing.

        Raises `ValueError` for a name or namespace that is no path segment.
        """
        return self._get(resource.path(namespace=namespace, name=name))

    def list(self, resource: Resource, *, namespace: str, label_selector: str) -> Iterator[Object]:
        """Yield the objects of a namespace that match a selector, page by page."""
        path = resource.path(namespace=namespace)
        token = ""
        for _ in range(limits.KUBE_PAGES_MAX):
            query = {"labelSelector": label_selector, "limit": str(_PAGE)}
            page = self._get(f"{path}?{urlencode(query | ({'continue': token} if token else {}))}")
            yield from page.get("items") or []
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return
        raise ClusterError(
            "E3010",
            f"more than {limits.KUBE_PAGES_MAX * _PAGE} objects match",
            where=path,
            why=label_selector,
            retryable=False,
        )

    def _get(self, path: str) -> Object:
        for delay in _DELAYS:
            try:
                return self._once(path)
            except ClusterError as fault:
                if not fault.retryable:
                    raise
            self._sleep(delay)
        return self._once(path)

    def _once(self, path: str) -> Object:
        headers = {"Accept": "application/json", "User-Agent": "evidencerun-check", **self._authorization()}
        try:
            self._connection.request("GET", path, headers=headers)
            response = self._connection.getresponse()
            data = response.read(limits.KUBE_OBJECT_MAX + 1)
        except TimeoutError as fault:
            self._connection.close()
            raise ClusterError("E3002", "the API server did not answer in time", where=path) from fault
        except (OSError, HTTPException) as fault:
            self._connection.close()
            why = f"{type(fault).__name__}: {fault}"
            raise ClusterError("E3001", "the API server cannot be reached", where=path, why=why) from fault
        if len(data) > limits.KUBE_OBJECT_MAX:
            self._connection.close()
            raise ClusterError(
                "E3010", f"the answer has more than {limits.KUBE_OBJECT_MAX} bytes", where=path, retryable=False
            )
        if response.status >= 300:
            raise refusal(response.status, data, path)
        return object_in(data, path)

    def _authorization(self) -> dict[str, str]:
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as fault:
            raise _no_credentials(self._token_file, fault) from fault
        return {"Authorization": f"Bearer {token}"}


def reader_from_pod(environ: Mapping[str, str], *, folder: Path = SERVICE_ACCOUNT) -> InClusterReader:
    """Return the reader of this pod. Raises `ClusterError` E3011 if the pod has no API access."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not port.isdecimal():
        raise ClusterError(
            "E3011", "no API server is named", where="KUBERNETES_SERVICE_HOST", why="not in a pod", retryable=False
        )
    try:
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    except (OSError, ssl.SSLError) as fault:
        raise _no_credentials(folder / "ca.crt", fault) from fault
    return InClusterReader(host, int(port), context=context, token_file=folder / "token")


def _no_credentials(place: Path, fault: Exception) -> ClusterError:
    return ClusterError(
        "E3011",
        "this pod has no credentials for the API",
        where=str(place),
        why=f"{type(fault).__name__}: {fault}",
        fix="give the check the rights aicr-read in the policy's catalog",
        retryable=False,
    )

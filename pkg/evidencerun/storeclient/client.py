# SPDX-License-Identifier: Apache-2.0
"""One HTTPS client for the evidence store: a connection per request, bounded bodies, the token read anew each time.

The token file is projected and rotated by the kubelet, so it is never kept. Redirects are not followed: the store
sends none, and a token must not travel to another host.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import SplitResult, urlsplit

from evidencerun import limits
from evidencerun.errors import StoreError
from evidencerun.storeclient.exchange import Exchange, unreachable

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the store is and how to speak to it.

    `ca_pem` is the store's own CA and the only one trusted. `token_file` None: no Authorization header (bundles are
    fetched by their digest). Plain `http` is accepted for loopback hosts only.
    """

    url: str
    ca_pem: str = ""
    token_file: Path | None = None
    socket_seconds: float = 15.0
    """Longest silence on the socket."""
    request_seconds: float = 600.0
    """Longest whole request, body included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole response. Header names are lowercase."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What was written: its `sha256:` digest and its size in bytes."""

    digest: str
    size: int


class StoreClient:
    """Requests to one store. Every failure is a `StoreError`.

    E7000 for settings that cannot be used, E7001 no answer, E7002 a refusal (`StoreRefusedError`), E7003 an answer that
    is too long, E7004 no token.
    """

    def __init__(self, endpoint: Endpoint, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        parts = _store_url(endpoint.url)
        self._endpoint = endpoint
        self._host = parts.hostname or ""
        self._port = parts.port
        self._tls = _tls_context(endpoint.ca_pem) if parts.scheme == "https" else None
        self._monotonic = monotonic

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset({200, 201}),
        max_bytes: int = limits.STORE_ANSWER_MAX,
    ) -> Answer:
        """Send one request and return the whole answer if its status is in `accept`."""
        with self._open(method, path, body, headers) as exchange:
            exchange.require(accept)
            data = b"".join(exchange.chunks(max_bytes))
            names = {name.lower(): value for name, value in exchange.response.getheaders()}
            return Answer(status=exchange.response.status, headers=names, body=data)

    def download(self, path: str, target: BinaryIO, *, max_bytes: int) -> Download:
        """GET `path` into `target` in pieces; return digest and size of what was written."""
        digest = hashlib.sha256()
        size = 0
        with self._open("GET", path, b"", None) as exchange:
            exchange.require(frozenset({200}))
            for chunk in exchange.chunks(max_bytes):
                digest.update(chunk)
                size += len(chunk)
                target.write(chunk)
        return Download(digest=f"sha256:{digest.hexdigest()}", size=size)

    def _open(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None) -> Exchange:
        seconds = self._endpoint.socket_seconds
        connection: HTTPConnection
        if self._tls is None:
            connection = HTTPConnection(self._host, self._port, timeout=seconds)
        else:
            connection = HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
        request = f"{method} {path}"
        deadline = self._monotonic() + self._endpoint.request_seconds
        try:
            connection.request(method, path, body=body or None, headers=self._headers(body, headers))
            response = connection.getresponse()
        except (OSError, HTTPException) as fault:
            connection.close()
            raise unreachable(request, fault) from fault
        return Exchange(request, connection, response, deadline=deadline, monotonic=self._monotonic)

    def _headers(self, body: bytes, extra: Mapping[str, str] | None) -> dict[str, str]:
        headers = {"User-Agent": "evidencerun", **(extra or {})}
        if body:
            digest = b64encode(hashlib.sha256(body).digest()).decode()
            headers["Content-Digest"] = f"sha-256=:{digest}:"
        if self._endpoint.token_file is not None:
            headers["Authorization"] = f"Bearer {_read_token(self._endpoint.token_file)}"
        return headers


def _store_url(url: str) -> SplitResult:
    """Return the parts of the store's URL; https, or http to this machine, with a host and no impossible port."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise StoreError("E7000", f"{url[:200]!r} is not the URL of a store", retryable=False)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise StoreError("E7000", "the store is only spoken to over https", where=parts.hostname or "", retryable=False)
    return parts


def _tls_context(ca_pem: str) -> ssl.SSLContext:
    try:
        if not ca_pem.strip():
            # Python would trust the authorities of the system instead.
            raise ValueError("it is empty")
        return ssl.create_default_context(cadata=ca_pem)
    except (ssl.SSLError, TypeError, ValueError) as fault:  # TypeError: not ASCII
        raise StoreError(
            "E7000",
            "no usable CA of the store is given",
            where="EVIDENCERUN_STORE_CA",
            why=str(fault),
            fix="set it to the PEM text of ca.crt in ConfigMap evidence-public",
            retryable=False,
        ) from fault


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            token = file.read(limits.TOKEN_MAX + 1)
    except OSError as fault:
        raise StoreError("E7004", "the token cannot be read", where=str(path), why=str(fault)) from fault
    text = token.decode("ascii", "replace").strip()
    if len(token) > limits.TOKEN_MAX or not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", text):
        raise StoreError("E7004", "the token is not one", where=str(path), why="found other bytes than a token has")
    return text

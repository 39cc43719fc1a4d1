# SPDX-License-Identifier: Apache-2.0
"""One HTTPS client for the evidence store: a connection per request, bounded bodies, the token read anew each time.

The token file is projected and rotated by the kubelet, so it is never kept. Redirects are not followed: the store
sends none, and a token must not travel to another host.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from evidencerun import limits
from evidencerun.errors import StoreError

_CHUNK: Final = 64 * limits.KIB
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class StoreRefusedError(StoreError):
    """The store answered, with another status than was asked for.

    `status` is the HTTP status, `retry_after` the seconds of a Retry-After header, 0 without one.
    """

    def __init__(self, what: str, *, status: int, retry_after: float, why: str) -> None:
        super().__init__("E7002", what, why=why, retryable=status in _WORTH_ANOTHER_TRY)
        self.status = status
        self.retry_after = retry_after


_WORTH_ANOTHER_TRY: Final = frozenset({401, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504})
"""401 to 409 as well: a token is rotated, a run becomes known to the store a moment later."""


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
    """Requests to one store. Every failure is a `StoreError`: E7001 no answer, E7002 a refusal, E7003 too large."""

    def __init__(self, endpoint: Endpoint, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        parts = urlsplit(endpoint.url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host:
            raise StoreError("E7000", f"{endpoint.url[:200]!r} is not the URL of a store", retryable=False)
        if parts.scheme == "http" and host not in _LOOPBACK:
            raise StoreError("E7000", "the store is only spoken to over https", where=host, retryable=False)
        self._endpoint = endpoint
        self._host = host
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
            return Answer(status=exchange.response.status, headers=_lower(exchange.response), body=data)

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

    def _open(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None) -> _Exchange:
        seconds = self._endpoint.socket_seconds
        connection: HTTPConnection
        if self._tls is None:
            connection = HTTPConnection(self._host, self._port, timeout=seconds)
        else:
            connection = HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
        what = f"{method} {path}"
        deadline = self._monotonic() + self._endpoint.request_seconds
        try:
            connection.request(method, path, body=body or None, headers=self._headers(body, headers))
            response = connection.getresponse()
        except (OSError, HTTPException) as fault:
            connection.close()
            raise _unreachable(what, fault) from fault
        return _Exchange(what, connection, response, deadline=deadline, monotonic=self._monotonic)

    def _headers(self, body: bytes, extra: Mapping[str, str] | None) -> dict[str, str]:
        headers = {"User-Agent": "evidencerun", "Accept-Encoding": "identity", **(extra or {})}
        if body:
            digest = b64encode(hashlib.sha256(body).digest()).decode()
            headers["Content-Digest"] = f"sha-256=:{digest}:"
        if self._endpoint.token_file is not None:
            headers["Authorization"] = f"Bearer {_read_token(self._endpoint.token_file)}"
        return headers


class _Exchange:
    """One response that is being read; closes its connection at the end of the `with` block."""

    def __init__(
        self,
        what: str,
        connection: HTTPConnection,
        response: HTTPResponse,
        *,
        deadline: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.what = what
        self.response = response
        self._connection = connection
        self._deadline = deadline
        self._monotonic = monotonic

    def __enter__(self) -> _Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def require(self, accept: frozenset[int]) -> None:
        """Raise `StoreRefusedError` with the store's own words unless the status is one of `accept`."""
        status = self.response.status
        if status in accept:
            return
        data = b"".join(self.chunks(limits.STORE_ANSWER_MAX))
        raise StoreRefusedError(
            f"the store answered {status} to {self.what}",
            status=status,
            retry_after=_retry_after(self.response.headers.get("Retry-After", "")),
            why=_status_message(data),
        )

    def chunks(self, max_bytes: int) -> _Chunks:
        """Return the body in pieces; E7003 as soon as it is longer than `max_bytes`."""
        return _Chunks(self, max_bytes)

    def read(self) -> bytes:
        """Return the next piece of the body, empty at its end."""
        if self._monotonic() > self._deadline:
            raise StoreError("E7001", f"the store took too long to answer {self.what}")
        try:
            return self.response.read(_CHUNK)
        except (OSError, HTTPException) as fault:
            raise _unreachable(self.what, fault) from fault


class _Chunks:
    """Iterates over a body and counts."""

    def __init__(self, exchange: _Exchange, max_bytes: int) -> None:
        self._exchange = exchange
        self._max = max_bytes
        self._seen = 0

    def __iter__(self) -> _Chunks:
        return self

    def __next__(self) -> bytes:
        chunk = self._exchange.read()
        if not chunk:
            self._check_complete()
            raise StopIteration
        self._seen += len(chunk)
        if self._seen > self._max:
            raise StoreError(
                "E7003",
                f"the answer to {self._exchange.what} is too long",
                why=f"more than {self._max} bytes",
                retryable=False,
            )
        return chunk

    def _check_complete(self) -> None:
        """`HTTPResponse.read(n)` ends quietly when the peer closes early; the promised length does not."""
        promised = self._exchange.response.headers.get("Content-Length", "")
        if promised.isdigit() and self._seen < int(promised):
            raise StoreError(
                "E7001",
                f"the answer to {self._exchange.what} broke off",
                why=f"{self._seen} of {promised} bytes arrived",
            )


def _tls_context(ca_pem: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca_pem) if ca_pem.strip() else None
    if context is None:
        raise StoreError(
            "E7000",
            "no CA of the store is given",
            where="EVIDENCERUN_STORE_CA",
            fix="set it to the PEM text of ca.crt in ConfigMap evidence-public",
            retryable=False,
        )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


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


def _retry_after(text: str) -> float:
    """Return whole seconds; the date form of the header is not used by the store."""
    return min(float(text), limits.RETRY_AFTER_MAX) if re.fullmatch(r"[0-9]{1,6}", text.strip()) else 0.0


def _status_message(data: bytes) -> str:
    """Return `message` of a Kubernetes Status, else the start of the text."""
    try:
        document = json.loads(data)
    except ValueError:
        return data[:300].decode("utf-8", "replace").strip()
    message = document.get("message") if isinstance(document, dict) else None
    return str(message)[:1000] if message else ""


def _lower(response: HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _unreachable(what: str, fault: Exception) -> StoreError:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return StoreError(
            "E7001",
            f"{what} failed: the store's certificate is not accepted",
            why=fault.verify_message,
            fix="the store has a new CA; a pod made from now on carries it",
        )
    return StoreError("E7001", f"the store does not answer {what}", why=f"{type(fault).__name__}: {fault}")

# SPDX-License-Identifier: Apache-2.0
"""Requests to one registry: authorization, bounded retries, redirects without credentials, bounded bodies."""

from __future__ import annotations

import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx

from evidencerun import __version__, limits
from evidencerun.errors import RegistryError
from evidencerun.oci.authorizer import Authorizer, parse_challenge
from evidencerun.oci.bodies import body_of, start_of
from evidencerun.oci.credentials import ANONYMOUS, Credentials
from evidencerun.oci.faults import mismatch, refusal, unreachable
from evidencerun.oci.urls import absolute

_ATTEMPTS: Final = 5
_DELAY_CAP: Final = 16.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MAX: Final = 4
_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """How a registry is reached. `ca_pem` is trusted beside the system's authorities."""

    registry: str
    credentials: Credentials = ANONYMOUS
    ca_pem: str = ""
    plain_http: bool = False
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.SystemRandom().uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as it is meant; it may be sent several times.

    `path` is relative to /v2/, or a URL of the registry's own. `scope` is the right that is needed, `accept` holds the
    statuses that are answers; any other is a refusal.
    """

    method: str
    path: str
    scope: str
    accept: frozenset[int]
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    attempts: int = _ATTEMPTS


class Transport:
    """Sends requests to one registry and hands back responses of the expected status; else raises `RegistryError`."""

    def __init__(self, access: RegistryAccess, *, transport: httpx.BaseTransport | None = None) -> None:
        self._access = access
        self._http = httpx.Client(
            verify=_tls(access.ca_pem),
            timeout=_TIMEOUT,
            follow_redirects=False,
            headers={"User-Agent": f"evidencerun/{__version__}"},
            transport=transport,
        )
        self._authorizer = Authorizer(self._http, access.credentials, plain_http=access.plain_http)
        scheme = "http" if access.plain_http else "https"
        self.base = httpx.URL(f"{scheme}://{access.registry}/v2/")

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    @contextmanager
    def open(self, call: Call) -> Iterator[httpx.Response]:
        """Yield a response whose body has not been read."""
        url = self.url(call.path)
        response = self._follow(call, self._patiently(call, url))
        try:
            if response.status_code not in call.accept:
                raise refusal(response.status_code, _where(call, url), start_of(response))
            yield response
        finally:
            response.close()

    def send(self, call: Call, *, max_bytes: int = limits.OCI_MANIFEST_MAX) -> tuple[httpx.Response, bytes]:
        """Return a response and its whole body."""
        with self.open(call) as response:
            return response, b"".join(body_of(response, max_bytes))

    def url(self, path: str) -> httpx.URL:
        """Return the absolute URL of a path or of a Location header. Only the registry's own host is accepted."""
        url = absolute(str(self.base), path)
        if not self._is_registry(url):
            raise mismatch(str(self.base), "the registry sends a write to another host", f"found {str(url)[:200]!r}")
        return url

    def _is_registry(self, url: httpx.URL) -> bool:
        return (url.scheme, url.host, url.port) == (self.base.scheme, self.base.host, self.base.port)

    def _patiently(self, call: Call, url: httpx.URL) -> httpx.Response:
        """Return the last response, trying again after errors that may pass."""
        for attempt in range(1, call.attempts + 1):
            last = attempt == call.attempts
            try:
                response = self._authorized(call, url)
            except RegistryError as fault:
                if last or not fault.retryable:
                    raise
                self._pause(attempt, "")
                continue
            if last or response.status_code not in (429, 502, 503, 504):
                return response
            response.close()
            self._pause(attempt, response.headers.get("Retry-After", ""))
        raise AssertionError("the last attempt returns or raises")

    def _authorized(self, call: Call, url: httpx.URL) -> httpx.Response:
        """Send once; after a challenge once more, with what it asks for."""
        response = self._once(call, url, self._authorizer.header(call.scope))
        if response.status_code != 401:
            return response
        challenge = parse_challenge(response.headers.get("WWW-Authenticate", ""))
        if not self._authorizer.answer(challenge, call.scope, str(self.base)):
            return response
        response.close()
        return self._once(call, url, self._authorizer.header(call.scope))

    def _once(self, call: Call, url: httpx.URL, authorization: str = "") -> httpx.Response:
        headers = {**call.headers, **({"Authorization": authorization} if authorization else {})}
        request = self._http.build_request(call.method, url, headers=headers, content=call.content)
        try:
            return self._http.send(request, stream=True)
        except httpx.HTTPError as fault:
            raise unreachable(_where(call, url), fault) from fault

    def _follow(self, call: Call, response: httpx.Response) -> httpx.Response:
        """Follow redirects of reads, to object stores mostly, without the Authorization header."""
        for _ in range(_REDIRECTS_MAX):
            if response.status_code not in _REDIRECTS or call.method not in ("GET", "HEAD"):
                return response
            url = absolute(str(response.url), response.headers.get("Location", ""))
            response.close()
            if url.scheme != "https" and not (self._access.plain_http and url.scheme == "http"):
                raise mismatch(str(self.base), "the registry redirects to a place without TLS", f"found {url.host!r}")
            response = self._once(call, url)
        if response.status_code in _REDIRECTS:
            response.close()
            raise mismatch(str(self.base), "the registry redirects too often", f"more than {_REDIRECTS_MAX} times")
        return response

    def _pause(self, attempt: int, retry_after: str) -> None:
        asked = float(retry_after) if re.fullmatch(r"[0-9]{1,4}", retry_after) else 0.0
        jitter = self._access.uniform(0.0, min(_DELAY_CAP, 0.5 * 2.0**attempt))
        self._access.sleep(min(asked, limits.RETRY_AFTER_MAX) + jitter)


def _where(call: Call, url: httpx.URL) -> str:
    """Return the request in words, without its query: that may hold a signature."""
    return f"{call.method} {url.netloc.decode()}{url.path}"


def _tls(ca_pem: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_pem.strip():
        try:
            context.load_verify_locations(cadata=ca_pem)
        except (ssl.SSLError, TypeError) as fault:  # TypeError: not ASCII
            raise RegistryError(
                "E7419",
                "the registry's CA cannot be read",
                where="ca.crt",
                why=str(fault),
                fix="put a PEM certificate into the Secret as ca.crt",
                retryable=False,
            ) from fault
    return context

# SPDX-License-Identifier: Apache-2.0
"""Answers a registry's challenge: Basic, or a Bearer token per scope from its token service.

Credentials go to the registry and to the token service that it names, over TLS unless the registry itself is spoken to
over plain HTTP; they never go anywhere else.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from evidencerun import limits
from evidencerun.canonical import parse_json
from evidencerun.errors import InputError, RegistryError
from evidencerun.oci.bodies import body_of, start_of
from evidencerun.oci.credentials import ANONYMOUS, Credentials
from evidencerun.oci.faults import refusal, unreachable
from evidencerun.oci.urls import absolute

_PARAMETER: Final = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A WWW-Authenticate header: scheme in lowercase and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenge(header: str) -> Challenge:
    """Return the first challenge of a header; an empty scheme if there is none."""
    scheme, _, rest = header.strip().partition(" ")
    parameters = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
    return Challenge(scheme=scheme.lower(), parameters=parameters)


class Authorizer:
    """Keeps one Authorization header per scope."""

    def __init__(self, http: httpx.Client, credentials: Credentials = ANONYMOUS, *, plain_http: bool = False) -> None:
        self._http = http
        self._credentials = credentials
        self._plain_http = plain_http
        self._headers: dict[str, str] = {}

    def header(self, scope: str) -> str:
        """Return the header for a scope, empty if none has been asked for yet."""
        return self._headers.get(scope, "")

    def answer(self, challenge: Challenge, scope: str, where: str) -> bool:
        """Get a header for `scope`; return whether another attempt makes sense.

        Raises `RegistryError` if the token service refuses or does not answer.
        """
        before = self._headers.pop(scope, "")
        if challenge.scheme == "basic":
            header = self._basic()
        elif challenge.scheme == "bearer":
            header = self._bearer(challenge, scope, where)
        else:
            header = ""
        if not header or (header == before and challenge.scheme == "basic"):
            return False
        self._headers[scope] = header
        return True

    def _basic(self) -> str:
        if not self._credentials.username:
            return ""
        pair = f"{self._credentials.username}:{self._credentials.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def _bearer(self, challenge: Challenge, scope: str, where: str) -> str:
        realm = challenge.parameters.get("realm", "")
        url = absolute(where, realm)
        secure = url.scheme == "https" or (self._plain_http and url.scheme == "http")
        if not secure or not realm.startswith("http"):
            raise RegistryError(
                "E7421",
                "the registry names no token service with TLS",
                where=where,
                why=f"realm {realm[:200]!r}",
                retryable=False,
            )
        # Some registries want their own scope word back; most leave it to the client.
        asked = challenge.parameters.get("scope") or scope
        parameters = {"service": challenge.parameters.get("service", ""), "scope": asked}
        answer = self._ask(url, parameters, where)
        return f"Bearer {_token_in(answer, where)}"

    def _ask(self, url: httpx.URL, parameters: dict[str, str], where: str) -> bytes:
        credentials = self._credentials
        try:
            if credentials.identity_token:
                form = {
                    **parameters,
                    "grant_type": "refresh_token",
                    "refresh_token": credentials.identity_token,
                    "client_id": "evidencerun",
                }
                request, auth = self._http.build_request("POST", url, data=form), None
            else:
                request = self._http.build_request("GET", url, params=parameters)
                auth = (credentials.username, credentials.password) if credentials.username else None
            response = self._http.send(request, auth=auth, stream=True)
        except httpx.HTTPError as fault:
            raise unreachable(f"token service {url.host}", fault) from fault
        try:
            if response.status_code != 200:
                raise refusal(response.status_code, f"token service {url.host} for {where}", start_of(response))
            return b"".join(body_of(response, limits.OCI_TOKEN_ANSWER_MAX))
        finally:
            response.close()


def _token_in(answer: bytes, where: str) -> str:
    try:
        document = parse_json(answer, what="the token", max_bytes=limits.OCI_TOKEN_ANSWER_MAX)
    except InputError as fault:
        raise RegistryError(
            "E7421", "the token service's answer cannot be read", where=where, why=str(fault)
        ) from fault
    fields = document if isinstance(document, dict) else {}
    token = fields.get("token") or fields.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise RegistryError("E7421", "the token service gave no token", where=where)
    return token

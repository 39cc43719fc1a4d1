# SPDX-License-Identifier: Apache-2.0
"""Turns a registry's refusal into an error that says what to mend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from evidencerun.errors import RegistryError

_WORTH_ANOTHER_TRY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_WORDS: Final[Mapping[int, tuple[str, str, str]]] = {
    401: (
        "E7411",
        "the registry does not accept the credentials",
        "check user and password of this registry in the Secret (kubernetes.io/dockerconfigjson)",
    ),
    403: (
        "E7412",
        "the registry forbids it",
        "grant this user push rights on the repository, or create the repository",
    ),
    404: ("E7413", "the registry does not know it", "check host and path of the repository"),
    405: ("E7414", "the registry does not take writes", "name a registry that is no read-only mirror"),
    413: ("E7415", "the registry takes nothing so large", "raise the limit of the registry or of the proxy before it"),
    429: ("E7416", "the registry asks to slow down", "try again later, or with a login of a higher limit"),
}


class RegistryRefusedError(RegistryError):
    """The registry answered with another status than was asked for; `status` is the HTTP status."""

    def __init__(self, *, code: str, what: str, where: str, why: str, fix: str, status: int) -> None:
        super().__init__(code, what, where=where, why=why, fix=fix, retryable=status in _WORTH_ANOTHER_TRY)
        self.status = status


def refusal(status: int, where: str, body: bytes) -> RegistryRefusedError:
    """Return the error for a status, with the registry's own words as its cause."""
    code, what, fix = _WORDS.get(status, ("E7410", "the registry refuses", ""))
    if status >= 500:
        code, what, fix = "E7417", "the registry failed", "look into the registry's log"
    why = f"HTTP {status}" + (f": {words}" if (words := _words(body)) else "")
    return RegistryRefusedError(code=code, what=what, where=where, why=why, fix=fix, status=status)


def unreachable(where: str, fault: Exception) -> RegistryError:
    """Return the error for a registry that does not answer, or not over TLS that we accept."""
    text = f"{type(fault).__name__}: {fault}"[:500]
    if "CERTIFICATE_VERIFY_FAILED" in text:
        fix = "put the CA of the registry into the Secret as ca.crt"
        return RegistryError(
            "E7419", "the registry's certificate is not accepted", where=where, why=text, fix=fix, retryable=False
        )
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        fix = "set plainHTTP: true if the registry really speaks plain HTTP"
        return RegistryError(
            "E7419", "the registry does not speak TLS", where=where, why=text, fix=fix, retryable=False
        )
    return RegistryError(
        "E7418",
        "the registry does not answer",
        where=where,
        why=text,
        fix="check host and port, and that pods may reach it",
    )


def mismatch(where: str, what: str, why: str) -> RegistryError:
    """Return the error for bytes that are not those that were asked for."""
    return RegistryError("E7420", what, where=where, why=why, retryable=False)


def _words(body: bytes) -> str:
    """Return code and message of the distribution specification's error document, else the start of the text."""
    try:
        document = json.loads(body)
        first = document["errors"][0]
        words = f"{first.get('code', '')} {first.get('message', '')}".strip()[:300]
        return words if words.isprintable() else ascii(words)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        text = body[:200].decode("utf-8", "replace")
        return " ".join(text.split()) if text.isprintable() else ""

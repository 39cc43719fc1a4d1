# SPDX-License-Identifier: Apache-2.0
"""One answer of the evidence store while it is read: its status, its body in bounded pieces, and what can go wrong."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final

from evidencerun import limits
from evidencerun.errors import StoreError

_CHUNK: Final = 64 * limits.KIB
_WORTH_ANOTHER_TRY: Final = frozenset({401, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504})
"""401 to 409 as well: a token is rotated, a run becomes known to the store a moment later."""


class StoreRefusedError(StoreError):
    """The store answered, with another status than was asked for.

    `status` is the HTTP status, `retry_after` the seconds of a Retry-After header, 0 without one.
    """

    def __init__(self, what: str, *, status: int, retry_after: float, why: str) -> None:
        super().__init__("E7002", what, why=why, retryable=status in _WORTH_ANOTHER_TRY)
        self.status = status
        self.retry_after = retry_after


class Exchange:
    """One response that is being read; closes its connection at the end of the `with` block.

    `request` is method and path, for errors; `deadline` is in seconds of `monotonic`.
    """

    def __init__(
        self,
        request: str,
        connection: HTTPConnection,
        response: HTTPResponse,
        *,
        deadline: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.response = response
        self._request = request
        self._connection = connection
        self._deadline = deadline
        self._monotonic = monotonic

    def __enter__(self) -> Exchange:
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
            f"the store answered {status} to {self._request}",
            status=status,
            retry_after=_retry_after(self.response.headers.get("Retry-After", "")),
            why=_status_message(data),
        )

    def chunks(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the body in pieces. Raises E7003 as soon as it is longer than `max_bytes`, E7001 if it breaks off."""
        seen = 0
        while chunk := self._read():
            seen += len(chunk)
            if seen > max_bytes:
                why = f"more than {max_bytes} bytes"
                raise StoreError("E7003", f"the answer to {self._request} is too long", why=why, retryable=False)
            yield chunk
        # `HTTPResponse.read(n)` ends quietly when the peer closes early; what is left of the promised length tells.
        if self.response.length:
            why = f"{seen} of {seen + self.response.length} bytes arrived"
            raise StoreError("E7001", f"the answer to {self._request} broke off", why=why)

    def _read(self) -> bytes:
        if self._monotonic() > self._deadline:
            raise StoreError("E7001", f"the store took too long to answer {self._request}")
        try:
            return self.response.read(_CHUNK)
        except (OSError, HTTPException) as fault:
            raise unreachable(self._request, fault) from fault


def unreachable(request: str, fault: Exception) -> StoreError:
    """Return the error for a store that does not answer, or not under its own certificate."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return StoreError(
            "E7001",
            f"{request} failed: the store's certificate is not accepted",
            why=fault.verify_message,
            fix="the store has a new CA; a pod made from now on carries it",
        )
    return StoreError("E7001", f"the store does not answer {request}", why=f"{type(fault).__name__}: {fault}")


def _retry_after(text: str) -> float:
    """Return whole seconds; the date form of the header is not used by the store."""
    return min(float(text), limits.RETRY_AFTER_MAX) if re.fullmatch(r"[0-9]{1,6}", text.strip()) else 0.0


def _status_message(data: bytes) -> str:
    """Return `message` of a Kubernetes Status, else the start of the text."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return data[:300].decode("utf-8", "replace").strip()
    message = document.get("message") if isinstance(document, dict) else None
    return str(message)[:1000] if message else ""

# SPDX-License-Identifier: Apache-2.0
"""How the store says no: an exception with an HTTP status, answered as a Kubernetes `Status` object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from evidencerun.errors import ClusterError, Error, EvidenceError, InputError, StoreError
from evidencerun.store.disk import VolumeFullError

_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "Timeout",
    409: "Conflict",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    507: "InsufficientStorage",
}


class RefusalError(StoreError):
    """A request that is answered with `status` (4xx or 5xx); `causes` name the single faults."""

    def __init__(
        self,
        status: int,
        code: str,
        what: str,
        *,
        why: str = "",
        fix: str = "",
        causes: Sequence[str] = (),
        retry_after: int = 0,
    ) -> None:
        super().__init__(code, what, why=why, fix=fix, retryable=status >= 500 or status in (408, 429))
        self.status = status
        self.causes = tuple(causes)
        self.retry_after = retry_after


def not_found(what: str) -> RefusalError:
    """Return the refusal for something that is not here, or that the caller may not know of."""
    return RefusalError(404, "E4504", f"{what} is not known here")


def forbidden(what: str, why: str = "") -> RefusalError:
    """Return the refusal for an identity that may not do this."""
    return RefusalError(403, "E4503", what, why=why)


def conflict(what: str, *, why: str = "", causes: Sequence[str] = (), fix: str = "") -> RefusalError:
    """Return the refusal for a request that contradicts what is stored or what the API says."""
    return RefusalError(409, "E4509", what, why=why, causes=causes, fix=fix)


def too_large(what: str, limit: int) -> RefusalError:
    """Return the refusal for a body above its limit."""
    return RefusalError(413, "E4513", f"{what} is too large", why=f"at most {limit} bytes are accepted")


def busy(what: str) -> RefusalError:
    """Return the refusal that asks to come back."""
    return RefusalError(503, "E4510", what, retry_after=2)


def as_refusal(error: Error) -> RefusalError:
    """Return how an error of the library is answered."""
    match error:
        case RefusalError():
            return error
        case VolumeFullError():
            return RefusalError(507, error.code, error.what, why=error.why, fix=error.fix)
        case ClusterError():
            why = f"{error.what}: {error.why}" if error.why else error.what
            what = "the store cannot ask the Kubernetes API"
            return RefusalError(503, error.code, what, why=why, retry_after=2)
        case InputError() | EvidenceError():
            causes = (str(error),)
            return RefusalError(422, error.code, error.what, why=error.why, fix=error.fix, causes=causes)
        case _:
            return RefusalError(500, error.code, error.what, why=error.why)


def status_body(refusal: RefusalError) -> bytes:
    """Return the `Status` object as JSON; kubectl prints its `message`."""
    message = f"{refusal.code} {refusal.what}"
    if refusal.why:
        message += f": {refusal.why}"
    if refusal.causes:
        message += " (" + "; ".join(refusal.causes[:5]) + ")"
    document = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "code": refusal.status,
        "reason": _REASONS.get(refusal.status, "Unknown"),
        "message": message,
        "details": {"causes": [{"reason": refusal.code, "message": cause} for cause in refusal.causes[:50]]},
    }
    if refusal.fix:
        document["message"] = f"{message}. {refusal.fix}"
    return json.dumps(document).encode() + b"\n"

# SPDX-License-Identifier: Apache-2.0
"""What the API server answers, decoded: an object, or a `Status` that says why not. Shared by the three clients."""

from __future__ import annotations

import json

from evidencerun.errors import ClusterError
from evidencerun.kube.base import Object, http_fault


def object_in(data: bytes, where: str) -> Object:
    """Return the JSON object in a body. Raises `ClusterError` E3010 if there is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as fault:
        raise ClusterError("E3010", "the API server's answer is no JSON", where=where, why=str(fault)[:200]) from fault
    if not isinstance(value, dict):
        raise ClusterError("E3010", "the API server's answer is no JSON object", where=where)
    return value


def refusal(status: int, data: bytes, where: str, *, phrase: str = "") -> ClusterError:
    """Return the error for an HTTP answer that is none of success.

    Reason and message are those of the `Status` in the body. Something between us and the API server may answer
    otherwise; then `phrase` (of the status line) and the start of the body stand in.
    """
    try:
        document = object_in(data, where)
    except ClusterError:
        document = {}
    message = str(document.get("message") or "") or data[:300].decode("utf-8", "replace") or f"HTTP {status}"
    return http_fault(status=status, reason=str(document.get("reason") or phrase), message=message, where=where)

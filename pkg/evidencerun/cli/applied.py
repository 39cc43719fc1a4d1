# SPDX-License-Identifier: Apache-2.0
"""The annotation that `kubectl apply` leaves on an object, so that it may go on where `evr run` began; pure.

`kubectl create --save-config` writes the same. Without it a later `kubectl apply` warns, and does not see that a field
was taken out of the manifest.
"""

from __future__ import annotations

import json
from typing import Any, Final

from evidencerun import limits

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_ANNOTATIONS_MAX: Final = 256 * limits.KIB
"""Bytes of all keys and values together; the API server refuses an object with more."""
_GO_ESCAPES: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


def with_last_applied(body: dict[str, Any]) -> dict[str, Any]:
    """Return the object with itself in the annotation; unchanged if it has no name yet or would become too large."""
    metadata = body["metadata"]
    given = metadata.get("annotations") or {}
    if not metadata.get("name") or not isinstance(given, dict):
        return body
    kept = {key: value for key, value in given.items() if key != LAST_APPLIED}
    annotations = {**kept, LAST_APPLIED: _as_kubectl({**body, "metadata": {**metadata, "annotations": kept}})}
    if sum(len(str(part).encode()) for item in annotations.items() for part in item) > _ANNOTATIONS_MAX:
        return body
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def _as_kubectl(document: dict[str, Any]) -> str:
    """Return the bytes that kubectl would write: Go's encoder sorts keys, escapes for HTML and ends with a newline."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_GO_ESCAPES) + "\n"

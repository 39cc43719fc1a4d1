# SPDX-License-Identifier: Apache-2.0
"""What of a check's words may stand in a published CTRF report.

`stdout` never does. `extra` is an allow-list of keys and of the form of their values. A message stands only if the
check is our own (its text is ours, and identifiers in it were replaced); of any other check the closed word for its
outcome stands in its place, so that a failure still has a reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

REASON_KEY: Final = "reason"
ATTEMPTS_KEY: Final = "attempts"

_COUNT: Final = re.compile(r"[0-9]{1,5}")
_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,47}")
_EXTRA: Final[Mapping[str, re.Pattern[str]]] = {
    "nodesValidated": _COUNT,
    "nodesTotal": _COUNT,
    ATTEMPTS_KEY: _COUNT,
    REASON_KEY: _WORD,
    "skipReason": re.compile(
        r"no-gpu-nodes|no-schedulable-gpu-nodes|nodes-busy|named-in-skip-checks"
        r"|nothing-declared|single-machine|excluded"
    ),
    "runtimeSource": re.compile(r"delivered-artifact|recipe-supplied-runtime|cluster-capability"),
}
_DIGEST: Final = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


def published_extra(extra: Mapping[str, str], fired: Counter[str]) -> dict[str, str]:
    """Return the members of `extra` that may be published, sorted; each one dropped is counted in `fired`."""
    kept = {key: value for key, value in extra.items() if key in _EXTRA and _EXTRA[key].fullmatch(value)}
    if dropped := len(extra) - len(kept):
        fired["ctrf.tests.extra.allowlist"] += dropped
    return dict(sorted(kept.items()))


def published_provenance(provenance: Mapping[str, object], fired: Counter[str]) -> dict[str, str]:
    """Return the two digests of a runtime provenance; nothing if they are no digests. Paths are never published."""
    shipped, derived = provenance.get("shippedDigest"), provenance.get("derivedDigest")
    if len(provenance) > 2:
        fired["ctrf.tests.runtimeProvenance.bound"] += 1
    if not (isinstance(shipped, str) and isinstance(derived, str)):
        return {}
    if not (_DIGEST.fullmatch(shipped) and _DIGEST.fullmatch(derived)):
        return {}
    return {"derivedDigest": derived, "shippedDigest": shipped}

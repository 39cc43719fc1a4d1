# SPDX-License-Identifier: Apache-2.0
"""Reads from a BOM what the evidence says about it: the number of components, and the digests of its containers."""

from __future__ import annotations

from typing import Any, Final

from evidencerun import limits
from evidencerun.canonical import parse_json
from evidencerun.errors import EvidenceError, InputError

FORMAT: Final = "CycloneDX"
SPEC_VERSION: Final = "1.6"
_WHERE: Final = "bom.cdx.json"


def component_count(data: bytes) -> int:
    """Return the number of entries in `components`, which is what AICR calls `imageCount`.

    Raises:
        EvidenceError: E2060, it is no CycloneDX JSON document.

    """
    return len(_components(data))


def container_digests(data: bytes) -> dict[str, set[str]]:
    """Return the `sha256:` digests of the containers in the BOM, by the role of the image (`check`, `probe` …).

    Raises:
        EvidenceError: E2060, it is no CycloneDX JSON document.

    """
    found: dict[str, set[str]] = {}
    for component in _components(data):
        if component.get("type") != "container":
            continue
        digests = {f"sha256:{entry.get('content')}" for entry in component.get("hashes") or []}
        for entry in component.get("properties") or []:
            if entry.get("name") == "evidencerun:image:role":
                found.setdefault(str(entry.get("value")), set()).update(digests)
    return found


def _components(data: bytes) -> list[dict[str, Any]]:
    try:
        bom = parse_json(data, what=_WHERE, max_bytes=limits.BOM_MAX)
    except InputError as fault:
        raise EvidenceError("E2060", fault.what, where=fault.where, why=fault.why) from fault
    if not isinstance(bom, dict) or bom.get("bomFormat") != FORMAT:
        raise EvidenceError("E2060", "the bill of materials is no CycloneDX document", where=_WHERE)
    components = bom.get("components", [])
    if not isinstance(components, list) or not all(isinstance(entry, dict) for entry in components):
        raise EvidenceError("E2060", "the bill of materials has no list of components", where=_WHERE)
    return components

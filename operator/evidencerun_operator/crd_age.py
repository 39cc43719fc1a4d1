# SPDX-License-Identifier: Apache-2.0
"""Whether the CRDs in the cluster are those of this release: Helm never upgrades them; pure.

The API server prunes what an older CRD does not know, so that a newer operator would lose parts of its status without
a word. It refuses to start instead, and names what is missing.
"""

from __future__ import annotations

from typing import Any, Final

from evidencerun_operator import crd
from evidencerun_operator.structural import Schema

FIX: Final = "kubectl apply --server-side -f crds/"
_NAMED: Final = 10


def missing_fields(document: dict[str, Any]) -> list[str]:
    """Return `Kind.field.path` of every field of ours that the served OpenAPI v3 document lacks."""
    schemas = (document.get("components") or {}).get("schemas") or {}
    served: dict[str, Schema] = {}
    for schema in schemas.values():
        for kind in schema.get("x-kubernetes-group-version-kind") or () if isinstance(schema, dict) else ():
            if kind.get("group") == crd.GROUP and kind.get("version") == crd.VERSION:
                served[str(kind.get("kind"))] = schema
    missing: list[str] = []
    for wanted in (crd.evidence_run(), crd.evidence_policy()):
        kind = wanted["spec"]["names"]["kind"]
        ours = wanted["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for member in ("spec", "status"):
            if member in ours["properties"]:
                there = (served.get(kind) or {}).get("properties", {}).get(member)
                missing += _missing(ours["properties"][member], there, f"{kind}.{member}")
    return missing


def _missing(ours: Schema, there: Any, path: str) -> list[str]:
    if not isinstance(there, dict):
        return [path]
    found: list[str] = []
    for name, child in ours.get("properties", {}).items():
        found += _missing(child, (there.get("properties") or {}).get(name), f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(ours.get(key), dict):
            found += _missing(ours[key], there.get(key), path)
    return found


def sentence(missing: list[str]) -> str:
    """Return the list for people."""
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return f"not known there: {', '.join(missing[:_NAMED])}{more}"

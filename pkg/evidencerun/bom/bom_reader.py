# SPDX-License-Identifier: Apache-2.0
"""Reads from a BOM what the evidence says about it: the number of components, and the digests of its containers."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evidencerun import limits
from evidencerun.canonical import parse_json
from evidencerun.errors import EvidenceError, InputError

FORMAT: Final = "CycloneDX"
SPEC_VERSION: Final = "1.6"
_WHERE: Final = "bom.cdx.json"
_ROLE: Final = "evidencerun:image:role"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Hash(_Part):
    content: str


class _Property(_Part):
    name: str
    value: str = ""


class _Component(_Part):
    type: str
    hashes: list[_Hash] = []
    properties: list[_Property] = []


class _Bom(_Part):
    bom_format: Annotated[Literal["CycloneDX"], Field(alias="bomFormat")]
    components: list[_Component] = []


def component_count(data: bytes) -> int:
    """Return the number of entries in `components`, which is what AICR calls `imageCount`.

    Raises:
        EvidenceError: E2060, it is no CycloneDX JSON document.

    """
    return len(_load(data).components)


def container_digests(data: bytes) -> dict[str, set[str]]:
    """Return the `sha256:` digests of the containers in the BOM, by the role of the image (`check`, `probe` …).

    Raises:
        EvidenceError: E2060, it is no CycloneDX JSON document.

    """
    found: dict[str, set[str]] = {}
    for component in _load(data).components:
        if component.type == "container":
            digests = {f"sha256:{entry.content}" for entry in component.hashes}
            for role in (entry.value for entry in component.properties if entry.name == _ROLE):
                found.setdefault(role, set()).update(digests)
    return found


def _load(data: bytes) -> _Bom:
    try:
        return _Bom.model_validate(parse_json(data, what=_WHERE, max_bytes=limits.BOM_MAX))
    except InputError as fault:
        raise EvidenceError("E2060", fault.what, where=fault.where, why=fault.why) from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise EvidenceError(
            "E2060", "the bill of materials is no CycloneDX document", where=f"{_WHERE} {place}", why=str(first["msg"])
        ) from fault

# SPDX-License-Identifier: Apache-2.0
"""The two in-toto statements over one predicate (in-toto Statement v1).

`statement.intoto.json` is unsigned and names the recipe; the signed payload stands only inside the attestation and
names the OCI manifest and manifest.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from evidencerun import limits
from evidencerun.attest.predicate import PREDICATE_TYPE, PREDICATE_TYPES, Predicate, load_predicate
from evidencerun.canonical import RecipePredicate, canonical_json, parse_json, sha256_hex
from evidencerun.errors import EvidenceError, InputError

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
ARTIFACT_SUBJECT: Final = "evidence"
INVENTORY_SUBJECT: Final = "manifest.json"
_STATEMENT_FILE: Final = "statement.intoto.json"
_MANIFEST_FILE: Final = "manifest.json"
_HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement that was read: subjects as name to SHA-256 (64 hex), the predicate as plain values and as model."""

    subjects: Mapping[str, str]
    predicate_type: str
    version: RecipePredicate
    plain: Mapping[str, Any]
    predicate: Predicate


def unsigned_statement(predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statement of `statement.intoto.json`: one subject, `recipe:<name>`."""
    recipe = predicate["recipe"]
    subject = {"name": f"recipe:{recipe['name']}", "digest": {"sha256": recipe["digest"]}}
    return _statement([subject], predicate)


def signed_payload(files: Mapping[str, bytes], oci_manifest_digest: str) -> bytes:
    """Return the bytes to sign: RFC 8785, the predicate of statement.intoto.json, both subjects.

    `oci_manifest_digest` is `sha256:<hex>` of the artifact's manifest.

    Raises:
        EvidenceError: E2020 or E2021, statement.intoto.json cannot be read as one.
        ValueError: the digest is no `sha256:` digest.

    """
    algorithm, _, digest = oci_manifest_digest.partition(":")
    if algorithm != "sha256" or not _HEX.fullmatch(digest):
        raise ValueError(f"{oci_manifest_digest!r} is no sha256 digest")
    statement = parse_statement(files[_STATEMENT_FILE], what=_STATEMENT_FILE)
    subjects = [
        {"name": ARTIFACT_SUBJECT, "digest": {"sha256": digest}},
        {"name": INVENTORY_SUBJECT, "digest": {"sha256": sha256_hex(files[_MANIFEST_FILE])}},
    ]
    return canonical_json(_statement(subjects, statement.plain))


def parse_statement(data: bytes, *, what: str) -> Statement:
    """Read a statement about recipe evidence, any of the predicate's three versions.

    Raises:
        EvidenceError: E2021 for the statement, E2020 for its predicate.

    """
    try:
        root = parse_json(data, what=what, max_bytes=limits.STATEMENT_MAX)
    except InputError as fault:
        raise EvidenceError("E2021", fault.what, where=fault.where, why=fault.why) from fault
    expected = {"_type", "subject", "predicateType", "predicate"}
    if not isinstance(root, dict) or root.keys() != expected:
        raise _broken(what, "an object with _type, subject, predicateType and predicate expected")
    if root["_type"] != STATEMENT_TYPE:
        raise _broken(what, f"_type {ascii(root['_type'])[:60]} found, {STATEMENT_TYPE} expected")
    kind = root["predicateType"]
    if not isinstance(kind, str) or kind not in PREDICATE_TYPES:
        raise _broken(what, f"predicateType {ascii(kind)[:80]} is not a recipe-evidence version that is known")
    plain = root["predicate"]
    if not isinstance(plain, dict):
        raise _broken(what, "the predicate is no object")
    version = PREDICATE_TYPES[kind]
    return Statement(
        subjects=_subjects(root["subject"], what),
        predicate_type=kind,
        version=version,
        plain=plain,
        predicate=load_predicate(plain, version),
    )


def _subjects(value: object, what: str) -> dict[str, str]:
    if not isinstance(value, list) or not 1 <= len(value) <= limits.SUBJECTS_MAX:
        raise _broken(what, f"one to {limits.SUBJECTS_MAX} subjects expected")
    found: dict[str, str] = {}
    for entry in value:
        match entry:
            case {"name": str(name), "digest": {"sha256": str(digest), **other}, **rest} if not other and not rest:
                if name in found or not _HEX.fullmatch(digest):
                    raise _broken(what, f"the subject {name[:80]!a} stands twice or has no SHA-256")
                found[name] = digest
            case _:
                raise _broken(what, "a subject is not a name with one sha256 digest")
    return found


def _statement(subjects: list[dict[str, Any]], predicate: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": dict(predicate),
    }


def _broken(where: str, why: str) -> EvidenceError:
    return EvidenceError("E2021", "this is not a statement of recipe evidence", where=where, why=why)

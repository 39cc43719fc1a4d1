# SPDX-License-Identifier: Apache-2.0
"""Sigstore bundles (v0.3, DSSE) made with a key: written in one form, read strictly.

Stricter than cosign and sigstore-python on purpose: no unknown or repeated member, no second signature, no base64 that
decodes to the same bytes as another text, no escaped spelling of a text. The hint names the key by the SHA-256 of its
SubjectPublicKeyInfo; it never confers trust, but it must be the key's.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Set
from dataclasses import dataclass
from typing import Final, NoReturn

from evidencerun import limits
from evidencerun.attest.dsse import IN_TOTO_PAYLOAD_TYPE
from evidencerun.canonical import parse_json
from evidencerun.errors import EvidenceError, InputError

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_WHAT: Final = "the attestation"


class UncheckableSignatureError(EvidenceError):
    """The signature is of a kind that this version cannot check; nothing is known about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedBundle:
    """What a key-signed bundle says. `payload` is the signed statement's bytes, `key_digest` is the hint's 32 bytes."""

    payload: bytes
    signature: bytes
    key_digest: bytes
    payload_type: str = IN_TOTO_PAYLOAD_TYPE


def encode_key_bundle(payload: bytes, signature: bytes, spki_der: bytes) -> bytes:
    """Return the bundle as one line of JSON; `signature` is DER over the PAE, `spki_der` is the signer's public key."""
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": _encode(hashlib.sha256(spki_der).digest())}},
        "dsseEnvelope": {
            "payload": _encode(payload),
            "payloadType": IN_TOTO_PAYLOAD_TYPE,
            "signatures": [{"sig": _encode(signature)}],
        },
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def parse_bundle(data: bytes) -> ParsedBundle:
    """Read a key-signed bundle.

    Raises:
        EvidenceError: E2011, it breaks a rule of the format; the place and what was found are named.
        UncheckableSignatureError: E2211, it is signed with a certificate.

    """
    if b"\\" in data:
        _refuse("", "a backslash was found; no value in it needs one")
    try:
        root = parse_json(data, what=_WHAT, max_bytes=limits.STATEMENT_MAX, max_depth=limits.ATTESTATION_DEPTH)
    except InputError as fault:
        raise EvidenceError("E2011", fault.what, where=fault.where, why=fault.why) from fault
    bundle = _members(root, "", required={"mediaType", "verificationMaterial", "dsseEnvelope"})
    if bundle["mediaType"] != MEDIA_TYPE:
        _refuse("mediaType", f"{_short(bundle['mediaType'])} found, {MEDIA_TYPE} expected")
    key_digest = _key_digest(bundle["verificationMaterial"])
    envelope = _members(bundle["dsseEnvelope"], "dsseEnvelope", required={"payload", "payloadType", "signatures"})
    if envelope["payloadType"] != IN_TOTO_PAYLOAD_TYPE:
        found = _short(envelope["payloadType"])
        _refuse("dsseEnvelope.payloadType", f"{found} found, {IN_TOTO_PAYLOAD_TYPE} expected")
    return ParsedBundle(
        payload=_decode(envelope["payload"], "dsseEnvelope.payload"),
        signature=_one_signature(envelope["signatures"]),
        key_digest=key_digest,
    )


def _key_digest(value: object) -> bytes:
    where = "verificationMaterial"
    if isinstance(value, dict) and ("certificate" in value or "x509CertificateChain" in value):
        raise UncheckableSignatureError(
            "E2211",
            "the bundle is signed with a certificate, which this version cannot check",
            where=where,
            why="only signatures made with a key can be checked",
        )
    material = _members(value, where, required={"publicKey"}, optional={"tlogEntries", "timestampVerificationData"})
    if material.get("tlogEntries", []) != []:
        _refuse(f"{where}.tlogEntries", "log entries were found, which this version cannot check and does not ignore")
    if material.get("timestampVerificationData", {}) not in ({}, {"rfc3161Timestamps": []}):
        place = f"{where}.timestampVerificationData"
        _refuse(place, "timestamps were found, which this version cannot check and does not ignore")
    key = _members(material["publicKey"], f"{where}.publicKey", required={"hint"})
    digest = _decode(key["hint"], f"{where}.publicKey.hint")
    if len(digest) != hashlib.sha256().digest_size:
        _refuse(f"{where}.publicKey.hint", f"{len(digest)} bytes found, the 32 of a SHA-256 expected")
    return digest


def _one_signature(value: object) -> bytes:
    where = "dsseEnvelope.signatures"
    if not isinstance(value, list) or len(value) != 1:
        count = len(value) if isinstance(value, list) else 0
        _refuse(where, f"{count} signatures found, exactly one expected")
    entry = _members(value[0], f"{where}[0]", required={"sig"}, optional={"keyid"})
    if entry.get("keyid", "") != "":
        _refuse(f"{where}[0].keyid", "a key id was found; nothing vouches for it")
    return _decode(entry["sig"], f"{where}[0].sig")


def _members(value: object, where: str, *, required: Set[str], optional: Set[str] = frozenset()) -> dict[str, object]:
    if not isinstance(value, dict):
        _refuse(where, f"{_short(value)} found, an object expected")
    if missing := sorted(required - value.keys()):
        _refuse(where, f"the member {missing[0]} is missing")
    if unknown := sorted(value.keys() - required - optional):
        _refuse(where, f"the unknown member {_short(unknown[0])} was found")
    return value


def _decode(value: object, where: str) -> bytes:
    if not isinstance(value, str):
        _refuse(where, f"{_short(value)} found, base64 text expected")
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError as fault:
        raise EvidenceError("E2011", f"{_WHAT} holds text that is not base64", where=where, why=str(fault)) from fault
    if _encode(raw) != value:
        _refuse(where, "the base64 text is not in its one canonical form")
    return raw


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _short(value: object) -> str:
    return ascii(value)[:60]


def _refuse(where: str, why: str) -> NoReturn:
    raise EvidenceError(
        "E2011",
        f"{_WHAT} is not a Sigstore bundle made with a key",
        where=where,
        why=why,
        fix="fetch the bundle again; if it repeats, treat it as tampered with",
    )

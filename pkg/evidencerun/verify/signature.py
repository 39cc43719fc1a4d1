# SPDX-License-Identifier: Apache-2.0
"""Who signed a bundle, and whether what was signed is what lies here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evidencerun.attest.dsse import pae
from evidencerun.attest.keys import PublicKey, signer_identity
from evidencerun.attest.sigstore_bundle import ParsedBundle, UncheckableSignatureError, parse_bundle
from evidencerun.attest.statement import (
    ARTIFACT_SUBJECT,
    INVENTORY_SUBJECT,
    parse_statement,
    signed_payload,
)
from evidencerun.bundle import layout
from evidencerun.canonical import sha256_hex
from evidencerun.errors import EvidenceError
from evidencerun.verify.compare import first_difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """There is no attestation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncheckable:
    """The attestation is of a kind that cannot be checked here."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A well-formed signature. `verified` only if the caller's key made it over exactly this payload."""

    bundle: ParsedBundle
    identity: str
    verified: bool


Signature = Unsigned | Uncheckable | Signed


def read_signature(files: Mapping[str, bytes], key: PublicKey | None) -> Signature:
    """Read the attestation and check it with the caller's key, if there is one.

    Raises:
        EvidenceError: E2011 the attestation breaks its format; E2010 the signature is not its key's; E2012 the hint
            names another key than the one that signed.

    """
    if layout.ATTESTATION not in files:
        return Unsigned()
    try:
        bundle = parse_bundle(files[layout.ATTESTATION])
    except UncheckableSignatureError as fault:
        return Uncheckable(reason=str(fault))
    if key is None:
        return Signed(bundle=bundle, identity=signer_identity(bundle.key_digest), verified=False)
    named = bundle.key_digest == key.digest
    accepted = key.accepts(bundle.signature, pae(bundle.payload_type, bundle.payload))
    if named and not accepted:
        raise EvidenceError(
            "E2010", "the signature does not belong to this payload", where=layout.ATTESTATION, why=key.identity
        )
    if accepted and not named:
        raise EvidenceError("E2012", "the hint names another key than the one that signed", where=layout.ATTESTATION)
    return Signed(bundle=bundle, identity=signer_identity(bundle.key_digest), verified=accepted)


def check_payload(files: Mapping[str, bytes], signed: Signed) -> str:
    """Check that the signed payload is about these files, and return the OCI manifest's digest that it names.

    What binds the files is manifest.json, whose digest the payload names; the files themselves are not looked at here.

    Raises:
        EvidenceError: E2013, the payload is about something else, or is not written as ours are; E2004, E2020, E2021
            for a statement that is missing or cannot be read.

    """
    for path in (layout.MANIFEST, layout.STATEMENT):
        if path not in files:
            raise EvidenceError("E2004", "a file that every bundle has is missing", where=path)
    payload = parse_statement(signed.bundle.payload, what="the signed payload")
    inventory = sha256_hex(files[layout.MANIFEST])
    if payload.subjects.get(INVENTORY_SUBJECT, inventory) != inventory:
        _other("subject manifest.json", "it has another digest than the manifest here")
    statement = parse_statement(files[layout.STATEMENT], what=layout.STATEMENT)
    if payload.predicate_type != statement.predicate_type:
        _other("predicateType", f"signed {payload.predicate_type}, in the file {statement.predicate_type}")
    if found := first_difference(dict(payload.plain), dict(statement.plain)):
        _other(f"predicate.{found.place}", f"signed {found.claimed}, in the file {found.derived}")
    artifact = payload.subjects.get(ARTIFACT_SUBJECT, "")
    if statement.predicate.ours and (
        not artifact or signed.bundle.payload != signed_payload(files, f"sha256:{artifact}")
    ):
        _other("payload", "it is not written as the statement of these files must be")
    return f"sha256:{artifact}" if artifact else ""


def _other(where: str, why: str) -> None:
    raise EvidenceError(
        "E2013",
        "what was signed is not what lies here",
        where=where,
        why=why,
        fix="fetch the bundle again; if it repeats, treat it as tampered with",
    )

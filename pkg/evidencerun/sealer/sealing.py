# SPDX-License-Identifier: Apache-2.0
"""Checks a bundle and signs it: bytes in, attestation out, no I/O.

What is signed is computed here from the bytes that were checked, never taken from the store.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Protocol

from evidencerun import limits
from evidencerun.attest.dsse import IN_TOTO_PAYLOAD_TYPE, pae
from evidencerun.attest.keys import PublicKey
from evidencerun.attest.sigstore_bundle import encode_key_bundle
from evidencerun.attest.statement import signed_payload
from evidencerun.canonical import parse_json, sha256_prefixed
from evidencerun.errors import EvidenceError
from evidencerun.validation.storeapi import SealTask
from evidencerun.verify.duties import DutiesResult, verify_artifact


class Signer(Protocol):
    """Whoever signs with an EC P-256 key."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies."""

    def sign(self, data: bytes) -> bytes:
        """Return the DER signature over `data`."""


def checked_manifest(task: SealTask, layer: bytes) -> bytes:
    """Return the task's OCI manifest, whose one layer is this one; raises `EvidenceError` E4610.

    Digests are compared before anything is unpacked.
    """
    try:
        data = base64.b64decode(task.oci_manifest, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise _wrong("the OCI manifest is not base64") from fault
    if sha256_prefixed(data) != task.manifest_digest:
        raise _wrong("the OCI manifest has another digest than the task says")
    document: Any = parse_json(data, what="the OCI manifest", max_bytes=limits.MANIFEST_MAX)
    match document:
        case {"layers": [{"digest": str(digest), "size": int(size)}]}:
            if len(layer) != size or sha256_prefixed(layer) != digest:
                raise _wrong("the layer is not the one that the OCI manifest names")
            return data
        case _:
            raise _wrong("the OCI manifest does not have exactly one layer")


def seal(task: SealTask, layer: bytes, signer: Signer) -> bytes:
    """Return the Sigstore bundle over a bundle that passes the library's own verification.

    Raises:
        EvidenceError: manifest, config and layer are no artifact of ours, the bundle fails a duty of the verifier, or
            it is not that of the task's run.

    """
    artifact, duties = verify_artifact(checked_manifest(task, layer), layer)
    _check_run(task, duties)
    payload = signed_payload(artifact.files, artifact.manifest_digest)
    signature = signer.sign(pae(IN_TOTO_PAYLOAD_TYPE, payload))
    return encode_key_bundle(payload, signature, signer.public_key.spki_der)


def _check_run(task: SealTask, duties: DutiesResult) -> None:
    """Refuse a bundle of which less can be derived than of ours, and one of another run or signing mode."""
    if duties.record is None:
        raise EvidenceError(
            "E4612",
            "the bundle has no run record, so nobody can derive what it claims",
            fix="only bundles that the store has assembled are signed",
        )
    plan = duties.record.plan
    if (plan.run.uid, plan.policy_spec.signing.mode) != (task.run_uid, task.signing_mode):
        raise _wrong("the bundle is of another run, or its policy asks for another signing mode")


def _wrong(why: str) -> EvidenceError:
    return EvidenceError("E4610", "the store's task contradicts itself", why=why)

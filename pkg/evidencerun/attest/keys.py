# SPDX-License-Identifier: Apache-2.0
"""Public keys: reading, naming and checking signatures. ECDSA P-256 with SHA-256 and DER signatures only.

That is the one kind of key that every verifier and every key service agrees on. A key is named by the SHA-256 of its
SubjectPublicKeyInfo (DER), as cosign does in a bundle's hint.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from evidencerun import limits
from evidencerun.attest.dsse import IN_TOTO_PAYLOAD_TYPE, pae
from evidencerun.errors import EvidenceError, InputError

_PEM_MARK: Final = b"-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """An EC P-256 public key and the DER bytes of its SubjectPublicKeyInfo."""

    spki_der: bytes
    _key: ec.EllipticCurvePublicKey

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the SubjectPublicKeyInfo, 32 bytes."""
        return hashlib.sha256(self.spki_der).digest()

    @property
    def identity(self) -> str:
        """The name of the signer who holds this key (`signer_identity`)."""
        return signer_identity(self.digest)

    def accepts(self, signature: bytes, data: bytes) -> bool:
        """Return whether `signature` (DER, in its one shortest form) is this key's over `data`."""
        try:
            if encode_dss_signature(*decode_dss_signature(signature)) != signature:
                return False
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


def load_public_key(pem: bytes, *, where: str = "") -> PublicKey:
    """Return the public key in `pem` (`-----BEGIN PUBLIC KEY-----`).

    Raises:
        InputError: E2210 for anything else: a private key, a certificate, another algorithm or curve.

    """
    mend = "give the public key that belongs to the signer, made by `openssl ec -pubout` or taken from evidence-public"
    if len(pem) > limits.PUBLIC_KEY_PEM_MAX or pem.count(b"-----BEGIN ") != 1 or _PEM_MARK not in pem:
        raise InputError("E2210", "this is not one public key in PEM form", where=where, fix=mend)
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as fault:
        raise InputError("E2210", "the public key cannot be read", where=where, why=str(fault), fix=mend) from fault
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        found = f"{type(key).__name__} found, an EC key on P-256 expected"
        raise InputError("E2210", "the public key is of another kind", where=where, why=found, fix=mend)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(spki_der=der, _key=key)


def signer_identity(spki_digest: bytes) -> str:
    """Return the name of whoever holds a key, `key:sha256:<64 hex>`; from the 32 bytes of its SPKI's SHA-256."""
    return f"key:sha256:{spki_digest.hex()}"


def verify_signature(
    public_key_pem: bytes, *, payload: bytes, signature: bytes, payload_type: str = IN_TOTO_PAYLOAD_TYPE
) -> PublicKey:
    """Check a DSSE signature over `payload` and return the key that made it.

    Raises:
        InputError: E2210, the key cannot be read.
        EvidenceError: E2010, the signature is not this key's over these bytes.

    """
    key = load_public_key(public_key_pem)
    if not key.accepts(signature, pae(payload_type, payload)):
        raise EvidenceError(
            "E2010",
            "the signature does not belong to this payload and this key",
            why=f"checked with {key.identity}",
            fix="fetch the bundle again; if it repeats, treat it as tampered with",
        )
    return key

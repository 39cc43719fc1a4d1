# SPDX-License-Identifier: Apache-2.0
"""Signs with an EC P-256 key from a file: given by the platform team, or made here once.

P-256 is the one kind of key that every verifier and every key service agrees on; anything else is refused by name.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from evidencerun import limits
from evidencerun.attest.keys import PublicKey, load_public_key
from evidencerun.errors import SigningError

_MEND: Final = "make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signing.key"


class KeySigner:
    """A private key in memory."""

    def __init__(self, private_key: ec.EllipticCurvePrivateKey) -> None:
        self._key = private_key
        public = private_key.public_key()
        self.public_pem: bytes = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.public_key: PublicKey = load_public_key(self.public_pem)

    @property
    def identity(self) -> str:
        """The signer's name: `key:sha256:<64 hex of the SPKI's SHA-256>`."""
        return self.public_key.identity

    def sign(self, data: bytes) -> bytes:
        """Return the ECDSA signature with SHA-256 over `data`, DER."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))


def parse_key(pem: bytes, *, where: str) -> KeySigner:
    """Return the signer for a private key in PEM (PKCS#8 or SEC1, not encrypted).

    Raises:
        SigningError: E4710, it is no such key; E4711, it is a key of another kind.

    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as fault:
        why = "it is encrypted, and there is nobody to ask for the password"
        raise _unusable("E4710", "the signing key cannot be read", where, why) from fault
    except (ValueError, UnsupportedAlgorithm) as fault:
        # The library's text may quote the input, so it is not repeated.
        why = "it is no PEM private key (PKCS#8)"
        raise _unusable("E4710", "the signing key cannot be read", where, why) from fault
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        kind = type(key).__name__.removeprefix("_").removesuffix("PrivateKey")
        raise _unusable("E4711", "the signing key is of another kind", where, f"{kind} found, EC P-256 expected")
    if not isinstance(key.curve, ec.SECP256R1):
        why = f"an EC key on {key.curve.name} found, on P-256 expected"
        raise _unusable("E4711", "the signing key is of another kind", where, why)
    return KeySigner(key)


def read_key(path: Path) -> KeySigner | None:
    """Return the signer for a key file, or None if there is no such file; raises `SigningError`."""
    try:
        with path.open("rb") as file:
            pem = file.read(limits.PRIVATE_KEY_PEM_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise _unusable("E4710", "the signing key cannot be read", path.name, fault.strerror or "") from fault
    if len(pem) > limits.PRIVATE_KEY_PEM_MAX:
        raise _unusable(
            "E4710", "the signing key cannot be read", path.name, f"longer than {limits.PRIVATE_KEY_PEM_MAX} bytes"
        )
    return parse_key(pem, where=path.name)


def own_key(folder: Path) -> KeySigner:
    """Return the signer for the key in `folder`, which is made there if there is none; raises `SigningError`."""
    path = folder / "signing.key"
    found = read_key(path)
    if found is not None:
        return found
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        _write_once(path, pem)
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise SigningError("E4712", "the new signing key cannot be kept", where=folder.name, why=why) from fault
    made = read_key(path)
    if made is None:
        raise SigningError("E4712", "the new signing key has gone", where=folder.name)
    return made


def _write_once(path: Path, data: bytes) -> None:
    """Create a file whole and durably; one that is there already stays.

    There is one sealer at a time, so nobody comes between the look and the renaming.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".new-{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        if not path.exists():
            temporary.rename(path)
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _unusable(code: str, what: str, where: str, why: str) -> SigningError:
    return SigningError(code, what, where=where, why=why, fix=_MEND)

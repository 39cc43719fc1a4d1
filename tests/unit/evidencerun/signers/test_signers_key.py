# SPDX-License-Identifier: Apache-2.0
"""Signing keys: EC P-256 from a file or made here once; anything else is refused by name and without its content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from evidencerun.attest.dsse import pae
from evidencerun.attest.keys import verify_signature
from evidencerun.errors import SigningError
from evidencerun.signers.key import own_key, parse_key, read_key

PRIVATE = serialization.PrivateFormat


def _pem(key: object, form: PRIVATE = PRIVATE.PKCS8, password: bytes = b"") -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("form", [PRIVATE.PKCS8, PRIVATE.TraditionalOpenSSL])
def test_a_p256_key_signs_what_verifies(form: PRIVATE) -> None:
    signer = parse_key(_pem(ec.generate_private_key(ec.SECP256R1()), form), where="signing.key")
    signature = signer.sign(pae("application/vnd.in-toto+json", b"payload"))
    assert verify_signature(signer.public_pem, payload=b"payload", signature=signature).identity == signer.identity


@pytest.mark.parametrize(
    ("pem", "code", "word"),
    [
        (b"", "E4710", "no PEM private key"),
        (b"hunter2", "E4710", "no PEM private key"),
        (_pem(ec.generate_private_key(ec.SECP384R1())), "E4711", "on secp384r1 found"),
        (_pem(ec.generate_private_key(ec.SECP256K1())), "E4711", "on secp256k1 found"),
        (_pem(ed25519.Ed25519PrivateKey.generate()), "E4711", "Ed25519 found, EC P-256 expected"),
        (_pem(rsa.generate_private_key(65537, 2048)), "E4711", "RSA found, EC P-256 expected"),
        (_pem(ec.generate_private_key(ec.SECP256R1()), password=b"secret"), "E4710", "encrypted"),
        (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
            "E4710",
            "no PEM private key",
        ),
    ],
)
def test_another_key_is_refused(pem: bytes, code: str, word: str) -> None:
    with pytest.raises(SigningError) as caught:
        parse_key(pem, where="signing.key")
    text = caught.value.diagnostics()
    assert caught.value.code == code
    assert word in text
    assert "openssl genpkey" in text
    assert "hunter2" not in text


def test_the_own_key_is_made_once_and_private(tmp_path: Path) -> None:
    first = own_key(tmp_path / "new")
    path = tmp_path / "new" / "signing.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert own_key(tmp_path / "new").identity == first.identity
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["signing.key"]
    assert read_key(tmp_path / "none") is None


def test_a_key_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = own_key(tmp_path)
    looks = iter([None, theirs])
    monkeypatch.setattr("evidencerun.signers.key.read_key", lambda path: next(looks))
    own_key(tmp_path)
    monkeypatch.undo()
    assert own_key(tmp_path).identity == theirs.identity


def test_a_key_that_cannot_be_kept_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SigningError, match="cannot be kept"):
            own_key(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "signing.key").write_bytes(b"x" * 20_000)
    with pytest.raises(SigningError, match="longer than"):
        read_key(tmp_path / "signing.key")
